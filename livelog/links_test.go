package livelog_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

// get gives status and body.
func get(t *testing.T, url string, header ...string) (int, string) {
	t.Helper()
	resp := ask(t, within(t), "GET", url, header...)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(body)
}

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

const (
	noLink  = "reading this log needs a signed link, and this is none\n"
	expired = "the link has expired, ask for a new one\n"
)

func TestLinks(t *testing.T) {
	s := newSpool(t)
	io.WriteString(s, "hello\n")
	s.Close()
	links := livelog.NewLinks(nil)
	base := serveSpool(t, s, links, livelog.HandlerOptions{}).URL
	inAnHour := time.Now().Add(time.Hour)
	sign := func(l *livelog.Links, base, log string, expires time.Time) string {
		return l.Sign(parse(t, base), log, expires).Reveal()
	}
	key := bytes.Repeat([]byte("k"), 32)
	other := serveSpool(t, s, livelog.NewLinks(key), livelog.HandlerOptions{}).URL
	nobody := serveSpool(t, s, nil, livelog.HandlerOptions{}).URL
	good := sign(links, base, "log", inAnHour)
	for what, c := range map[string]struct {
		url    string
		status int
		body   string
	}{
		"good":                 {good, 200, "hello\n"},
		"with more":            {good + "&offset=1&follow=1", 200, "ello\n"},
		"that holds more":      {sign(links, base+"?offset=2", "log", inAnHour), 200, "llo\n"},
		"none":                 {base, 403, noLink},
		"none but parameters":  {base + "?expires=&signature=", 403, noLink},
		"expired":              {sign(links, base, "log", time.Now().Add(-time.Second)), 403, expired},
		"just expired":         {sign(links, base, "log", time.Now()), 403, expired},
		"long expired":         {sign(links, base, "log", time.Time{}), 403, expired},
		"of another log":       {sign(links, base, "log2", inAnHour), 403, noLink},
		"of another key":       {sign(livelog.NewLinks(nil), base, "log", inAnHour), 403, noLink},
		"of the same key":      {sign(livelog.NewLinks(key), other, "log", inAnHour), 200, "hello\n"},
		"signed with no key":   {sign(livelog.NewLinks(key), nobody, "log", inAnHour), 403, noLink},
		"repeated":             {base + "?expires=99999999999&" + parse(t, good).RawQuery, 403, noLink},
		"a longer signature":   {good + "A", 403, noLink},
		"a signature with '='": {good + "=", 403, noLink},
		"an expiry in another": {strings.Replace(good, "expires=", "expires=0", 1), 403, noLink},
	} {
		if status, body := get(t, c.url); status != c.status || body != c.body {
			t.Errorf("%s: %d, %q; want %d, %q", what, status, body, c.status, c.body)
		}
	}
	if resp := ask(t, within(t), "HEAD", base); resp.StatusCode != 403 {
		t.Errorf("HEAD: %s", resp.Status)
	}
}

// No byte of a link can be another one.
func TestLinksTamperedWith(t *testing.T) {
	s := newSpool(t)
	s.Close()
	links := livelog.NewLinks(nil)
	base := serveSpool(t, s, links, livelog.HandlerOptions{}).URL + "/"
	good := links.Sign(parse(t, base), "log", time.Now().Add(time.Hour)).Reveal()
	if status, _ := get(t, good); status != 200 {
		t.Fatal(status)
	}
	client := &http.Client{}
	defer client.CloseIdleConnections()
	for i := len(base) + 1; i < len(good); i++ {
		for _, c := range []byte("09AZaz-_=&+. %"[:]) {
			if good[i] == c {
				continue
			}
			bad := good[:i] + strings.ReplaceAll(url.QueryEscape(string(c)), "+", "%20") + good[i+1:]
			resp, err := client.Get(bad)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 403 {
				t.Errorf("byte %d as %q: %s", i-len(base), c, resp.Status)
			}
		}
	}
}

// Neither a link nor the key shows in an error, in a log, or in print.
func TestLinksNeverShow(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f := &unreadable{memoryFile: newFile()}
	s := livelog.NewSpool(f, 0)
	defer s.Release()
	io.WriteString(s, "hello\n")
	key := []byte("0123456789abcdefghijklmnopqrstuv")
	links := livelog.NewLinks(key)
	front := serveSpool(t, s, links, livelog.HandlerOptions{Logger: logger})
	front.server.Config.ErrorLog = slog.NewLogLogger(logger.Handler(), slog.LevelError)
	link := links.Sign(parse(t, front.URL), "log", time.Now().Add(time.Hour))
	signature := parse(t, link.Reveal()).Query().Get("signature")
	if len(signature) != 43 {
		t.Fatalf("signature %q", signature)
	}
	fmt.Fprintf(&out, "%v %+v %#v %v %+v %#v\n", link, link, link, links, links, links)
	logger.Info("link", "link", link, "links", links)
	for _, query := range []string{"&offset=-1", "&offset=" + signature, "&lines=" + signature, "&follow=" + signature, "&offset=1000", "x", "x&follow=1"} {
		status, body := get(t, link.Reveal()+query)
		if status < 400 {
			t.Errorf("%s: %d", query, status)
		}
		out.WriteString(body)
	}
	f.now.Store(true)
	for _, query := range []string{"", "&follow=1", "&lines=1"} {
		resp, err := http.Get(link.Reveal() + query)
		if err != nil {
			continue // before its header
		}
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: %q", query, body)
		}
		resp.Body.Close()
	}
	front.server.Close()
	if strings.Contains(out.String(), signature) || strings.Contains(out.String(), string(key)) || strings.Contains(out.String(), fmt.Sprint(key)[1:20]) {
		t.Errorf("it shows in %s", out.String())
	}
	if !strings.Contains(out.String(), "reader of live log is cut off") || !strings.Contains(out.String(), "input/output error") {
		t.Errorf("nothing is logged: %s", out.String())
	}
}

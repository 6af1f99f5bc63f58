package livelog_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/livelog"
)

// spoolOver makes a spool over a file from which the system can send by itself, or cannot.
func spoolOver(t testing.TB, system bool) *livelog.Spool {
	if system {
		return newSpool(t)
	}
	s := livelog.NewSpool(newFile(), 0)
	t.Cleanup(func() { s.Release() })
	return s
}

// front is a Handler on loopback.
type front struct {
	URL    string
	server *httptest.Server
	end    context.CancelCauseFunc // of the handler
}

func serveSpool(t testing.TB, s *livelog.Spool, links *livelog.Links, o livelog.HandlerOptions) *front {
	ctx, cancel := context.WithCancelCause(t.Context())
	server := httptest.NewServer(livelog.NewHandler(ctx, s, "log", links, o))
	t.Cleanup(func() { cancel(nil); server.Close() })
	return &front{server.URL, server, cancel}
}

// ask sends one request, over a connection of its own, with header as "Name: value" lines.
func ask(t testing.TB, ctx context.Context, method, url string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true, DisableCompression: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

var public = livelog.HandlerOptions{Public: true}

func TestHandlerAnswers(t *testing.T) {
	const log = "one\ntwo\n\nfour\nfive"
	const huge = "9223372036854775807"
	all := fmt.Sprint(len(log))
	type want struct {
		Status                                int
		Body, Length, Range, Offset, Complete string
	}
	ok := func(body, offset string) want { return want{200, body, fmt.Sprint(len(body)), "", offset, "?"} }
	part := func(body, contentRange string) want {
		return want{206, body, fmt.Sprint(len(body)), contentRange, "0", "?"}
	}
	refused := func(status int, body, contentRange string) want {
		return want{status, body + "\n", fmt.Sprint(len(body) + 1), contentRange, "", ""}
	}
	bad := func(body string) want { return refused(400, body, "") }
	tooFar := refused(416, "the log is not that long", "bytes */"+all)
	for _, c := range []struct {
		query, header string
		want          want
	}{
		{"", "", ok(log, "0")},
		{"", "Accept-Encoding: gzip", ok(log, "0")},
		{"?follow=0", "", ok(log, "0")},
		{"?follow=false&else=5", "", ok(log, "0")},
		{"?offset=0", "", ok(log, "0")},
		{"?offset=4", "", ok(log[4:], "4")},
		{"?offset=" + all, "", ok("", all)},
		{"?offset=20", "", tooFar},
		{"?offset=" + huge, "", tooFar},
		{"?offset=9223372036854775808", "", bad("offset is too large")},
		{"?offset=99999999999999999999999999", "", bad("offset is too large")},
		{"?offset=-1", "", bad("offset is not a number of 0 or more")},
		{"?offset=", "", bad("offset is not a number of 0 or more")},
		{"?offset=0x1", "", bad("offset is not a number of 0 or more")},
		{"?offset=+1", "", bad("offset is not a number of 0 or more")},
		{"?offset=1&lines=1", "", bad("offset and lines exclude each other")},
		{"?lines=-1", "", bad("lines is not a number of 0 or more")},
		{"?lines=9223372036854775808", "", bad("lines is too large")},
		{"?lines=" + huge, "", ok(log, "0")},
		{"?lines=0", "", ok("", all)},
		{"?lines=1", "", ok("five", "14")},
		{"?lines=3", "", ok("\nfour\nfive", "8")},
		{"?lines=4", "", ok("two\n\nfour\nfive", "4")},
		{"?lines=5", "", ok(log, "0")},
		{"?follow=2", "", bad("follow is not 1 or 0")},
		{"?follow=-1", "", bad("follow is not 1 or 0")},
		{"", "Range: bytes=0-2", part("one", "bytes 0-2/18")},
		{"", "Range: bytes=14-", part("five", "bytes 14-17/18")},
		{"", "Range: bytes=14-" + huge, part("five", "bytes 14-17/18")},
		{"", "Range: bytes=-3", part("ive", "bytes 15-17/18")},
		{"", "Range: bytes=-" + huge, part(log, "bytes 0-17/18")},
		{"?lines=1", "Range: bytes=1-2", want{206, "iv", "2", "bytes 1-2/4", "14", "?"}},
	} {
		for _, system := range []bool{true, false} {
			for _, sealed := range []bool{false, true} {
				for _, method := range []string{"GET", "HEAD"} {
					t.Run(fmt.Sprint(method, c.query, " ", c.header, " system=", system, " sealed=", sealed), func(t *testing.T) {
						s := spoolOver(t, system)
						io.WriteString(s, log)
						if sealed {
							s.Close()
						}
						header := []string{"X: y"}
						if c.header != "" {
							header = append(header, c.header)
						}
						resp := ask(t, within(t), method, serveSpool(t, s, nil, public).URL+c.query, header...)
						body, err := io.ReadAll(resp.Body)
						if err != nil {
							t.Error(err)
						}
						want := c.want
						if want.Complete != "" {
							want.Complete = fmt.Sprint(sealed)
						}
						if method == "HEAD" {
							want.Body = ""
						}
						h := resp.Header
						got := struct {
							Status                                int
							Body, Length, Range, Offset, Complete string
						}{resp.StatusCode, string(body), h.Get("Content-Length"), h.Get("Content-Range"), h.Get("Log-Offset"), h.Get("Log-Complete")}
						if diff := cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)); diff != "" {
							t.Error(diff)
						}
						if h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("X-Content-Type-Options") != "nosniff" ||
							h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Content-Encoding") != "" {
							t.Errorf("header %v", h)
						}
					})
				}
			}
		}
	}
}

func TestHandlerOnlyReads(t *testing.T) {
	url := serveSpool(t, newSpool(t), nil, public).URL
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		if resp := ask(t, within(t), method, url); resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("%s: %s, %v", method, resp.Status, resp.Header)
		}
	}
}

// Whoever follows gets the very bytes, whenever it comes and from wherever it reads.
func TestHandlerFollows(t *testing.T) {
	const size = 3 << 20
	log := string(newPattern()) // of 256 KiB and a bit
	log = strings.Repeat(log, size/len(log)+1)[:size]
	const lines = 1000
	lastLines := func(log string) string {
		at := len(log)
		for range lines + 1 {
			at = strings.LastIndexByte(log[:at], '\n')
		}
		return log[at+1:]
	}
	// Readers come when so much is written; 'at' is where they begin.
	half := strings.LastIndexByte(log[:size/2], '\n') + 1
	for _, system := range []bool{true, false} {
		t.Run(fmt.Sprint("system=", system), func(t *testing.T) {
			t.Parallel()
			ctx := within(t)
			s := spoolOver(t, system)
			url := serveSpool(t, s, nil, public).URL
			var readers sync.WaitGroup
			read := func(what, query, header, want string, status int) {
				resp := ask(t, ctx, "GET", url+query, "Accept-Encoding: gzip", header)
				if resp.StatusCode != status || resp.Header.Get("Content-Encoding") != "" {
					t.Errorf("%s: %s, %v", what, resp.Status, resp.Header)
				}
				if status == 206 && resp.Header.Get("Content-Range") == "" {
					t.Errorf("%s: no Content-Range", what)
				}
				readers.Go(func() {
					got, err := io.ReadAll(resp.Body)
					if string(got) != want || err != nil {
						t.Errorf("%s read %d bytes, %v; want %d: %s", what, len(got), err, len(want), firstDifference(string(got), want))
					}
				})
			}
			followers := func(when string, written int) {
				read(when, "?follow=1", "X: y", log, 200)
				read(when+" from an offset", "?follow&offset=12345", "X: y", log[12345:], 200)
				read(when+" from a range", "?follow=true", "Range: bytes=12345-", log[12345:], 206)
				read(when+" from a range ahead", "?follow=1", "Range: bytes=3000000-", log[3000000:], 206)
				read(when+" from an offset ahead", "?follow=1&offset=3000000", "X: y", log[3000000:], 200)
				read(when+" a range with an end", "?follow=1", "Range: bytes=5-2999999", log[5:3000000], 206)
				read(when+" a range with the end of RFC 8673", "?follow=1", "Range: bytes=5-9007199254740991", log[5:], 206)
				read(when+" the last bytes", "?follow=1", "Range: bytes=-70000", log[max(0, written-70000):], 206)
				read(when+" ranges", "?follow=1", "Range: bytes=x-y", log, 200)
				read(when+" a bad range", "?follow=1", "Range: bytes=7-5", log, 200)
			}
			random := rand.New(rand.NewPCG(1, uint64(size)))
			written := 0
			write := func(to int) {
				for written < to {
					n := min(1+int(20_000*random.ExpFloat64()), to-written)
					if _, err := io.WriteString(s, log[written:written+n]); err != nil {
						t.Error(err)
					}
					written += n
				}
			}
			followers("early", 0)
			write(half)
			followers("in the middle", half)
			read("last lines", fmt.Sprintf("?follow=1&lines=%d", lines), "X: y", lastLines(log[:half])+log[half:], 200)
			write(size)
			followers("at the end", size)
			s.Close()
			readers.Wait()
			read("later", "?follow=1", "X: y", log, 200)
			read("later from an offset", "?follow=1&offset=12345", "X: y", log[12345:], 200)
			read("later from a range", "?follow=1", "Range: bytes=12345-9007199254740991", log[12345:], 206)
			read("later last lines", fmt.Sprintf("?follow=1&lines=%d", lines), "X: y", strings.TrimSuffix(lastLines(log+"\n"), "\n"), 200)
			readers.Wait()
			for query, header := range map[string]string{"?follow=1&offset=3145729": "X: y", "?follow=1": "Range: bytes=3145728-"} {
				if resp := ask(t, ctx, "GET", url+query, header); resp.StatusCode != 416 || resp.Header.Get("Content-Range") != "bytes */3145728" {
					t.Errorf("%s, %s, after the end of the log: %s, %v", query, header, resp.Status, resp.Header)
				}
			}
		})
	}
}

// A line arrives while the log is open, and HEAD does not wait for its end.
func TestHandlerDoesNotHoldALineBack(t *testing.T) {
	s := newSpool(t)
	ctx := within(t)
	url := serveSpool(t, s, nil, public).URL
	resp := ask(t, ctx, "GET", url+"?follow=1")
	buf := make([]byte, 100)
	for i := range 100 {
		line := fmt.Sprintf("line %d\n", i)
		io.WriteString(s, line)
		if n, err := io.ReadFull(resp.Body, buf[:len(line)]); string(buf[:n]) != line || err != nil {
			t.Fatalf("%q, %v; want %q", buf[:n], err, line)
		}
	}
	for _, query := range []string{"", "?follow=1"} {
		if resp := ask(t, ctx, "HEAD", url+query, "Accept: text/plain"); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
	}
}

func TestHandlerTellsBrowsersWhoMayRead(t *testing.T) {
	for _, c := range []struct {
		origins      []string
		origin, want string
	}{
		{nil, "https://ci.example", ""},
		{[]string{"https://ci.example"}, "https://ci.example", "https://ci.example"},
		{[]string{"https://ci.example"}, "https://evil.example", ""},
		{[]string{"https://ci.example"}, "", ""},
		{[]string{"*"}, "https://ci.example", "*"},
	} {
		url := serveSpool(t, newSpool(t), nil, livelog.HandlerOptions{Origins: c.origins, Public: true}).URL
		for method, status := range map[string]int{"GET": 200, "OPTIONS": 204} {
			resp := ask(t, within(t), method, url, "Origin: "+c.origin, "Access-Control-Request-Method: GET")
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != c.want || resp.StatusCode != status {
				t.Errorf("%s with %q to %q: %s, allowed is %q, want %q", method, c.origin, c.origins, resp.Status, got, c.want)
			}
			if (resp.Header.Get("Access-Control-Allow-Headers") == "Range, Last-Event-ID") != (c.want != "") {
				t.Errorf("%s with %q to %q: %v", method, c.origin, c.origins, resp.Header)
			}
			if resp.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("cookies are allowed")
			}
		}
	}
}

// Whatever is asked, the answer is a part of the log, or says what is wrong with the question.
func FuzzHandlerRequest(f *testing.F) {
	const log = "one\ntwo\n\nfour\nfive"
	s := livelog.NewSpool(newFile(), 0)
	f.Cleanup(func() { s.Release() })
	io.WriteString(s, log)
	s.Close()
	h := livelog.NewHandler(f.Context(), s, "log", nil, public)
	f.Add("follow=1&lines=2", "bytes=1-2", "", "")
	f.Add("offset=9223372036854775807&follow", "bytes=-5", "text/event-stream", "9223372036854775807")
	f.Add("lines=9223372036854775807", "bytes=0-0,2-2,-9223372036854775808", "text/plain", "-1")
	f.Add("offset=18", "bytes=9223372036854775806-9223372036854775807", "text/event-stream", "18")
	f.Fuzz(func(t *testing.T, query, ranges, accept, id string) {
		req := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		req.URL.RawQuery = query
		req.Header = http.Header{"Range": {ranges}, "Accept": {accept}, "Last-Event-Id": {id}}
		w := httptest.NewRecorder()
		if aborts(func() { h.ServeHTTP(w, req) }) {
			t.Error("the answer is torn")
		}
		body := w.Body.String()
		switch resp := w.Result(); {
		case w.Code == 204 && body == "", w.Code == 400, w.Code == 416:
		case w.Code == 206 && strings.HasPrefix(resp.Header.Get("Content-Type"), "multipart/byteranges"):
		case w.Code == 200 && strings.Contains(accept, "text/event-stream"):
			data, err := io.ReadAll(&sseLog{t: t, r: newEvents(strings.NewReader(body)), off: -1})
			if err != nil || !strings.HasSuffix(log, string(data)) {
				t.Errorf("%q, %v", data, err)
			}
		case w.Code == 200:
			if want := fmt.Sprint(len(log) - len(body)); !strings.HasSuffix(log, body) || resp.Header.Get("Log-Offset") != want {
				t.Errorf("%q, %v", body, resp.Header)
			}
		case w.Code == 206:
			if !strings.Contains(log, body) { // which may be empty: net/http has it so for "bytes=-0"
				t.Errorf("%q", body)
			}
		default:
			t.Errorf("%d %q", w.Code, body)
		}
	})
}

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/cmd/internal/page"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// trusted are the certificates that this process trusts: none, until a test adds one.
var trusted = func() *x509.CertPool {
	pool := x509.NewCertPool()
	http.DefaultTransport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool}
	return pool
}()

// What must not show. Each is in a place of its own, so that a leak tells where it came from.
const (
	signedCanary   = "CANARYsigned"   // in the queries of the URLs in the documents
	locationCanary = "CANARYlocation" // in the query of a Location
	userCanary     = "CANARYuser"     // in the user of a Location
	cookieCanary   = "CANARYcookie"   // in a cookie that a redirect sets
)

var anotherQuery = "?X-Amz-Signature=" + locationCanary

// redirectCase is a way in which a storage redirects those who read it.
type redirectCase struct {
	name   string
	rule   agenttest.Redirect
	secure bool   // readers begin at the storage over TLS
	refuse string // what all readers say; "": they read
	// readBack is what the upload's own reader says where it differs: it follows fewer hops. "-": it reads.
	readBack string
}

func via(locations ...string) agenttest.Redirect { return agenttest.Redirect{Via: locations} }

func withStatus(status int, rule agenttest.Redirect) agenttest.Redirect {
	rule.Status = status
	return rule
}

func withHeader(rule agenttest.Redirect, pairs ...string) agenttest.Redirect {
	rule.Header = http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		rule.Header.Add(pairs[i], pairs[i+1])
	}
	return rule
}

func looping(rule agenttest.Redirect) agenttest.Redirect {
	rule.Loop = true
	return rule
}

const (
	toHTTP     = "from https to http"
	noWeb      = "neither http nor https"
	namesUser  = "names a user"
	tooMany    = "in a row"
	badCert    = "certificate"
	noLocation = "a redirect that does not say where to"
)

// readerRedirects is the table of what a storage may answer to those who read it, and what they make of it.
var readerRedirects = []redirectCase{
	{name: "301 to another path", rule: withStatus(301, via("{path}"))},
	{name: "302 to another path", rule: withStatus(302, via("{path}"))},
	{name: "303 to another path", rule: withStatus(303, via("{path}"))},
	{name: "307 to another path", rule: withStatus(307, via("{path}"))},
	{name: "308 to another path", rule: withStatus(308, via("{path}"))},
	{name: "a relative Location", rule: via("{relative}")},
	{name: "relative Locations in a row", rule: via("{relative}", "{relative}", "{relative}")},
	{name: "to another port", rule: via("{alternate}{path}")},
	{name: "to another host", rule: via("{localhost}{path}")},
	{name: "to another host and back, three times", rule: via("{localhost}{path}", "{storage}{path}", "{localhost}{path}", "{alternate}{path}", "{localhost}{path}"), readBack: "-"},
	{name: "without a scheme, to another port", rule: via("//{alternate-host}{path}")},
	{name: "to https that is trusted", rule: via("{https}{path}")},
	{name: "from https to https", rule: via("{https}{path}"), secure: true},
	{name: "without a scheme, which stays https", rule: via("//{https-host}{path}"), secure: true},
	{name: "to https that nobody knows", rule: via("{untrusted}{path}"), refuse: badCert},
	{name: "from https to http", rule: via("{storage}{path}"), secure: true, refuse: toHTTP},
	{name: "308 from https to http", rule: withStatus(308, via("{storage}{path}")), secure: true, refuse: toHTTP},
	{name: "to https and back to http", rule: via("{https}{path}", "{storage}{path}"), refuse: toHTTP},
	{name: "to https and back to http with a signature", rule: via("{https}{path}", "{alternate}{path}"+anotherQuery), refuse: toHTTP},
	{name: "five in a row", rule: via(slices.Repeat([]string{"{path}"}, 5)...)},
	{name: "six in a row, one more than an upload follows", rule: via(slices.Repeat([]string{"{path}"}, 6)...), readBack: tooMany},
	{name: "ten in a row, over two hosts", rule: via(slices.Repeat([]string{"{alternate}{path}", "{localhost}{path}"}, 5)...), readBack: tooMany},
	{name: "eleven in a row", rule: via(slices.Repeat([]string{"{path}"}, 11)...), refuse: tooMany},
	{name: "round and round one path", rule: looping(via("{path}")), refuse: tooMany},
	{name: "round and round over three hosts", rule: looping(via("{alternate}{path}", "{localhost}{path}", "{storage}{path}")), refuse: tooMany},
	{name: "round and round with a signature", rule: looping(via("{alternate}{path}" + anotherQuery)), refuse: tooMany},
	{name: "to a signed URL", rule: via("{alternate}{path}" + anotherQuery)},
	{name: "to a signed URL, which redirects to an unsigned one", rule: via("{alternate}{path}"+anotherQuery, "{localhost}{path}")},
	{name: "to the same query at another host, as S3 does", rule: via("{alternate}{path}{query}")},
	{name: "to https with a signature that is in clear at the next hop", rule: via("{https}{path}"+anotherQuery, "{storage}{path}"), refuse: toHTTP},
	{name: "without a Location", rule: via(""), refuse: noLocation},
	{name: "307 without a Location", rule: withStatus(307, via("")), refuse: noLocation},
	{name: "to what is no URL", rule: via("http://%zz/" + anotherQuery), refuse: noWeb},
	{name: "to a URL without a host", rule: via("http:///x" + anotherQuery), refuse: noWeb},
	{name: "to ftp", rule: via("ftp://{alternate-host}{path}" + anotherQuery), refuse: noWeb},
	{name: "to a file", rule: via("file:///etc/hosts"), refuse: noWeb},
	{name: "to a script", rule: via("javascript:alert('" + locationCanary + "')"), refuse: noWeb},
	{name: "to a URL with a user", rule: via("http://x:" + userCanary + "@{alternate-host}{path}"), refuse: namesUser},
	{name: "to a URL with a user of the same host", rule: via("http://" + userCanary + "@{storage-host}{path}"), refuse: namesUser},
	{name: "with a cookie", rule: withHeader(via("{path}", "{alternate}{path}", "{storage}{path}"), "Set-Cookie", "c="+cookieCanary+"; Path=/")},
	{name: "with a demand for the whole URL as Referer", rule: withHeader(via("{alternate}{path}", "{localhost}{path}"), "Referrer-Policy", "unsafe-url")},
	{name: "to be cached for a year", rule: withHeader(withStatus(301, via("{alternate}{path}")), "Cache-Control", "public, max-age=31536000, immutable", "Expires", "Thu, 01 Jan 2099 00:00:00 GMT", "Age", "31535000")},
	{name: "gone by a cache's word, and then there", rule: withHeader(via("{path}"), "ETag", `"of-the-redirect"`, "Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT")},
}

// redirectStage is a storage that holds a task whose run is completed, and what the readers have said.
type redirectStage struct {
	server  *agenttest.Server
	base    string
	logged  output
	logger  *slog.Logger
	storage *queue.Storage
}

const (
	storedText   = "the text of the log\n"
	artifactText = "an artifact\n"
)

func newRedirectStage(t *testing.T, c redirectCase) *redirectStage {
	t.Helper()
	s := new(redirectStage)
	s.logger = slog.New(slog.NewTextHandler(&s.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	dir := t.TempDir()
	server, err := agenttest.New(dir, agenttest.Options{Redirects: []agenttest.Redirect{c.rule}, Logger: s.logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	trusted.AddCert(server.Certificate())
	s.server, s.base = server, server.StorageURL()
	if c.secure {
		s.base = server.SecureURL()
	}
	store(t, dir, completedRun(s.base))
	s.storage, err = queue.NewStorage(s.base, queue.Options{Logger: s.logger, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// completedRun is what a run has left, with URLs that are signed.
func completedRun(base string) map[string]string {
	at := func(path string) string { return base + "/" + goodID + "/" + path + "?X-Amz-Signature=" + signedCanary }
	size := len(storedText)
	return map[string]string{
		"task.json": goodTask,
		"resolution.json": `{"version":"0.2.0","status":` + strings.Replace(goodStatus, "running", "completed", 1) +
			`,"runId":0,"success":true,"resultUrl":"http://x/r","logsUrl":"http://x/l","workerGroup":"g","workerId":"w"}`,
		"runs/0/logs.json":              logsOf(`"terminal.log":"` + at("runs/0/artifacts/terminal.log") + `","live/terminal.log":"` + at("index.json") + `"`),
		"runs/0/result.json":            strings.Replace(goodResult, "http://x/a", at("runs/0/artifacts/a"), 1),
		"runs/0/artifacts/a":            artifactText,
		"runs/0/artifacts/terminal.log": storedText,
		"chunk":                         storedText[:size-4],
		"index.json":                    fmt.Sprintf(`{"version":"0.2.0","size":%d,"complete":true,"pollAfterMs":0,"chunks":[{"offset":0,"size":%d,"url":"%s","encoding":"identity"}],"tail":"bG9nCg=="}`, size, size-4, at("chunk")),
	}
}

// client is one of those who read the storage: it gives what it has read and shown, or its error.
type client struct {
	name string
	read func(context.Context, *testing.T, *redirectStage) (shown string, err error)
	want string // part of what it shows where it reads
}

var readingClients = []client{
	{"Storage.Task", func(ctx context.Context, _ *testing.T, s *redirectStage) (string, error) {
		task, err := s.storage.Task(ctx, goodID)
		return task.Metadata.Owner, err
	}, "a@example.com"},
	{"Storage.Runs", func(ctx context.Context, _ *testing.T, s *redirectStage) (string, error) {
		runs, err := s.storage.Runs(ctx, goodID)
		return fmt.Sprint(runs), err
	}, "[0]"},
	{"Storage.Open", func(ctx context.Context, _ *testing.T, s *redirectStage) (string, error) {
		object, err := s.storage.Open(ctx, s.base+"/"+goodID+"/runs/0/artifacts/a?X-Amz-Signature="+signedCanary)
		if err != nil {
			return "", err
		}
		defer object.Close()
		data, err := io.ReadAll(object)
		return string(data), err
	}, artifactText},
	{"livelog.Reader", func(ctx context.Context, _ *testing.T, s *redirectStage) (string, error) {
		r := livelog.NewReader(ctx, s.base+"/"+goodID+"/index.json?X-Amz-Signature="+signedCanary, livelog.ReaderOptions{Logger: s.logger, MinPoll: time.Millisecond})
		defer r.Close()
		data, err := io.ReadAll(r)
		return string(data), err
	}, storedText},
	{"livelog.TextReader", func(ctx context.Context, _ *testing.T, s *redirectStage) (string, error) {
		r := livelog.NewTextReader(ctx, s.base+"/"+goodID+"/runs/0/artifacts/terminal.log?X-Amz-Signature="+signedCanary, livelog.ReaderOptions{Logger: s.logger, MinPoll: time.Millisecond})
		defer r.Close()
		data, err := io.ReadAll(r)
		return string(data), err
	}, storedText},
	{"inspect", command("inspect", goodID), "artifact a  "},
	{"tail", command("tail", goodID), storedText},
	{"tail -f", command("tail", "-f", goodID+"/0"), storedText},
	{"the page, a task", onPage("/api/tasks/" + goodID), `"owner":"a@example.com"`},
	{"the page, a document", onPage("/api/tasks/" + goodID + "/runs/0/documents/result.json"), `workerGroup`},
	{"the page, artifacts", onPage("/api/tasks/" + goodID + "/runs/0/artifacts"), `"size":12`},
	{"the page, a log", onPage("/api/tasks/" + goodID + "/runs/0/log?name=terminal.log"), storedText},
}

// command runs a command line.
func command(args ...string) func(context.Context, *testing.T, *redirectStage) (string, error) {
	return func(_ context.Context, _ *testing.T, s *redirectStage) (string, error) {
		var stdout, stderr bytes.Buffer
		status := run(append([]string{"upload-agent", args[0], "--log-level", "debug", "--storage", s.base}, args[1:]...), nil, &stdout, &stderr)
		s.logged.Write(stderr.Bytes())
		if status != 0 {
			return stdout.String(), fmt.Errorf("status %d: %s", status, stderr.String())
		}
		return stdout.String(), nil
	}
}

// onPage asks the inspector page.
func onPage(path string) func(context.Context, *testing.T, *redirectStage) (string, error) {
	return func(_ context.Context, t *testing.T, s *redirectStage) (string, error) {
		server := httptest.NewServer(page.New(page.Options{Storage: s.storage, Logger: s.logger}))
		defer server.Close()
		resp, err := server.Client().Get(server.URL + path)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			var said struct{ Error string }
			if json.Unmarshal(body, &said) != nil {
				t.Errorf("%s: not JSON: %s", path, body)
			}
			err = fmt.Errorf("%d: %s", resp.StatusCode, said.Error)
		}
		return string(body), err
	}
}

// A storage redirects whoever reads it: each reader follows where that is safe, and says why where it is not; and nobody learns a secret.
func TestReadersFollowRedirects(t *testing.T) {
	for _, c := range readerRedirects {
		t.Run(c.name, func(t *testing.T) {
			s := newRedirectStage(t, c)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for _, reader := range readingClients {
				shown, err := reader.read(ctx, t, s)
				switch {
				case c.refuse == "" && (err != nil || !strings.Contains(shown, reader.want)):
					t.Errorf("%s: %q, %v; want %q", reader.name, shown, err, reader.want)
				case c.refuse != "" && (err == nil || !strings.Contains(err.Error(), c.refuse)):
					t.Errorf("%s: %q, error %v; want one with %q", reader.name, shown, err, c.refuse)
				}
				if strings.Contains(shown, "CANARY") || err != nil && strings.Contains(err.Error(), "CANARY") {
					t.Errorf("%s shows a secret: %s, %v", reader.name, shown, err)
				}
			}
			if !c.secure { // the grant would be for another address
				s.readBack(ctx, t, c)
			}
			s.wantNoLeak(t, c)
		})
	}
}

// readBack stores an object and reads it back.
func (s *redirectStage) readBack(ctx context.Context, t *testing.T, c redirectCase) {
	t.Helper()
	claim, err := s.server.PostAndClaim(schema.Worker{})
	if err != nil {
		t.Fatal(err)
	}
	transport := upload.NewTransport()
	transport.TLSClientConfig = &tls.Config{RootCAs: trusted}
	defer transport.CloseIdleConnections()
	u, err := url.Parse(claim.LogsPutURL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	_, err = upload.New(upload.Options{Transport: transport, Logger: s.logger, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond}).Put(ctx,
		upload.Grant{URL: claim.LogsPutURL, ContentType: "application/json", ReadURL: s.base + u.Path},
		upload.Bytes([]byte("{}")), upload.PutOptions{Name: "logs.json", ReadBack: true, GiveUpAfter: 100 * time.Millisecond})
	want := c.refuse
	switch c.readBack {
	case "":
	case "-":
		want = ""
	default:
		want = c.readBack
	}
	if want == noWeb {
		want = "redirect" // net/http itself refuses some
	}
	if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("read back: %v, want %q", err, want)
	}
	if err != nil && strings.Contains(err.Error(), "CANARY") {
		t.Errorf("read back shows a secret: %v", err)
	}
}

// wantNoLeak looks at every request whole, and at every line of the logs.
func (s *redirectStage) wantNoLeak(t *testing.T, c redirectCase) {
	t.Helper()
	hops := s.server.Hops()
	if len(hops) < len(readingClients) {
		t.Errorf("only %d requests", len(hops))
	}
	for _, hop := range hops {
		header := fmt.Sprint(hop.Header)
		if strings.Contains(header, "CANARY") || hop.Header.Get("Referer") != "" || hop.Header.Get("Authorization") != "" || hop.Header.Get("Cookie") != "" {
			t.Errorf("%s %s at %s was told %s", hop.Method, hop.URI, hop.At, header)
		}
		if hop.Method != http.MethodGet {
			continue
		}
		number := -1 // of the Location that led here
		fmt.Sscanf(hop.URI, "/.via/0/%d/", &number)
		if number < 0 {
			if hop.At != s.base || strings.Contains(hop.URI, locationCanary) {
				t.Errorf("%s at %s, where nothing leads", hop.URI, hop.At)
			}
			continue
		}
		location := c.rule.Via[(number-1)%len(c.rule.Via)]
		if strings.Contains(hop.URI, signedCanary) && !strings.Contains(location, "{query}") {
			t.Errorf("the signature was carried to %s: %s", hop.At, hop.URI)
		}
		if strings.Contains(hop.URI, locationCanary) != strings.Contains(location, locationCanary) {
			t.Errorf("the signature of a Location was carried on to %s: %s (Location %s)", hop.At, hop.URI, location)
		}
	}
	if logged := s.logged.String(); strings.Contains(logged, "CANARY") {
		t.Errorf("a secret is logged:\n%s", logged)
	}
}

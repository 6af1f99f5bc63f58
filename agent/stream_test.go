package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// streaming is a rig whose runs serve their logs.
type streaming struct {
	*rig
	server *httptest.Server
	key    []byte
}

func newStreaming(t *testing.T, o agent.StreamOptions) *streaming {
	s := &streaming{rig: newRig(t, agenttest.Options{}), key: bytes.Repeat([]byte("k"), 32)}
	mux := http.NewServeMux()
	s.server = httptest.NewServer(mux)
	t.Cleanup(s.server.Close)
	o.Key, o.Logger = s.key, s.options.Logger
	stream, err := agent.NewStream(s.server.URL+"/logs", o)
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/logs/", stream)
	s.options.Stream = stream
	return s
}

// logs is logs.json as it is stored now.
func (s *streaming) logs() map[string]string {
	s.t.Helper()
	doc, err := schema.Decode[schema.Logs]("logs.json", s.stored("logs.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	return doc.Logs
}

// link is what logs.json has for a log, once it has.
func (s *streaming) link(name string) string {
	s.t.Helper()
	var link string
	eventually(s.t, "a link to "+name, func() bool {
		if s.stored("logs.json") != nil {
			link = s.logs()["stream/"+name]
		}
		return link != ""
	})
	return link
}

// get begins to read over a connection of its own.
func (s *streaming) get(link string) *http.Response {
	s.t.Helper()
	resp, err := s.tryGet(link)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

func (s *streaming) tryGet(link string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(s.ctx(), http.MethodGet, link, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err == nil {
		s.t.Cleanup(func() { resp.Body.Close() })
	}
	return resp, err
}

func (s *streaming) status(link string) int {
	s.t.Helper()
	resp := s.get(link)
	defer resp.Body.Close()
	return resp.StatusCode
}

func (s *streaming) resume() *agent.Run {
	s.t.Helper()
	left, err := agent.Unfinished(s.options.StateDir)
	if err != nil || len(left) != 1 {
		s.t.Fatal(left, err)
	}
	run, err := agent.Resume(s.t.Context(), s.queue, left[0], s.options)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { run.Close() })
	return run
}

// read has the rest of a body, and how it ended.
type read struct {
	text string
	err  error
}

func readAll(body io.Reader) <-chan read {
	done := make(chan read, 1)
	go func() {
		text, err := io.ReadAll(body)
		done <- read{string(text), err}
	}()
	return done
}

// Whoever has a link from logs.json reads the log as it is written and up to its end, and finds no link there afterwards.
func TestStreamServesLogsWhileTheyAreWritten(t *testing.T) {
	s := newStreaming(t, agent.StreamOptions{})
	names := []string{"terminal.log", "deep/ä b?#%41.log"}
	if firstRun() > 0 {
		names[1] = "deep/b?#%41.log" // the first queue grants no other
	}
	s.options.Logs = names
	s.options.Redact = []string{"hunter2!"}
	run := s.start(t.Context())
	wrote := map[string]string{}
	rests := map[string]<-chan read{}
	for _, name := range names {
		resp := s.get(s.link(name) + "&follow=1")
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
		line := "the first of " + name + "\n"
		io.WriteString(run.Log(name), line)
		if got, err := io.ReadAll(io.LimitReader(resp.Body, int64(len(line)))); string(got) != line || err != nil { // while the run goes on
			t.Fatalf("%q, %v", got, err)
		}
		var rest strings.Builder
		for i := range 10_000 {
			fmt.Fprintf(&rest, "line %d of %s\n", i, name)
		}
		io.WriteString(run.Log(name), rest.String()+"hunter2!\n")
		wrote[name] = rest.String() + "[redacted]\n"
		rests[name] = readAll(resp.Body)
	}
	links := []string{s.link(names[0]), s.link(names[1])}
	for _, link := range links {
		u, _ := url.Parse(link)
		query := u.Query()
		query.Set("signature", strings.Map(func(r rune) rune { // never the real one
			if r == 'x' {
				return 'y'
			}
			return 'x'
		}, query.Get("signature")))
		forged := *u
		forged.RawQuery = query.Encode()
		elsewhere := *u
		elsewhere.Path = "/logs/" + string(s.claim.Task()) + "/0/other.log"
		for _, bad := range []string{forged.String(), elsewhere.String(), strings.Split(link, "?")[0], s.server.URL + "/logs/"} {
			if status := s.status(bad); status != http.StatusForbidden {
				t.Errorf("%s: %d", bad, status)
			}
		}
		path := strings.TrimPrefix(u.Path, "/logs/")
		past := livelog.NewLinks(s.key).Sign(&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}, path, time.Now().Add(-time.Second))
		if status := s.status(past.Reveal()); status != http.StatusForbidden {
			t.Errorf("expired: %d", status)
		}
	}
	if _, err := run.Complete(s.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	for name, rest := range rests {
		if got := <-rest; got.text != wrote[name] || got.err != nil {
			t.Errorf("%s: %d bytes, %v; want %d equal ones", name, len(got.text), got.err, len(wrote[name]))
		}
	}
	for _, link := range links {
		if status := s.status(link); status != http.StatusGone {
			t.Errorf("a link after the run: %d", status)
		}
	}
	want := []string{names[1], "live/" + names[1], "live/" + names[0], names[0]}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(s.logs()))); diff != "" {
		t.Errorf("logs.json (-want +got):\n%s", diff)
	}
	s.checkHistory()
	for _, link := range links {
		u, _ := url.Parse(link)
		if signature := u.Query().Get("signature"); len(signature) != 43 || strings.Contains(s.log.String(), signature) {
			t.Errorf("the log of the agent holds the signature %q", signature)
		}
	}
	if !strings.Contains(s.log.String(), "logs.json") {
		t.Error("the agent logs nothing: the test looks at nothing")
	}
}

// logs.json is without links before the result is stored, and never stored after it.
func TestStreamKeepsTheOrderOfTheEnd(t *testing.T) {
	s := newStreaming(t, agent.StreamOptions{})
	run := s.start(t.Context())
	s.link("terminal.log")
	if _, err := run.Finish(s.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	if link, ok := s.logs()["stream/terminal.log"]; ok {
		t.Errorf("there is a link: %s", schema.Redact(link))
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	var last []string
	for _, r := range s.rig.server.Requests() {
		if r.What == "put" && (strings.HasSuffix(r.Path, "/logs.json") || strings.HasSuffix(r.Path, "/result.json")) {
			last = append(last, r.Path[strings.LastIndex(r.Path, "/")+1:])
		}
	}
	if got := fmt.Sprint(last[max(0, len(last)-2):]); got != "[logs.json result.json]" || slices.Index(last, "result.json") != len(last)-1 {
		t.Errorf("stored %q", last)
	}
}

// The end of the run waits for those who still read, and for nobody for long.
func TestStreamWaitsForReadersAWhile(t *testing.T) {
	line := strings.Repeat("x", 1023) + "\n"
	text := strings.Repeat(line, 32<<10) // more than the buffers of the system hold
	t.Run("who reads gets all", func(t *testing.T) {
		s := newStreaming(t, agent.StreamOptions{Grace: time.Minute})
		run := s.start(t.Context())
		follows, plain := s.get(s.link("terminal.log")+"&follow=1"), (*http.Response)(nil)
		io.WriteString(run.Log("terminal.log"), text)
		plain = s.get(s.link("terminal.log"))
		ended := make(chan error, 1)
		go func() {
			_, err := run.Complete(s.ctx(), agent.Outcome{Success: true})
			ended <- err
		}()
		eventually(t, "the report", func() bool { return s.state() == schema.Completed })
		for what, resp := range map[string]*http.Response{"follows": follows, "plain": plain} {
			if got := <-readAll(resp.Body); got.text != text || got.err != nil {
				t.Errorf("%s: %d bytes, %v", what, len(got.text), got.err)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Run("who does not is cut off", func(t *testing.T) {
		s := newStreaming(t, agent.StreamOptions{Grace: 10 * time.Millisecond})
		run := s.start(t.Context())
		link := s.link("terminal.log")
		stuck := s.get(link + "&follow=1")
		io.WriteString(run.Log("terminal.log"), text)
		if _, err := run.Complete(s.ctx(), agent.Outcome{Success: true}); err != nil {
			t.Error(err)
		}
		if status := s.status(link); status != http.StatusGone {
			t.Error(status)
		}
		if got := <-readAll(stuck.Body); got.err == nil || !strings.HasPrefix(text, got.text) {
			t.Errorf("%d bytes, %v", len(got.text), got.err)
		}
	})
}

// Where a run is left amid its work, nobody takes what there is for the log; the rest of logs.json still leads to it. When
// the run is resumed, old links and new ones lead to the whole.
func TestStreamOfARunThatIsResumed(t *testing.T) {
	for _, again := range []bool{true, false} {
		t.Run(fmt.Sprint("served again=", again), func(t *testing.T) {
			s := newStreaming(t, agent.StreamOptions{Grace: time.Minute})
			run := s.start(t.Context())
			link := s.link("terminal.log")
			early := s.get(link + "&follow=1")
			io.WriteString(run.Log("terminal.log"), "before\n")
			eventually(t, "the index", func() bool { return bytes.Contains(s.stored("artifacts/terminal.log"), []byte("before")) })
			if err := run.Close(); err != nil { // leaves what a crash leaves
				t.Fatal(err)
			}
			if got := <-readAll(early.Body); got.text != "before\n" || got.err == nil {
				t.Errorf("%q, %v", got.text, got.err)
			}
			if status := s.status(link); status != http.StatusGone {
				t.Errorf("the link: %d", status)
			}
			dead := s.logs()
			if dead["stream/terminal.log"] != link {
				t.Errorf("logs.json has %v", dead)
			}
			reader := livelog.NewReader(s.ctx(), dead["live/terminal.log"], livelog.ReaderOptions{})
			defer reader.Close()
			if got, err := io.ReadAll(io.LimitReader(reader, 7)); string(got) != "before\n" || err != nil {
				t.Errorf("the index leads to %q, %v", got, err)
			}
			if resp := s.get(dead["terminal.log"]); resp.StatusCode != http.StatusOK {
				t.Errorf("the text: %s", resp.Status)
			}

			if !again {
				s.options.Stream = nil
				s.resume()
				eventually(t, "logs.json without the link", func() bool { return s.logs()["stream/terminal.log"] == "" })
			} else {
				run = s.resume()
				rests := []<-chan read{readAll(s.get(link + "&follow=1").Body), readAll(s.get(s.link("terminal.log") + "&follow=1&offset=7").Body)}
				io.WriteString(run.Log("terminal.log"), "after\n")
				if _, err := run.Complete(s.ctx(), agent.Outcome{Success: true}); err != nil {
					t.Fatal(err)
				}
				for i, want := range []string{"before\nafter\n", "after\n"} {
					if got := <-rests[i]; got.text != want || got.err != nil {
						t.Errorf("%q, %v; want %q", got.text, got.err, want)
					}
				}
			}
		})
	}
}

// The links of a run that lasts longer than they do are renewed.
func TestStreamRenewsItsLinks(t *testing.T) {
	s := newStreaming(t, agent.StreamOptions{Validity: 2 * time.Second})
	s.start(t.Context())
	first := s.link("terminal.log")
	eventually(t, "another link", func() bool { link := s.link("terminal.log"); return link != first && s.status(link) == http.StatusOK })
	eventually(t, "the end of the first", func() bool { return s.status(first) == http.StatusForbidden })
}

// An abandoned run has said all that it says: its logs end well, and its links go.
func TestStreamOfARunThatIsAbandoned(t *testing.T) {
	s := newStreaming(t, agent.StreamOptions{Grace: time.Minute})
	run := s.start(t.Context())
	rest := readAll(s.get(s.link("terminal.log") + "&follow=1").Body)
	if err := run.Abandon(s.ctx(), "no more"); err != nil {
		t.Fatal(err)
	}
	if got := <-rest; got.text != "upload-agent: no more\n" || got.err != nil {
		t.Errorf("%q, %v", got.text, got.err)
	}
	if _, ok := s.logs()["stream/terminal.log"]; ok {
		t.Error("there is a link")
	}
}

// Readers that come and go at every moment around the end of a run get all of the log, are torn, or are told that it is gone.
func TestStreamReadersAtTheEnd(t *testing.T) {
	s := newStreaming(t, agent.StreamOptions{Grace: 20 * time.Millisecond})
	run := s.start(t.Context())
	link := s.link("terminal.log")
	text := strings.Repeat("line\n", 100_000)
	io.WriteString(run.Log("terminal.log"), text[:len(text)/2])
	var readers sync.WaitGroup
	for i := range 8 {
		query := []string{"&follow=1", ""}[i%2]
		readers.Go(func() {
			for {
				resp, err := s.tryGet(link + query)
				if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
					continue // torn before it began
				}
				if err != nil {
					t.Error(err)
					return
				}
				if resp.StatusCode == http.StatusGone {
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK || !strings.HasPrefix(text, string(got)) || err == nil && query != "" && len(got) != len(text) {
					t.Errorf("%s, %d bytes, %v", resp.Status, len(got), err)
					return
				}
			}
		})
	}
	io.WriteString(run.Log("terminal.log"), text[len(text)/2:])
	if _, err := run.Complete(s.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Fatal(err)
	}
	readers.Wait()
}

// deaf is a client that takes nothing, behind a server without deadlines.
type deaf struct {
	http.ResponseWriter
	began, leaves chan struct{}
}

func (w deaf) FlushError() error { return nil }

func (w deaf) Write([]byte) (int, error) {
	w.began <- struct{}{}
	<-w.leaves
	return 0, errors.New("gone")
}

// Not even a server that cannot cut its clients off holds up the end of a run for ever.
func TestStreamBehindAServerWithoutDeadlines(t *testing.T) {
	t.Parallel()
	s := newStreaming(t, agent.StreamOptions{Grace: time.Millisecond})
	run := s.start(t.Context())
	io.WriteString(run.Log("terminal.log"), "one\n")
	w := deaf{httptest.NewRecorder(), make(chan struct{}, 1), make(chan struct{})}
	served := make(chan any, 1)
	go func() {
		defer func() { served <- recover() }()
		s.options.Stream.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, s.link("terminal.log")+"&follow=1", nil))
	}()
	select {
	case <-w.began:
	case ended := <-served:
		t.Fatalf("the answer ended with %v before anything was sent", ended)
	}
	if _, err := run.Complete(s.ctx(), agent.Outcome{Success: true}); err != nil {
		t.Error(err)
	}
	close(w.leaves)
	if panicked := <-served; panicked != http.ErrAbortHandler {
		t.Errorf("the answer ended with %v", panicked)
	}
}

func TestStreamNamesAreReserved(t *testing.T) {
	s := newStreaming(t, agent.StreamOptions{})
	run := s.start(t.Context())
	var bad *schema.NameError
	if _, err := io.WriteString(run.Log("stream/terminal.log"), "x"); !errors.As(err, &bad) {
		t.Errorf("a log: %v", err)
	}
	if err := agent.CheckName("stream/x"); !errors.As(err, &bad) {
		t.Errorf("an artifact: %v", err)
	}
}

func TestNewStreamRefuses(t *testing.T) {
	for _, base := range []string{"", "worker:80", "/logs/", "ftp://worker/", "http://worker/?secret=1", "http://me:secret@worker/", "http://%zz secret/"} {
		if _, err := agent.NewStream(base, agent.StreamOptions{}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("NewStream(%q) = %v", base, err)
		}
	}
	if _, err := agent.NewStream("http://worker/", agent.StreamOptions{Key: []byte("short")}); err == nil || strings.Contains(err.Error(), "short ") {
		t.Errorf("a short key: %v", err)
	}
	if _, err := agent.NewStream("https://worker.example:8443", agent.StreamOptions{}); err != nil {
		t.Error(err)
	}
}

// Requests arrive with the path of the base or without it.
func TestStreamBehindAPrefix(t *testing.T) {
	s := newStreaming(t, agent.StreamOptions{Origins: []string{"https://ci.example"}})
	s.start(t.Context())
	link := s.link("terminal.log")
	for _, path := range []string{"/logs/", "/", ""} {
		req := httptest.NewRequestWithContext(context.Background(), http.MethodGet, link, nil)
		req.URL.Path = path + strings.TrimPrefix(req.URL.Path, "/logs/")
		req.Header.Set("Origin", "https://ci.example")
		w := httptest.NewRecorder()
		s.options.Stream.ServeHTTP(w, req)
		if w.Code != http.StatusOK || w.Header().Get("Access-Control-Allow-Origin") != "https://ci.example" {
			t.Errorf("%q: %d %v", path, w.Code, w.Header())
		}
	}
}

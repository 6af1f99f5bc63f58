package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// stage is a task with a server, on which a worker writes logs and readers tail them.
type stage struct {
	t      *testing.T
	server *agenttest.Server
	queue  *queue.Client
	task   string
	tails  sync.WaitGroup
}

func newStage(t *testing.T, faults string) *stage {
	seed := rand.Uint64()
	t.Log("seed", seed)
	plan, err := agenttest.ParseFaults(faults, seed)
	if err != nil {
		t.Fatal(err)
	}
	server, err := agenttest.New(t.TempDir(), agenttest.Options{Faults: plan})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	s := &stage{t: t, server: server}
	if s.queue, err = queue.New(server.QueueURL(), queue.Options{MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	status, err := s.queue.CreateTask(t.Context(), schema.Task{
		Version: schema.Version, ProvisionerID: "p", WorkerType: "w", Retries: 3, Timeout: 600,
		Created: schema.Timestamp(now), Deadline: schema.Timestamp(now.Add(time.Hour)), Payload: map[string]any{},
		Metadata: schema.TaskMetadata{Name: "n", Owner: "owner@example.com", Source: "https://example.com/"}, Tags: map[string]string{},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.task = string(status.TaskID)
	t.Cleanup(func() {
		if !t.Failed() { // then some may wait for ever
			s.tails.Wait()
		}
	})
	return s
}

// start claims the task and starts a run.
func (s *stage) start() *agent.Run {
	s.t.Helper()
	claim, err := s.queue.Claim(s.t.Context(), schema.TaskID(s.task), schema.Worker{WorkerGroup: "g", WorkerID: "w"})
	if err != nil {
		s.t.Fatal(err)
	}
	uploads := upload.New(upload.Options{MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond})
	s.t.Cleanup(uploads.CloseIdleConnections)
	run, err := agent.Start(s.t.Context(), s.queue, claim, agent.Options{
		StateDir: s.t.TempDir(), Uploader: uploads,
		Publish: livelog.PublishOptions{Interval: 5 * time.Millisecond, TailSize: 1000, MaxChunk: 30_000},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { run.Close() })
	return run
}

func (s *stage) complete(run *agent.Run) {
	s.t.Helper()
	if _, err := run.Complete(context.Background(), agent.Outcome{Success: true}); err != nil {
		s.t.Fatal(err)
	}
}

// tailing is one tail at work.
type tailing struct {
	name           string
	stdout, stderr output
	status         int
	ended          chan struct{}
}

// tail starts tail in the background.
func (s *stage) tail(args ...string) *tailing {
	x := &tailing{name: strings.Join(args, " "), ended: make(chan struct{})}
	s.tails.Go(func() {
		defer close(x.ended)
		x.status = run(append([]string{"upload-agent", "tail", "--storage", s.server.StorageURL()}, args...), nil, &x.stdout, &x.stderr)
	})
	return x
}

// output is what a command has printed so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// until waits for something.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("there never was: %s", what)
		}
	}
}

func (x *tailing) check(t *testing.T, status int, stdout, stderr string) {
	t.Helper()
	select {
	case <-x.ended:
	case <-time.After(60 * time.Second):
		t.Fatalf("tail %s does not end: %d bytes, %s", x.name, len(x.stdout.String()), x.stderr.String())
	}
	if got := x.stdout.String(); got != stdout {
		t.Errorf("tail %s printed %d bytes, want %d: %.200q", x.name, len(got), len(stdout), got)
	}
	if x.status != status || !strings.Contains(x.stderr.String(), stderr) {
		t.Errorf("tail %s: status %d, stderr %q; want %d, %q", x.name, x.status, x.stderr.String(), status, stderr)
	}
}

// unruly is a log with all that viewers trip over.
func unruly(random *rand.Rand, lines int) string {
	var b strings.Builder
	for i := range lines {
		switch i % 6 {
		case 0:
			fmt.Fprintf(&b, "\x1b[3%dmline %d\x1b[0m\n", i%8, i)
		case 1:
			for percent := range 20 {
				fmt.Fprintf(&b, "%d%%\r", percent*5)
			}
			b.WriteByte('\n')
		case 2:
			b.WriteString("\xff\xc3(\xe4\xbd\x00 broken\r\n")
		case 3:
			fmt.Fprintf(&b, "\x1b]0;title %d\x07\u202egrüße\n", i)
		case 4:
			fmt.Fprintf(&b, "%s\n", strings.Repeat("x", random.IntN(2000)))
		case 5:
			if i%60 == 5 {
				b.WriteString(strings.Repeat("a very long line ", 10_000)) // without an end
			}
		}
	}
	return b.String()
}

// Whoever follows a log sees the same bytes: from before the task is claimed, from the middle, and afterwards. Requests fail
// all the time, connections break, and storages redirect.
func TestTailPrintsTheSameBytesWheneverItStarts(t *testing.T) {
	s := newStage(t, "get=503:0.1,get=reset:0.1,get=redirect:0.2,put=503:0.1,put=lost:0.1,put=reset:0.1")
	random := rand.New(rand.NewPCG(1, 2))
	log := unruly(random, 300)
	half := len(log) / 2

	before := []*tailing{s.tail("-f", s.task), s.tail("-f", s.task+"/0"), s.tail("--follow", "-n", "5", s.task+"/0/terminal.log"), s.tail("-f", "--offset", "1000", s.task)}
	for _, x := range before {
		until(t, "a word that it waits", func() bool { return strings.Contains(x.stderr.String(), "waiting: ") })
	}
	run := s.start()
	out := run.Log(agent.DefaultLog)
	write := func(text string) {
		for len(text) > 0 {
			n := min(len(text), 1+random.IntN(5000))
			if _, err := io.WriteString(out, text[:n]); err != nil {
				t.Fatal(err)
			}
			text = text[n:]
		}
	}
	write(log[:half])
	index := s.server.StorageURL() + "/" + s.task + "/runs/0/artifacts/live/terminal.log/index.json"
	seen := s.tail("-f", s.task)
	until(t, "the first half of the log", func() bool { return len(seen.stdout.String()) == half })
	once := s.tail(s.task)
	once.check(t, 0, log[:half], "")
	during := []*tailing{seen, s.tail("-f", s.task+"/0"), s.tail("-f", index)}
	fromOffset := s.tail("-f", "--offset", fmt.Sprint(half-10), index)
	until(t, "bytes that there were", func() bool { return len(fromOffset.stdout.String()) > 0 })
	write(log[half:])
	s.complete(run)

	for _, x := range append(during, before[:2]...) {
		x.check(t, 0, log, "")
	}
	<-before[2].ended // it began with the last lines of whatever there was when it came
	if got := before[2].stdout.String(); before[2].status != 0 || !strings.HasSuffix(log, got) || strings.Count(got, "\n") < 5 {
		t.Errorf("tail %s printed %d bytes", before[2].name, len(got))
	}
	before[3].check(t, 0, log[1000:], "")
	fromOffset.check(t, 0, log[half-10:], "")

	lines := strings.SplitAfter(log, "\n")
	last := strings.Join(lines[max(0, len(lines)-1-7):], "")
	text := s.server.StorageURL() + "/" + s.task + "/runs/0/artifacts/terminal.log"
	after := map[*tailing]string{}
	for _, target := range []string{s.task, s.task + "/0/terminal.log", index, text} {
		for _, x := range []struct{ args, want string }{
			{"-f", log}, {"", log}, {"-f -n 7", last}, {"-n 7", last}, {"-n 0", ""}, {"-f -n 0", ""},
			{"--offset 12345", log[12345:]}, {"-f --offset 12345", log[12345:]}, {"--offset 1000000000", ""},
		} {
			after[s.tail(append(strings.Fields(x.args), target)...)] = x.want
		}
	}
	for x, want := range after {
		x.check(t, 0, want, "")
	}
}

// A log that is declared later is waited for.
func TestTailWaitsForALogThatIsNotDeclared(t *testing.T) {
	s := newStage(t, "")
	run := s.start()
	other := s.tail("-f", s.task+"/0/other.log")
	until(t, "a word that it waits", func() bool { return strings.Contains(other.stderr.String(), "waiting: ") })
	third := s.tail("-f", s.task+"/0/third.log")
	fmt.Fprintln(run.Log("other.log"), "here I am")
	until(t, "the log", func() bool { return other.stdout.String() == "here I am\n" })
	s.complete(run)
	other.check(t, 0, "here I am\n", "")
	third.check(t, 1, "", "has no log \"third.log\"; it has: ")
	third.check(t, 1, "", "and never will: the task was resolved by run 0")
}

// A run whose worker has died leaves a log that is never complete: who follows it is told, after the last byte.
func TestTailOfADeadWorkerEnds(t *testing.T) {
	for name, die := range map[string]func(s *stage) (queue string){
		"the queue knows": func(s *stage) string {
			return s.server.QueueURL()
		},
		"a newer run": func(s *stage) string {
			run := s.start()
			fmt.Fprintln(run.Log(agent.DefaultLog), "of run 1")
			return ""
		},
		"resolved by another run": func(s *stage) string {
			s.complete(s.start())
			return ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "")
			run := s.start()
			queue := []string{"--queue", s.server.QueueURL()}
			args := []string{"-f", "--give-up-after", "300ms", s.task + "/0"}
			early := s.tail(append(queue, args...)...)
			fmt.Fprint(run.Log(agent.DefaultLog), "one\ntwo")
			until(t, "the log", func() bool { return early.stdout.String() == "one\ntwo" })

			// As long as the worker lives it may say nothing for as long as it likes.
			asked := func() (n int) {
				for _, r := range s.server.Requests() {
					if r.What == "status" {
						n++
					}
				}
				return n
			}
			until(t, "questions whether it lives", func() bool { return asked() > 3 })
			fmt.Fprint(run.Log(agent.DefaultLog), "\nthree\n")
			until(t, "the rest", func() bool { return early.stdout.String() == "one\ntwo\nthree\n" })

			if err := s.server.LoseClaim(schema.TaskID(s.task)); err != nil {
				t.Fatal(err)
			}
			run.Close()
			if url := die(s); url == "" {
				queue = nil
			}
			s.tail(append(queue, args...)...).check(t, 1, "one\ntwo\nthree\n", "the log is unfinished: ")
			early.check(t, 1, "one\ntwo\nthree\n", "the log is unfinished: ")
			if lines := strings.Count(early.stderr.String(), "\n"); lines > 2 {
				t.Errorf("it says %q", early.stderr.String())
			}
			s.tail(append(queue, s.task+"/0")...).check(t, 0, "one\ntwo\nthree\n", "") // what there is
		})
	}
}

// A link to a worker is followed like everything else, and what signs it shows up nowhere.
func TestTailOfALink(t *testing.T) {
	s := newStage(t, "")
	spool, err := livelog.Create(t.TempDir() + "/spool")
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Remove()
	links := livelog.NewLinks(nil)
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(livelog.NewHandler(ctx, spool, "log", links, livelog.HandlerOptions{}))
	defer server.Close()
	defer cancel()
	base, err := url.Parse(server.URL + "/log")
	if err != nil {
		t.Fatal(err)
	}
	link := links.Sign(base, "log", time.Now().Add(time.Hour)).Reveal()

	all := s.tail("-f", link)
	io.WriteString(spool, "one\ntwo\nthree\n")
	until(t, "the log", func() bool { return all.stdout.String() == "one\ntwo\nthree\n" })
	last := s.tail("-f", "-n", "1", link)
	until(t, "its last line", func() bool { return last.stdout.String() == "three\n" })
	s.tail(link).check(t, 0, "one\ntwo\nthree\n", "")
	s.tail("-n", "2", link).check(t, 0, "two\nthree\n", "")
	s.tail("--offset", "5", link).check(t, 0, "wo\nthree\n", "")
	s.tail("--offset", "50", link).check(t, 0, "", "")
	io.WriteString(spool, "four")
	spool.Close()
	all.check(t, 0, "one\ntwo\nthree\nfour", "")
	last.check(t, 0, "three\nfour", "")
	s.tail("-f", "-n", "2", link).check(t, 0, "three\nfour", "")

	expired := links.Sign(base, "log", time.Now().Add(-time.Hour)).Reveal()
	refused := s.tail("-f", expired)
	refused.check(t, 1, "", "the link has expired")
	signed, err := url.Parse(expired)
	if err != nil {
		t.Fatal(err)
	}
	if secret := signed.Query().Get("signature"); strings.Contains(refused.stderr.String(), secret) {
		t.Errorf("%s shows the signature", refused.stderr.String())
	}
}

package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// canaries collects the signatures of all signed URLs that pass by: none of them
// may show up anywhere but in requests.
type canaries struct {
	next http.RoundTripper
	seen *syncBuffer
}

var signature = regexp.MustCompile(`Signature=([0-9A-Za-z%]{16,})`)

func (c canaries) RoundTrip(r *http.Request) (*http.Response, error) {
	if found := signature.FindStringSubmatch(r.URL.RawQuery); found != nil {
		fmt.Fprintln(c.seen, found[1])
	}
	return c.next.RoundTrip(r)
}

func TestSignedURLsShowUpNowhere(t *testing.T) {
	faults := map[string]agenttest.Fault{
		"nothing wrong":     {},
		"refused":           {What: "put", Kind: "403"},
		"unavailable":       {What: "put", Kind: "503", Count: 20},
		"reset":             {What: "put", Kind: "reset", Count: 20},
		"lost":              {What: "any", Kind: "lost", Probability: 0.5},
		"stalled":           {What: "put", Kind: "stall", Count: 3},
		"expired":           {What: "put", Kind: "expired", Count: 1},
		"redirected":        {What: "put", Kind: "redirect"},
		"queue errors":      {What: "artifact-urls", Kind: "500", Count: 5},
		"queue refuses":     {What: "artifact-urls", Kind: "400"},
		"completed refuses": {What: "completed", Kind: "400"},
		"claim lost":        {What: "reclaim", Kind: "404"},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, agenttest.Options{ClaimLength: 3 * time.Second})
			seen := &syncBuffer{}
			transport := canaries{upload.NewTransport(), seen}
			r.options.Uploader = upload.New(upload.Options{
				Transport: transport, Logger: r.options.Logger, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, StallTimeout: 300 * time.Millisecond,
			})
			if fault.What != "" {
				r.inject(fault)
			}
			var shown strings.Builder
			show := func(v any) { fmt.Fprintf(&shown, "%v %+v %#v\n", v, v, v) }

			run := r.start(t.Context())
			for i := range 3 {
				if err := run.AddArtifact(fmt.Sprintf("a/%d", i), upload.Bytes(make([]byte, 100_000)), agent.ArtifactOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if fault.What == "reclaim" {
				<-run.Context().Done()
			}
			io.WriteString(run.Log("terminal.log"), "a line\n")
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			summary, err := run.Complete(ctx, agent.Outcome{Success: true})

			show(summary)
			show(err)
			for ; err != nil; err = errors.Unwrap(err) {
				show(err)
			}
			show(context.Cause(run.Context()))
			leftBehind(t, r.options.StateDir, &shown)
			show(run)
			show(r.claim)
			show(r.options)
			show(upload.Grant{URL: r.claim.LogsPutURL})
			show(asJSON(t, r.claim))
			for _, doc := range []string{"logs.json", "result.json"} {
				shown.Write(r.stored(doc))
			}
			shown.WriteString(r.log.String())

			if strings.Contains(shown.String(), "Signature=") {
				t.Error("something like a signed URL is shown")
			}
			for _, canary := range strings.Fields(seen.String()) {
				if strings.Contains(shown.String(), canary) {
					t.Fatalf("the signature %s is shown", canary)
				}
			}
			if seen.String() == "" && name != "queue refuses" {
				t.Error("no signed URL passed by: the test looks at nothing")
			}
		})
	}
}

// leftBehind adds the text of all files below a folder.
func leftBehind(t *testing.T, dir string, shown *strings.Builder) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path)
		shown.Write(body)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// The errors of the queue's client do not show the URLs of its answers either.
func TestRefusedReclaimShowsNoURL(t *testing.T) {
	r := newRig(t, agenttest.Options{})
	if err := r.server.LoseClaim(r.claim.Task()); err != nil {
		t.Fatal(err)
	}
	_, err := r.queue.Reclaim(r.ctx(), r.claim.Task(), 7, schema.Worker{WorkerGroup: "g", WorkerID: "w"})
	if !errors.Is(err, queue.ErrNotFound) || strings.Contains(fmt.Sprintf("%+v", err), "Signature") {
		t.Errorf("Reclaim = %+v", err)
	}
}

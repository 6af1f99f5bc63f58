package agent_test

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

// What a storage may answer to a PUT, of a whole artifact or of a part, and what becomes of the artifact.
func TestArtifactsFollowRedirects(t *testing.T) {
	six := slices.Repeat([]string{"{path}{query}"}, 6)
	for _, row := range []struct {
		name    string
		status  int
		via     []string
		loop    bool
		missing string // the reason; "": it is stored
	}{
		{"301 makes a GET of it", 301, []string{"{alternate}{path}{query}"}, false, "turns the PUT into a GET"},
		{"302 makes a GET of it", 302, []string{"{alternate}{path}{query}"}, false, "turns the PUT into a GET"},
		{"303 makes a GET of it", 303, []string{"{alternate}{path}{query}"}, false, "turns the PUT into a GET"},
		{"307 to another path", 307, []string{"{path}{query}"}, false, ""},
		{"307 to another port", 307, []string{"{alternate}{path}{query}"}, false, ""},
		{"308 to another host", 308, []string{"{localhost}{path}{query}"}, false, ""},
		{"307 to https", 307, []string{"{https}{path}{query}"}, false, ""},
		{"307 to https and back to http", 307, []string{"{https}{path}{query}", "{alternate}{path}{query}"}, false, "from https to http"},
		{"307 to a URL that is not signed", 307, []string{"{alternate}{path}"}, false, "Access"},
		{"307 to a URL with a user", 307, []string{"http://x:secret@{alternate-host}{path}{query}"}, false, "names a user"},
		{"307 without a Location", 307, []string{""}, false, "redirect"},
		{"307 to ftp", 307, []string{"ftp://{alternate-host}{path}{query}"}, false, "neither http nor https"},
		{"five in a row", 307, six[:5], false, ""},
		{"six in a row", 307, six, false, "in a row"},
		{"round and round", 308, []string{"{alternate}{path}{query}", "{storage}{path}{query}"}, true, "in a row"},
	} {
		for kind, from := range map[string]int64{"whole": 0, "in parts": 1 << 20} {
			t.Run(row.name+", "+kind, func(t *testing.T) {
				r := newRig(t, agenttest.Options{MultipartFrom: from, PartSize: 5 << 20, Redirects: []agenttest.Redirect{
					{Method: http.MethodPut, Path: "artifacts/big", Status: row.status, Via: row.via, Loop: row.loop},
				}})
				r.trust()
				run := r.start(r.ctx())
				big := bytes.Repeat([]byte("0123456789abcdef"), 6<<16)
				if from == 0 {
					big = big[:100_000]
				}
				if err := run.AddArtifact("big", upload.Bytes(big), agent.ArtifactOptions{}); err != nil {
					t.Fatal(err)
				}
				summary, err := run.Complete(r.ctx(), agent.Outcome{Success: true})
				if err != nil {
					t.Fatal(err)
				}
				reason := summary.Missing["big"]
				if row.missing == "" && (reason != "" || !bytes.Equal(r.stored("artifacts/big"), big)) {
					t.Errorf("missing: %q, or other bytes", reason)
				}
				if row.missing != "" && (!strings.Contains(reason, row.missing) || r.stored("artifacts/big") != nil) {
					t.Errorf("missing: %q, want %q, and no object", reason, row.missing)
				}
				r.wantNoSecretOverHops(fmt.Sprint(summary), row.via)
			})
		}
	}
}

// trust has the agent trust the certificate of the storage.
func (r *rig) trust() {
	pool := x509.NewCertPool()
	pool.AddCert(r.server.Certificate())
	transport := upload.NewTransport()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	r.t.Cleanup(transport.CloseIdleConnections)
	r.options.Uploader = upload.New(upload.Options{Logger: r.options.Logger, Transport: transport, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond})
}

// wantNoSecretOverHops looks at every request whole: nothing of a signed URL goes along where a Location does not say so, or shows anywhere.
func (r *rig) wantNoSecretOverHops(shown string, via []string) {
	r.t.Helper()
	shown += r.log.String()
	redirected := 0
	for _, hop := range r.server.Hops() {
		for _, name := range []string{"Referer", "Cookie", "Authorization"} {
			if value := hop.Header.Get(name); value != "" {
				r.t.Errorf("%s %s has the header %s: %s", hop.Method, hop.URI, name, value)
			}
		}
		u, err := url.ParseRequestURI(hop.URI)
		if err != nil {
			r.t.Fatal(err)
		}
		signature := cmp.Or(u.Query().Get("X-Amz-Signature"), u.Query().Get("Signature")) // of version 4, or 2
		if signature != "" && (strings.Contains(shown, signature) || strings.Contains(shown, url.QueryEscape(signature))) {
			r.t.Errorf("a signature shows in\n%s", shown)
		}
		number := 0
		if n, _ := fmt.Sscanf(hop.URI, "/.via/0/%d/", &number); n == 1 {
			redirected++
			if carried := signature != ""; carried != strings.Contains(via[(number-1)%len(via)], "{query}") {
				r.t.Errorf("%s at %s: a signature of nobody's, or none (Location %s)", hop.URI, hop.At, via[(number-1)%len(via)])
			}
		}
	}
	if followed := len(via) > 1; followed && redirected == 0 {
		r.t.Error("no redirect was followed")
	}
	if strings.Contains(shown, "secret@") {
		r.t.Errorf("a user of a URL shows in\n%s", shown)
	}
}

package main

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" { // this test binary is one of the processes that the program starts
		main()
		return
	}
	os.Exit(m.Run())
}

// A run on loopback stores what the profile says, and the bytes are counted.
func TestMeasure(t *testing.T) {
	t.Parallel()
	p := profile{Name: "short", Length: 10 * time.Second, Line: 100, Every: 20 * time.Millisecond, Artifacts: 5, ArtifactBytes: 1000}
	m, err := measure(t.Context(), p, defaultKnobs, 10, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"claim", "completed", "logs.json", "result.json", "artifact"} { // how often it flushes depends on the machine
		if m.Requests[kind] != m.Predicted[kind] {
			t.Errorf("%s: %.0f requests, want %.0f", kind, m.Requests[kind], m.Predicted[kind])
		}
	}
	if got := m.Bytes["artifact"]; got != 5000 {
		t.Errorf("%.0f bytes of artifacts, want 5000", got)
	}
	var bodies float64
	for _, kind := range putKinds {
		bodies += m.Bytes[kind]
	}
	if sent := float64(m.StorageSent); sent < bodies || sent > bodies+2000*(m.Requests.sum(putKinds)+m.Requests.sum(readerKinds)) {
		t.Errorf("%.0f bytes sent to the storage, with bodies of %.0f", sent, bodies)
	}
	if m.Sizes.Index < 100 || m.Sizes.Document < 400 || m.Sizes.Packed <= 0 || m.Sizes.Packed > 1 || m.QueueReceived == 0 {
		t.Errorf("sizes are %+v", m.Sizes)
	}
}

// A large artifact takes as many requests in parts as the report says.
func TestParts(t *testing.T) {
	t.Parallel()
	const part, large = 5 << 20, 6 << 20
	server, err := agenttest.New(t.TempDir(), agenttest.Options{MultipartFrom: part, PartSize: part})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	transport := upload.NewTransport()
	defer transport.CloseIdleConnections()
	m := newMeter(transport)
	p := profile{Name: "large", Length: 10 * time.Millisecond, Line: 100, Every: time.Second, Artifacts: 1, ArtifactBytes: large, AtEnd: true}
	if err := takeRun(t.Context(), server, m, t.TempDir(), p, defaultKnobs, 1); err != nil {
		t.Fatal(err)
	}
	got := m.requests["artifact"] + 1 // which the queue has sent
	for kind, n := range m.requests {
		if strings.HasPrefix(kind, http.MethodPost+" ") {
			got += n
		}
	}
	if want := partRequests(large, part); got != float64(want) {
		t.Errorf("%.0f requests, want %d: %v", got, want, m.requests)
	}
}

// A process with some runs is measured while they are under way.
func TestMeasureCrowd(t *testing.T) {
	t.Parallel()
	c, err := measureCrowd(t.Context(), 3, 200*time.Millisecond, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if c.Runs != 3 || c.Live < 100_000 || c.Goroutines < 6 || c.Connections < 1 {
		t.Errorf("measured %+v", c)
	}
}

// The report of a measurement that is kept. After a change that is meant: go test ./cmd/scale -run Report -update
func TestReport(t *testing.T) {
	dir := t.TempDir()
	var out, errs strings.Builder
	again := filepath.Join(dir, "plan.json")
	if err := scale(t.Context(), []string{"-from", "testdata/measured.json", "-json", again}, &out, &errs); err != nil {
		t.Fatal(err)
	}
	golden := "testdata/report.md"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}

	var r report
	data, err := os.ReadFile(again)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil || len(r.Plans) < 5 || r.Plans[0].Demand.Put < 1000 {
		t.Errorf("-json gives %d plans, %v", len(r.Plans), err)
	}
	var second strings.Builder
	if err := scale(t.Context(), []string{"-from", again}, &second, &errs); err != nil || second.String() != out.String() {
		t.Errorf("the report from its own JSON is another one, %v", err)
	}
}

// The documentation of package agent shows the plans of that report.
func TestDocumentation(t *testing.T) {
	m, err := readMeasurement("testdata/measured.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseFlags(nil, &strings.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	r := report{Measured: m, Crowd: s.crowd, Prices: s.prices}
	if err := r.plan(s.knobs); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../agent/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(string(text)), " ")
	for _, v := range r.Plans {
		d := v.Demand
		row := strings.Join([]string{number(d.Queue), number(d.Put), number(d.Get), number(d.Partitions), number(d.cost())}, " ")
		if !strings.Contains(words, " "+row+" ") && v.Name != "readers at the workers" { // it differs by its GETs alone
			t.Errorf("agent/doc.go has no row %q for %s", row, v.Name)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"now"}, {"-runs", "0"}, {"-mix", "loud=1"}, {"-crowds", "0"}, {"-interval", "0s"}, {"-claim", "1s"}, {"-from", "testdata/none.json"}, {"-from", "testdata/report.md"}} {
		if err := scale(t.Context(), args, &strings.Builder{}, &strings.Builder{}); err == nil {
			t.Errorf("scale %s: no error", strings.Join(args, " "))
		}
	}
	var all []string
	for _, kind := range slices.Concat(queueKinds, putKinds, readerKinds) {
		all = append(all, title(kind))
	}
	if slices.Sort(all); len(slices.Compact(all)) != len(queueKinds)+len(putKinds)+len(readerKinds) {
		t.Errorf("two kinds of requests have one title: %v", all)
	}
}

package agenttest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
)

// recorded is one exchange with a queue of April 2014.
type recorded struct {
	Label, Method, URL string
	ReqHeaders         map[string]string
	ReqBody            *string
	Status             int
	RespHeaders        [][2]string
	RespBody           string
}

// otherwise says where this queue, which is the one of the document, answers another status than the recorded one.
var otherwise = map[string]int{
	"unknown claim None":                           404, // was an error of the server
	"unknown claim 1":                              404,
	"malformed slug status":                        404,
	"unknown rerun":                                400,
	"artifact-urls after completed":                404, // it did not check who owns a run
	"artifact-urls wrong run 9":                    404,
	"artifact-urls while pending":                  404,
	"reclaim with nonexistent run 7, other worker": 404,
	"completed wrong run 7 + wrong worker":         404,
	"artifact-urls no artifacts key":               400, // its own schema wanted them
	"amqp conn string":                             404, // there is no broker here
	"GET resolution of R":                          404, // because of the above
}

// TestRecordedExchanges replays them in order: same status, same members in the answer.
func TestRecordedExchanges(t *testing.T) {
	file, err := os.Open("../../schema/testdata/recorded/queue-http.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := &replay{rig: start(t, agenttest.Options{}), ids: map[string]string{}, puts: map[string]string{}}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	n := 0
	for ; lines.Scan(); n++ {
		var x recorded
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			t.Fatal(err)
		}
		p.exchange(x)
	}
	if lines.Err() != nil || n < 60 {
		t.Errorf("only %d exchanges: %v", n, lines.Err())
	}
}

// replay translates what was recorded into what this server has made up.
type replay struct {
	*rig
	ids  map[string]string // recorded task id -> ours
	puts map[string]string // path of the storage -> signed URL of ours
}

func (p *replay) exchange(x recorded) {
	p.t.Helper()
	a := p.do(p.translate(x))
	want, differs := otherwise[x.Label]
	if !differs {
		want = x.Status
	}
	if a.err != nil || a.status != want {
		p.t.Errorf("%s: got %d %s (%v), want %d", x.Label, a.status, a.body, a.err, want)
		return
	}
	var ours, theirs any
	if differs || json.Unmarshal([]byte(x.RespBody), &theirs) != nil {
		return // HTML, text, nothing
	}
	if err := json.Unmarshal([]byte(a.body), &ours); err != nil {
		p.t.Errorf("%s: %v: %s", x.Label, err, a.body)
		return
	}
	got, wantShape := shape(ours), shape(theirs)
	if strings.Contains(x.URL, "/claim") && strings.Contains(wantShape, "runs state") {
		got = strings.Replace(got, "runs[{runId workerGroup workerId }]", "runs", 1) // its status was the one before the claim
	}
	if x.Status < 400 && got != wantShape {
		p.t.Errorf("%s: got members %s, want %s", x.Label, got, wantShape)
	}
	if x.Status >= 400 {
		got, want := ours.(map[string]any)["message"], theirs.(map[string]any)["message"]
		if strings.Replace(fmt.Sprint(want), "scheuled", "scheduled", 1) != got {
			p.t.Errorf("%s: got message %q, want %q", x.Label, got, want)
		}
	}
	p.learn(ours, theirs)
}

func (p *replay) translate(x recorded) *http.Request {
	p.t.Helper()
	body := ""
	if x.ReqBody != nil {
		body = p.translateBody(x)
	}
	path := p.rename(strings.SplitN(strings.TrimPrefix(x.URL, "http://127.0.0.1:19000"), "?", 2)[0])
	url := strings.TrimSuffix(p.QueueURL(), "/v1") + path
	if object, ok := strings.CutPrefix(path, "/tasks.taskcluster.net"); ok {
		object = strings.Replace(object, "/runs/1/", "/runs/0/", 1)
		url = p.StorageURL() + object
		if x.Method == "PUT" {
			url = p.puts[object]
		}
	}
	r := p.request(x.Method, url, x.ReqHeaders["Content-Type"], body)
	if x.ReqHeaders["Transfer-Encoding"] == "chunked" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), -1
	}
	return r
}

// translateBody counts runs from 0 and moves deadlines, which have passed, to now.
func (p *replay) translateBody(x recorded) string {
	body := p.rename(*x.ReqBody)
	if x.ReqHeaders["Transfer-Encoding"] == "chunked" {
		body = strings.Split(body, "\r\n")[1]
	}
	var doc map[string]any
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber()
	if decoder.Decode(&doc) != nil {
		return body
	}
	if run, ok := doc["runId"].(json.Number); ok {
		n, _ := run.Int64()
		doc["runId"] = n - 1
	}
	if deadline, ok := doc["deadline"].(string); ok && strings.HasSuffix(deadline, "Z") {
		doc["created"] = time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
		doc["deadline"] = time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000Z")
	}
	out, err := json.Marshal(doc)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(out)
}

func (p *replay) rename(s string) string {
	for theirs, ours := range p.ids {
		s = strings.ReplaceAll(s, theirs, ours)
	}
	return s
}

// learn notes the ids and the signed URLs of our answer.
func (p *replay) learn(ours, theirs any) {
	id := func(doc any) string {
		status, _ := doc.(map[string]any)["status"].(map[string]any)
		s, _ := status["taskId"].(string)
		return s
	}
	if id(ours) != "" && id(theirs) != "" {
		p.ids[id(theirs)] = id(ours)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, member := range v {
				walk(member)
			}
		case string:
			if path, ok := strings.CutPrefix(v, p.StorageURL()); ok && strings.Contains(v, "X-Amz-Signature") {
				p.puts[strings.SplitN(path, "?", 2)[0]] = v
			}
		}
	}
	walk(ours)
}

// shape is a document without its values: members in order, and ids as one.
func shape(v any) string {
	var b bytes.Buffer
	switch v := v.(type) {
	case map[string]any:
		b.WriteByte('{')
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if len(name) == 22 {
				b.WriteString("ID")
			} else {
				b.WriteString(name)
			}
			b.WriteString(shape(v[name]) + " ")
		}
		b.WriteByte('}')
	case []any:
		for _, element := range v[:min(1, len(v))] {
			b.WriteString("[" + shape(element) + "]")
		}
	}
	return b.String()
}

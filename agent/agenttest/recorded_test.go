package agenttest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
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

// otherwise2014 says where this queue differs from the recorded one even with its quirks.
var otherwise2014 = map[string]int{
	"artifact-urls no artifacts key": 400, // its own schema wanted them
}

// TestRecordedExchanges replays them in order: same status, same members in the answer. With the quirks of the recorded queue and its signatures
// the answers are the same in every value that is not of that day, and the runs are numbered as they were then.
func TestRecordedExchanges(t *testing.T) {
	t.Run("as documented", func(t *testing.T) {
		replayAll(t, &replay{rig: start(t, agenttest.Options{}), otherwise: otherwise})
	})
	t.Run("quirks of 2014", func(t *testing.T) {
		g := start(t, agenttest.Options{Quirks2014: true, Signature: "v2", AMQP: schema.NewSignedURL("amqp://guest:guest@127.0.0.1:15672")})
		replayAll(t, &replay{rig: g, otherwise: otherwise2014, quirks: true})
	})
}

func replayAll(t *testing.T, p *replay) {
	t.Helper()
	p.ids, p.puts = map[string]string{}, map[string]string{}
	file, err := os.Open("../../schema/testdata/recorded/queue-http.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
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
	otherwise map[string]int
	quirks    bool

	ids  map[string]string // recorded task id -> ours
	puts map[string]string // path of the storage -> signed URL of ours
}

func (p *replay) exchange(x recorded) {
	p.t.Helper()
	a := p.do(p.translate(x))
	want, differs := p.otherwise[x.Label]
	if !differs {
		want = x.Status
	}
	if a.err != nil || a.status != want {
		p.t.Errorf("%s: got %d %s (%v), want %d", x.Label, a.status, a.body, a.err, want)
		return
	}
	var ours, theirs any
	if p.quirks && !differs {
		p.sameType(x, a)
	}
	if differs || json.Unmarshal([]byte(x.RespBody), &theirs) != nil {
		return // HTML, text, nothing
	}
	if err := json.Unmarshal([]byte(a.body), &ours); err != nil {
		p.t.Errorf("%s: %v: %s", x.Label, err, a.body)
		return
	}
	got, wantShape := shape(ours), shape(theirs)
	if !p.quirks && strings.Contains(x.URL, "/claim") && strings.Contains(wantShape, "runs state") {
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
	if p.quirks && x.Status < 400 {
		if diff := cmp.Diff(p.timeless(theirs), p.timeless(ours)); diff != "" {
			p.t.Errorf("%s: -recorded +ours\n%s", x.Label, diff)
		}
	}
}

// sameType compares what kind of body it is, and a text in full.
func (p *replay) sameType(x recorded, a answer) {
	p.t.Helper()
	for _, h := range x.RespHeaders {
		if h[0] == "Content-Type" && a.header.Get(h[0]) != h[1] {
			p.t.Errorf("%s: got %q, want %q", x.Label, a.header.Get(h[0]), h[1])
		}
		if h[0] == "Content-Type" && strings.HasPrefix(h[1], "text/") && a.body != p.rename(x.RespBody) {
			p.t.Errorf("%s: got %q, want %q", x.Label, a.body, x.RespBody)
		}
	}
}

// timeless is a document of theirs as it would be here and now: our ids and hosts, no times and signatures.
func (p *replay) timeless(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, member := range v {
			if len(name) == 22 {
				name = "ID"
			}
			out[name] = p.timeless(member)
		}
		return out
	case []any:
		out := []any{}
		for _, element := range v {
			out = append(out, p.timeless(element))
		}
		return out
	case string:
		v = strings.NewReplacer("http://127.0.0.1:19000/tasks.taskcluster.net", "STORAGE", "http://tasks.taskcluster.net", "STORAGE", p.StorageURL(), "STORAGE").Replace(p.rename(v))
		if at, err := time.Parse(time.RFC3339, v); err == nil {
			return at.Year() > 1970 // the epoch is told from a time
		}
		if u, err := url.Parse(v); err == nil && u.Query().Has("Signature") {
			query := u.Query()
			query.Del("x-grant") // ours alone
			for _, name := range []string{"AWSAccessKeyId", "Expires", "Signature"} {
				query.Set(name, fmt.Sprint(len(query[name])))
			}
			u.RawQuery = query.Encode()
			if strings.HasSuffix(u.Path, "/task.json") {
				u.Path = "STORAGE/ID/task.json"
			}
			return u.String()
		}
		return v
	}
	return v
}

func (p *replay) translate(x recorded) *http.Request {
	p.t.Helper()
	body := ""
	if x.ReqBody != nil {
		body = p.translateBody(x)
	}
	path := p.rename(strings.SplitN(strings.TrimPrefix(x.URL, "http://127.0.0.1:19000"), "?", 2)[0])
	target := strings.TrimSuffix(p.QueueURL(), "/v1") + path
	if object, ok := strings.CutPrefix(path, "/tasks.taskcluster.net"); ok {
		if !p.quirks {
			object = strings.Replace(object, "/runs/1/", "/runs/0/", 1)
		}
		target = p.StorageURL() + object
		if x.Method == "PUT" {
			target = p.puts[object]
		}
	}
	r := p.request(x.Method, target, x.ReqHeaders["Content-Type"], body)
	if x.ReqHeaders["Transfer-Encoding"] == "chunked" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), -1
	}
	return r
}

// translateBody counts runs as this queue does, and moves deadlines, which have passed, to now.
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
	if run, ok := doc["runId"].(json.Number); ok && !p.quirks {
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
			if path, ok := strings.CutPrefix(v, p.StorageURL()); ok && strings.Contains(v, "Signature=") {
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

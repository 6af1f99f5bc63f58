package agenttest_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/agenttest/versitygw"
	"github.com/taskcluster/upload-agent/schema"
)

// newBucket starts a real S3 server with an empty bucket.
func newBucket(t *testing.T) agenttest.Bucket {
	t.Helper()
	s := versitygw.StartFor(t, "bucket")
	return agenttest.Bucket{
		Endpoint: s.Endpoint, Name: "bucket", Prefix: "a prefix/ü+/", Region: s.Region, AccessKeyID: s.AccessKeyID, SecretAccessKey: schema.NewSecret(s.SecretAccessKey),
	}
}

func TestParseBucket(t *testing.T) {
	for raw, want := range map[string]agenttest.Bucket{
		"http://127.0.0.1:9000/bucket":                   {Endpoint: "http://127.0.0.1:9000", Name: "bucket"},
		"http://127.0.0.1:9000/bucket/":                  {Endpoint: "http://127.0.0.1:9000", Name: "bucket"},
		"https://s3.eu-west-1.amazonaws.com/b.c-d/x/ü y": {Endpoint: "https://s3.eu-west-1.amazonaws.com", Name: "b.c-d", Prefix: "x/ü y/"},
		"https://[::1]:9000/bucket/a%20b/":               {Endpoint: "https://[::1]:9000", Name: "bucket", Prefix: "a b/"},
	} {
		got, err := agenttest.ParseBucket(raw)
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b schema.Secret) bool { return a == b })); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", raw, err, diff)
		}
		if again, err := agenttest.ParseBucket(got.URL()); again != got || err != nil {
			t.Errorf("%s becomes %s, which is read as %+v, %v", raw, got.URL(), again, err)
		}
	}
	for raw, want := range map[string]string{
		"":                                      "want a URL such as http://HOST:PORT/BUCKET",
		"bucket":                                "want a URL",
		"http:///bucket":                        "want a URL",
		"http://host/":                          "not the name of a bucket",
		"http://host/Upper/x":                   `"Upper" is not the name of a bucket`,
		"http://host/bucket/a//b":               "prefix of the keys",
		"http://host/bucket/../x":               "prefix of the keys",
		"s3://bucket/x":                         "want http://HOST:PORT/BUCKET",
		"ftp://host/bucket":                     "want a URL",
		"http://user:CANARY@host/bucket":        "user and password do not belong into the URL",
		"http://host/bucket?X-Signature=CANARY": "no query",
		"http://host/bucket#CANARY":             "no fragment",
		"http://host:CANARY/bucket":             "want a URL",
	} {
		if got, err := agenttest.ParseBucket(raw); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %+v, error %v, want %q", raw, got, err, want)
		}
	}
}

// What keeps a bucket from being used is told at once, and without a secret.
func TestBucketThatCannotBeUsed(t *testing.T) {
	good := newBucket(t)
	for want, change := range map[string]func(*agenttest.Bucket){
		"no such bucket":          func(b *agenttest.Bucket) { b.Name = "another" },
		"refuses the credentials": func(b *agenttest.Bucket) { b.SecretAccessKey = schema.NewSecret("CANARY") },
		"connection refused":      func(b *agenttest.Bucket) { b.Endpoint = "http://127.0.0.1:1" },
	} {
		b := good
		change(&b)
		s, err := agenttest.New("", agenttest.Options{Bucket: &b})
		if err == nil {
			s.Close()
			t.Errorf("%s: it was used", want)
			continue
		}
		var e *agenttest.BucketError
		if !errors.As(err, &e) || e.URL != b.URL() || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
		if shown := fmt.Sprintf("%v %+v %#v", err, b, b); strings.Contains(shown, "CANARY") || strings.Contains(shown, good.SecretAccessKey.Reveal()) {
			t.Errorf("a secret is shown: %s", shown)
		}
	}
}

// Faults that would have to hit what goes right to the bucket are refused; the others hit the queue and the readers.
func TestFaultsAndABucket(t *testing.T) {
	bucket := newBucket(t)
	for _, spec := range []string{"put=503", "any=503:0.5,part=reset", "create=503", "complete=late", "abort=lost", "any=expired", "put=rot"} {
		plan, err := agenttest.ParseFaults(spec, 1)
		if err != nil {
			t.Fatal(err)
		}
		s, err := agenttest.New("", agenttest.Options{Bucket: &bucket, Faults: plan})
		if err == nil {
			s.Close()
		}
		if e := (*agenttest.FaultError)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), "right to the bucket") {
			t.Errorf("%s: error is %v", spec, err)
		}
	}
	g := start(t, agenttest.Options{Bucket: &bucket})
	if e := (*agenttest.FaultError)(nil); !errors.As(g.Inject(agenttest.Fault{What: "put", Kind: "503"}), &e) {
		t.Error("a fault that hits nothing was taken")
	}
	path := string(g.claim().TaskID) + "/task.json"
	for kind, want := range map[string]int{"503": 503, "expired": 403, "redirect": 302, "reset": 0, "lost": 0} {
		if err := g.Inject(agenttest.Fault{What: "get", Kind: kind, Count: 1}); err != nil {
			t.Fatal(err)
		}
		if a := g.get(path); a.status != want || (a.err != nil) != (want == 0) {
			t.Errorf("%s: answer %+v", kind, a)
		}
	}
	if a := g.get(path); a.status != 307 {
		t.Errorf("without a fault: answer %+v", a)
	}
}

// follow is what a reader gets, wherever it is.
func (g *rig) follow(method, url string) answer {
	g.t.Helper()
	a := g.send(method, url, "", "")
	if a.status != http.StatusTemporaryRedirect {
		return a
	}
	if control := a.header.Get("Cache-Control"); control != "no-store" {
		g.t.Errorf("a permission may be cached: %q", control)
	}
	return g.send(method, a.header.Get("Location"), "", "")
}

func TestBucket(t *testing.T) {
	bucket := newBucket(t)
	g := start(t, agenttest.Options{Bucket: &bucket})
	claim := g.claim()
	folder := string(claim.TaskID) + "/"

	// All that is stored goes there, with what a grant allows and nothing else.
	if !strings.HasPrefix(claim.LogsPutURL.Reveal(), bucket.URL()+"/"+folder+"runs/0/logs.json?") {
		t.Errorf("logs.json is to be put to %s", claim.LogsPutURL)
	}
	g.want(g.send("PUT", claim.LogsPutURL.Reveal(), "text/html", "{}"), 403)
	grant := g.grant(claim.TaskID, "public/ä b+c%20", "text/x-test")
	g.want(g.send("PUT", grant.ArtifactPutURL.Reveal(), "text/x-test", "bytes"), 200)
	g.want(g.complete(claim), 200)
	if broken := g.Violations(); len(broken) > 0 {
		t.Error(broken)
	}

	// Readers come to the storage's address, and need no credentials; without them the bucket lets nobody in.
	for path, want := range map[string]string{"task.json": `"provisionerId":"simulate"`, "runs/0/logs.json": `"logs":{}`, "runs/0/result.json": `"success":true`, "resolution.json": `"resultUrl":"` + g.StorageURL()} {
		if a := g.follow("GET", g.StorageURL()+"/"+folder+path); a.status != 200 || !strings.Contains(a.body, want) || a.header.Get("Content-Type") != jsonType {
			t.Errorf("%s: %+v", path, a)
		}
		if data, err := g.Object(folder + path); err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s: %s, %v", path, data, err)
		}
		g.want(g.send("GET", bucket.URL()+"/"+folder+path, "", ""), 403)
	}
	if a := g.follow("GET", grant.ArtifactURL); a.body != "bytes" || a.header.Get("Content-Type") != "text/x-test" || !strings.HasPrefix(grant.ArtifactURL, g.StorageURL()) {
		t.Errorf("artifact at %s: %+v", grant.ArtifactURL, a)
	}
	if a := g.follow("HEAD", grant.ArtifactURL); a.status != 200 || a.header.Get("Content-Length") != "5" {
		t.Errorf("head: %+v", a)
	}
	g.want(g.follow("GET", g.StorageURL()+"/"+folder+"runs/1/logs.json"), 404)
	g.wantCode(g.get("elsewhere"), 404, "NoSuchKey")
	g.wantCode(g.send("PUT", grant.ArtifactURL, "text/x-test", "x"), 405, "MethodNotAllowed")
	if g.isStored(folder + "runs/1/logs.json") {
		t.Error("what nobody stored is there")
	}

	// The bucket outlives the queue.
	next := start(t, agenttest.Options{Bucket: &bucket})
	if !next.isStored(folder + "resolution.json") {
		t.Error("another server on the same bucket does not find what is there")
	}
}

// Tasks that are defined first are read from where their definition was put.
func TestDefineTasksInABucket(t *testing.T) {
	bucket := newBucket(t)
	g := start(t, agenttest.Options{Bucket: &bucket})
	posted := g.claim()
	definition, err := g.Object(string(posted.TaskID) + "/task.json")
	if err != nil {
		t.Fatal(err)
	}
	answer := decodeAnswer[schema.DefineTasksAnswer](g, g.send("GET", g.QueueURL()+"/define-tasks", jsonType, `{"tasksRequested":1}`))
	for id, urls := range answer.Tasks {
		g.want(g.post("/task/"+string(id)+"/schedule", "{}"), 400)
		g.want(g.put(urls.TaskPutURL, string(definition)), 200)
		g.want(g.post("/task/"+string(id)+"/schedule", "{}"), 200)
	}
}

// An artifact in parts, by URLs that are signed for each; what is unfinished when the run ends is thrown away.
func TestPartsInABucket(t *testing.T) {
	bucket := newBucket(t)
	g := start(t, agenttest.Options{Bucket: &bucket, MultipartFrom: 1, PartSize: 5 * mib})
	claim := g.claim()
	first, second := strings.Repeat("a", 5*mib), "the rest"
	wanted := fmt.Sprintf(`{"size":%d,"contentEncoding":"x-test","cacheControl":"max-age=60"}`, len(first)+len(second))
	urls := g.inParts(claim, "dir/a", wanted)
	if len(urls.Multipart.PartPutURLs) != 2 {
		t.Fatalf("%+v", urls)
	}
	var etags []string
	for i, body := range []string{first, second} {
		a := g.send("PUT", urls.Multipart.PartPutURLs[i].Reveal(), "", body)
		g.want(a, 200)
		etags = append(etags, a.header.Get("ETag"))
	}
	aborted, left := g.inParts(claim, "b", wanted), g.inParts(claim, "c", wanted)
	g.want(g.send("PUT", left.Multipart.PartPutURLs[0].Reveal(), "", first), 200)
	path := string(claim.TaskID) + "/runs/0/artifacts/"
	want := []agenttest.Upload{
		{ID: urls.Multipart.UploadID, Path: path + "dir/a", Parts: 2}, {ID: aborted.Multipart.UploadID, Path: path + "b"}, {ID: left.Multipart.UploadID, Path: path + "c", Parts: 1},
	}
	if diff := cmp.Diff([]agenttest.Upload{want[1], want[2], want[0]}, g.Uploads()); diff != "" {
		t.Error(diff)
	}
	g.want(g.send("POST", urls.Multipart.CompleteURL.Reveal(), "", list(etags...)), 200)
	g.want(g.send("DELETE", aborted.Multipart.AbortURL.Reveal(), "", ""), 204)
	if diff := cmp.Diff(want[2:], g.Uploads()); diff != "" {
		t.Error(diff)
	}
	a := g.follow("GET", urls.ArtifactURL)
	if a.body != first+second || a.header.Get("Content-Type") != "text/plain" || a.header.Get("Content-Encoding") != "x-test" || a.header.Get("Cache-Control") != "max-age=60" {
		t.Errorf("%d bytes, %v", len(a.body), a.header)
	}
	g.want(g.complete(claim), 200)
	if open := g.Uploads(); len(open) > 0 {
		t.Errorf("the run is over: %+v", open)
	}
	g.want(g.send("PUT", left.Multipart.PartPutURLs[1].Reveal(), "", second), 404)
}

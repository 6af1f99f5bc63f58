package agenttest_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

const mib = 1 << 20

// inParts asks for an artifact in parts.
func (g *rig) inParts(claim schema.Claim, name string, wanted string) schema.ArtifactURLs {
	g.t.Helper()
	answer := decodeAnswer[schema.ArtifactURLsAnswer](g, g.post("/task/"+string(claim.TaskID)+"/artifact-urls",
		`{"runId":0,"workerGroup":"group","workerId":"worker","artifacts":{"`+name+`":{"contentType":"text/plain","multipart":`+wanted+`}}}`))
	return answer.Artifacts[name]
}

// list is the body of a completion.
func list(etags ...string) string {
	var b strings.Builder
	b.WriteString("<CompleteMultipartUpload>")
	for i, etag := range etags {
		fmt.Fprintf(&b, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, etag)
	}
	return b.String() + "</CompleteMultipartUpload>"
}

func etagOf(data string) string {
	sum := md5.Sum([]byte(data))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// A queue that does not know of parts says nothing of them, and refuses who asks for them.
func TestPartsAreOffered(t *testing.T) {
	for from, status := range map[int64]int{0: 400, 1 << 20: 200} {
		g := start(t, agenttest.Options{MultipartFrom: from})
		claim := g.claim()
		path, artifacts := "/task/"+string(claim.TaskID)+"/artifact-urls", `{"runId":0,"workerGroup":"group","workerId":"worker","artifacts":`
		answer := decodeAnswer[schema.ArtifactURLsAnswer](g, g.post(path, artifacts+`{"a":{"contentType":"a/b"}}}`))
		if (answer.Multipart != nil) != (from > 0) || from > 0 && answer.Multipart.From != from || answer.Artifacts["a"].Multipart != nil {
			t.Errorf("from %d: answer %+v", from, answer)
		}
		g.want(g.post(path, artifacts+`{"a":{"contentType":"a/b","multipart":{"size":9}}}}`), status)
	}
	g := start(t, agenttest.Options{MultipartFrom: 10 * mib, PartURLs: 3})
	claim := g.claim()
	if urls := g.inParts(claim, "small", fmt.Sprintf(`{"size":%d}`, 10*mib-1)); urls.Multipart != nil {
		t.Errorf("a small artifact in parts: %+v", urls.Multipart)
	}
	huge := g.inParts(claim, "huge", fmt.Sprintf(`{"size":%d}`, 5<<40)).Multipart
	if huge == nil || huge.PartSize*schema.MaxParts < 5<<40 || len(huge.PartPutURLs) != 3 || huge.FirstPart != 1 {
		t.Fatalf("5 TiB: %+v", huge)
	}
	more := g.inParts(claim, "huge", fmt.Sprintf(`{"size":%d,"uploadId":%q,"firstPart":9999}`, 5<<40, huge.UploadID)).Multipart
	if more.UploadID != huge.UploadID || more.FirstPart != 9999 || len(more.PartPutURLs) != 2 || more.PartSize != huge.PartSize {
		t.Errorf("the last parts: %+v", more)
	}
}

// One upload in parts, and everything that S3 says to one that is done wrong.
func TestParts(t *testing.T) {
	g := start(t, agenttest.Options{MultipartFrom: 1, PartSize: 5 * mib})
	claim := g.claim()
	first, second := strings.Repeat("a", 5*mib), "the rest"
	urls := g.inParts(claim, "dir/a", fmt.Sprintf(`{"size":%d,"contentEncoding":"x-test"}`, 5*mib+len(second)))
	m := urls.Multipart
	put := func(part int, body string) answer { return g.send("PUT", m.PartPutURLs[part-1].Reveal(), "", body) }
	complete := func(body string) answer { return g.send("POST", m.CompleteURL.Reveal(), "", body) }

	g.wantCode(complete(list(etagOf(first))), 400, "InvalidPart")
	a := put(1, first)
	g.want(a, 200)
	if a.header.Get("ETag") != etagOf(first) || a.header.Get("X-Amz-Checksum-Crc64nvme") == "" {
		t.Errorf("headers of a part: %v", a.header)
	}
	g.want(put(2, "too small"), 200)
	if r := g.last(); r.What != "part" || r.Part != 2 || !r.Stored || r.ETag == "" {
		t.Errorf("history: %+v", r)
	}
	g.want(put(2, second), 200)
	if open := g.Uploads(); len(open) != 1 || open[0].Parts != 2 || open[0].ID != m.UploadID || !strings.HasSuffix(open[0].Path, "dir/a") {
		t.Errorf("uploads: %+v", open)
	}
	one, two := etagOf(first), etagOf(second)
	g.wantCode(complete(""), 400, "MalformedXML")
	g.wantCode(complete(list()), 400, "MalformedXML")
	g.wantCode(complete(list(one, one)), 400, "InvalidPart")
	g.wantCode(complete(list(two, one)), 400, "InvalidPart")
	g.wantCode(complete(strings.Replace(list(one, two), "<PartNumber>1<", "<PartNumber>3<", 1)), 400, "InvalidPartOrder")
	g.wantCode(complete(strings.Replace(list(one, two), "<PartNumber>1<", "<PartNumber>2<", 1)), 400, "InvalidPartOrder")
	g.wantCode(g.send("PUT", m.PartPutURLs[0].Reveal(), "text/plain", "x"), 403, "SignatureDoesNotMatch")
	g.wantCode(g.send("PUT", strings.Replace(m.PartPutURLs[0].Reveal(), "partNumber=1", "partNumber=3", 1), "", "x"), 403, "SignatureDoesNotMatch")
	g.wantCode(g.send("DELETE", m.CompleteURL.Reveal(), "", ""), 403, "SignatureDoesNotMatch")
	if g.isStored(string(claim.TaskID) + "/runs/0/artifacts/dir/a") {
		t.Fatal("stored before its completion")
	}
	for range 2 { // the second time it is answered alike
		a := complete(list(one, two))
		g.want(a, 200)
		sums := md5.New()
		for _, part := range []string{first, second} {
			sum := md5.Sum([]byte(part))
			sums.Write(sum[:])
		}
		if want := fmt.Sprintf("&#34;%x-2&#34;", sums.Sum(nil)); !strings.Contains(a.body, want) || !strings.Contains(a.body, "<ChecksumType>FULL_OBJECT<") {
			t.Errorf("answer %s, want ETag %s", a.body, want)
		}
	}
	whole := g.send("GET", urls.ArtifactURL, "", "")
	if whole.body != first+second || whole.header.Get("Content-Type") != "text/plain" || whole.header.Get("Content-Encoding") != "x-test" {
		t.Errorf("read %d bytes, %v", len(whole.body), whole.header)
	}
	g.wantCode(put(1, "x"), 404, "NoSuchUpload")
	g.wantCode(g.send("DELETE", m.AbortURL.Reveal(), "", ""), 404, "NoSuchUpload")
	if open := g.Uploads(); len(open) != 0 {
		t.Errorf("uploads: %+v", open)
	}
}

func TestPartsTooSmall(t *testing.T) {
	g := start(t, agenttest.Options{MultipartFrom: 1})
	claim := g.claim()
	m := g.inParts(claim, "a", fmt.Sprintf(`{"size":%d}`, 65*mib)).Multipart
	g.want(g.send("PUT", m.PartPutURLs[0].Reveal(), "", "x"), 200)
	g.want(g.send("PUT", m.PartPutURLs[1].Reveal(), "", "y"), 200)
	g.wantCode(g.send("POST", m.CompleteURL.Reveal(), "", list(etagOf("x"), etagOf("y"))), 400, "EntityTooSmall")
	g.want(g.send("DELETE", m.AbortURL.Reveal(), "", ""), 204)
	g.wantCode(g.send("POST", m.CompleteURL.Reveal(), "", list(etagOf("x"))), 404, "NoSuchUpload")
	if open := g.Uploads(); len(open) != 0 {
		t.Errorf("uploads: %+v", open)
	}
}

// What a run leaves unfinished ends with the run.
func TestPartsEndWithTheRun(t *testing.T) {
	for name, end := range map[string]func(g *rig, claim schema.Claim){
		"completed": func(g *rig, claim schema.Claim) { g.want(g.complete(claim), 200) },
		"lost": func(g *rig, claim schema.Claim) {
			if err := g.LoseClaim(claim.TaskID); err != nil {
				g.t.Fatal(err)
			}
		},
	} {
		g := start(t, agenttest.Options{MultipartFrom: 1})
		claim := g.claim()
		m := g.inParts(claim, "a", `{"size":9}`).Multipart
		g.want(g.send("PUT", m.PartPutURLs[0].Reveal(), "", "x"), 200)
		end(g, claim)
		if open := g.Uploads(); len(open) != 0 {
			t.Errorf("%s: uploads %+v", name, open)
		}
		g.wantCode(g.send("PUT", m.PartPutURLs[0].Reveal(), "", "x"), 404, "NoSuchUpload")
	}
}

func TestPartURLsExpire(t *testing.T) {
	now := time.Now()
	g := start(t, agenttest.Options{MultipartFrom: 1, ArtifactURLLife: time.Minute, Clock: func() time.Time { return now }})
	m := g.inParts(g.claim(), "a", `{"size":9}`).Multipart
	g.want(g.send("PUT", m.PartPutURLs[0].Reveal(), "", "x"), 200)
	now = now.Add(time.Minute)
	for method, u := range map[string]schema.SignedURL{"PUT": m.PartPutURLs[0], "POST": m.CompleteURL, "DELETE": m.AbortURL} {
		g.wantCode(g.send(method, u.Reveal(), "", "x"), 403, "AccessDenied")
	}
}

func TestFaultLate(t *testing.T) {
	g := start(t, agenttest.Options{MultipartFrom: 1})
	claim := g.claim()
	urls := g.inParts(claim, "a", `{"size":9}`)
	m := urls.Multipart
	g.want(g.send("PUT", m.PartPutURLs[0].Reveal(), "", "x"), 200)
	if err := g.Inject(agenttest.Fault{What: "complete", Kind: "late", Count: 1}); err != nil {
		t.Fatal(err)
	}
	a := g.send("POST", m.CompleteURL.Reveal(), "", list(etagOf("x")))
	g.want(a, 200)
	if !strings.Contains(a.body, "<Code>InternalError</Code>") || g.last().Stored {
		t.Errorf("answer %s, history %+v", a.body, g.last())
	}
	g.want(g.send("POST", m.CompleteURL.Reveal(), "", list(etagOf("x"))), 200)
	g.want(g.send("GET", urls.ArtifactURL, "", ""), 200)
}

// A fault may hit one part only.
func TestFaultOfOnePart(t *testing.T) {
	g := start(t, agenttest.Options{MultipartFrom: 1, PartSize: 5 * mib})
	m := g.inParts(g.claim(), "a", fmt.Sprintf(`{"size":%d}`, 15*mib)).Multipart
	if err := g.Inject(agenttest.Fault{What: "part", Kind: "503", Part: 2}); err != nil {
		t.Fatal(err)
	}
	for i, status := range []int{200, 503, 200} {
		g.want(g.send("PUT", m.PartPutURLs[i].Reveal(), "", "x"), status)
	}
}

// What the credentials of a bucket do not allow. What they allow, the client's own tests show.
func TestBucketRefuses(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	access := g.BucketAccess(claim.TaskID, 0, time.Minute)
	if u, err := url.Parse(access.Endpoint); err != nil || u.Host == "" || access.Bucket != string(claim.TaskID) || access.Prefix != "runs/0/artifacts/" {
		t.Errorf("access: %+v", access)
	}
	r := g.request("PUT", access.Endpoint+"/"+access.Bucket+"/"+access.Prefix+"a", "", "x")
	r.Header.Set("Authorization", "junk")
	g.wantCode(g.do(r), 400, "AuthorizationHeaderMalformed")
	r = g.request("PUT", access.Endpoint+"/"+access.Bucket+"/"+access.Prefix+"a", "", "x")
	r.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
	r.Header.Set("X-Amz-Security-Token", access.SessionToken)
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+access.AccessKeyID+"/20260101/us-west-2/s3/aws4_request, SignedHeaders=host, Signature="+strings.Repeat("0", 64))
	g.wantCode(g.do(r), 403, "SignatureDoesNotMatch")
}

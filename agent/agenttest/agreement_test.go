package agenttest_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// What the storage of this package answers and what a real S3 server answers is the same, but for what is written down here.
// The URLs are those that the queue gives for each.
func TestEmbeddedAndRealStorageAgree(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { testAgreement(t, agenttest.Options{}) })
	t.Run("versitygw", func(t *testing.T) {
		bucket := newBucket(t)
		testAgreement(t, agenttest.Options{Bucket: &bucket})
	})
}

// subject is what the requests of the agreement are about.
type subject struct {
	*rig
	claim schema.Claim
	put   schema.ArtifactURLs // of "object", as text/plain
	parts schema.ArtifactURLs // of "large"
	first string              // part; the second one is "rest"
	short schema.SignedURL    // of "short", as text/plain, for a second
}

func (s *subject) putWith(change func(*http.Request)) answer {
	return s.with("PUT", s.put.ArtifactPutURL, "text/plain", "body", change)
}

func (s *subject) with(method string, u schema.SignedURL, contentType, body string, change func(*http.Request)) answer {
	r := s.request(method, u.Reveal(), contentType, body)
	change(r)
	return s.do(r)
}

func (s *subject) part(number int, body string) answer {
	return s.send("PUT", s.parts.Multipart.PartPutURLs[number-1].Reveal(), "", body)
}

func (s *subject) finish(body string) answer {
	return s.send("POST", s.parts.Multipart.CompleteURL.Reveal(), "", body)
}

// read is what a reader of the object gets, wherever he is led.
func (s *subject) read(method, name string, header ...string) answer {
	url := strings.TrimSuffix(s.put.ArtifactURL, "object") + name
	if a := s.send(method, url, "", ""); a.status == http.StatusTemporaryRedirect {
		url = a.header.Get("Location")
	}
	r := s.request(method, url, "", "")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return s.do(r)
}

// forged is a URL that was tampered with.
func forged(u schema.SignedURL, old, new string) schema.SignedURL {
	return schema.NewSignedURL(strings.Replace(u.Reveal(), old, new, 1))
}

var errorCode = regexp.MustCompile(`<Code>(\w+)</Code>`)

// agreement are requests, one after the other, and their answers: the status and the code of an error.
var agreement = []struct {
	name string
	do   func(s *subject) answer
	want string
	real string // versitygw's answer, if it is another one
}{
	{"put", func(s *subject) answer { return s.putWith(func(*http.Request) {}) }, "200", ""},
	{"put again", func(s *subject) answer { return s.putWith(func(*http.Request) {}) }, "200", ""},
	{"wrong type", func(s *subject) answer {
		return s.putWith(func(r *http.Request) { r.Header.Set("Content-Type", "text/plain; charset=utf-8") })
	}, "403 SignatureDoesNotMatch", ""},
	{"no type", func(s *subject) answer {
		return s.putWith(func(r *http.Request) { r.Header.Del("Content-Type") })
	}, "403 SignatureDoesNotMatch", ""},
	{"encoding, not signed", func(s *subject) answer {
		return s.putWith(func(r *http.Request) { r.Header.Set("Content-Encoding", "x-test") })
	}, "200", ""},
	{"x-amz header, not signed", func(s *subject) answer {
		return s.putWith(func(r *http.Request) { r.Header.Set("X-Amz-Meta-A", "b") })
	}, "403 AccessDenied", ""},
	{"MD5", func(s *subject) answer {
		return s.putWith(func(r *http.Request) { r.Header.Set("Content-MD5", "hBotaJrYa9FhFEdFPCLG/A==") })
	}, "200", ""},
	{"MD5 of other bytes", func(s *subject) answer {
		return s.putWith(func(r *http.Request) { r.Header.Set("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==") })
	}, "400 BadDigest", ""},
	{"MD5 that is none", func(s *subject) answer {
		return s.putWith(func(r *http.Request) { r.Header.Set("Content-MD5", "x") })
	}, "400 InvalidDigest", ""},
	{"no length", func(s *subject) answer {
		return s.putWith(func(r *http.Request) { r.ContentLength = -1 })
	}, "411 MissingContentLength", ""},
	{"another object", func(s *subject) answer {
		return s.send("PUT", forged(s.put.ArtifactPutURL, "object", "other").Reveal(), "text/plain", "x")
	}, "403 SignatureDoesNotMatch", ""},
	{"longer life", func(s *subject) answer {
		return s.send("PUT", forged(s.put.ArtifactPutURL, "X-Amz-Expires=", "X-Amz-Expires=1").Reveal(), "text/plain", "x")
	}, "403 SignatureDoesNotMatch", ""},
	{"another method", func(s *subject) answer {
		return s.send("POST", s.parts.Multipart.PartPutURLs[0].Reveal(), "", list(`"x"`))
	}, "403 SignatureDoesNotMatch", ""},
	{"no signature", func(s *subject) answer {
		u, _, _ := strings.Cut(s.put.ArtifactPutURL.Reveal(), "?")
		return s.send("PUT", u, "text/plain", "x")
	}, "403 AccessDenied", ""},
	{"nothing of these is stored", func(s *subject) answer { return s.read("GET", "other") }, "404 NoSuchKey", ""},

	{"get", func(s *subject) answer { return s.read("GET", "object") }, "200", ""},
	{"head", func(s *subject) answer { return s.read("HEAD", "object") }, "200", ""},
	{"head of nothing", func(s *subject) answer { return s.read("HEAD", "other") }, "404", ""},
	{"range", func(s *subject) answer { return s.read("GET", "object", "Range", "bytes=1-2") }, "206", ""},
	{"range beyond the end", func(s *subject) answer { return s.read("GET", "object", "Range", "bytes=10-") }, "416", "416 InvalidRange"},
	{"as it was", func(s *subject) answer { return s.read("GET", "object", "If-None-Match", etagOf("body")) }, "304", ""},
	{"not as it was", func(s *subject) answer { return s.read("GET", "object", "If-Match", etagOf("x")) }, "412", "412 PreconditionFailed"},

	{"no parts", func(s *subject) answer { return s.finish(list()) }, "400 MalformedXML", ""},
	{"part that is not there", func(s *subject) answer { return s.finish(list(etagOf("x"))) }, "400 InvalidPart", ""},
	{"first part", func(s *subject) answer { return s.part(1, s.first) }, "200", ""},
	{"second part", func(s *subject) answer { return s.part(2, "rest") }, "200", ""},
	{"second part again", func(s *subject) answer { return s.part(2, "rest") }, "200", ""},
	{"part of another upload", func(s *subject) answer {
		id := s.parts.Multipart.UploadID
		return s.send("PUT", forged(s.parts.Multipart.PartPutURLs[0], id, strings.Repeat("0", len(id))).Reveal(), "", "x")
	}, "403 SignatureDoesNotMatch", ""},
	{"ETag of another part", func(s *subject) answer { return s.finish(list(etagOf(s.first), etagOf("x"))) }, "400 InvalidPart", ""},
	{"parts out of order", func(s *subject) answer {
		return s.finish("<CompleteMultipartUpload><Part><PartNumber>2</PartNumber><ETag>" + etagOf("rest") + "</ETag></Part><Part><PartNumber>1</PartNumber><ETag>" +
			etagOf(s.first) + "</ETag></Part></CompleteMultipartUpload>")
	}, "400 InvalidPartOrder", "400 EntityTooSmall"}, // it looks at the sizes first
	{"complete", func(s *subject) answer { return s.finish(list(etagOf(s.first), etagOf("rest"))) }, "200", ""},
	{"complete again", func(s *subject) answer { return s.finish(list(etagOf(s.first), etagOf("rest"))) }, "200", ""},
	{"part after the completion", func(s *subject) answer { return s.part(2, "rest") }, "404 NoSuchUpload", ""},
	{"get it", func(s *subject) answer { return s.read("GET", "large") }, "200", ""},

	{"small part", func(s *subject) answer { s.renewParts(); return s.part(1, "x") }, "200", ""},
	{"and another", func(s *subject) answer { return s.part(2, "rest") }, "200", ""},
	{"complete with a small part", func(s *subject) answer { return s.finish(list(etagOf("x"), etagOf("rest"))) }, "400 EntityTooSmall", ""},
	{"abort", func(s *subject) answer { return s.send("DELETE", s.parts.Multipart.AbortURL.Reveal(), "", "") }, "204", ""},
	{"abort again", func(s *subject) answer { return s.send("DELETE", s.parts.Multipart.AbortURL.Reveal(), "", "") }, "404 NoSuchUpload", ""},
	{"part after the abort", func(s *subject) answer { return s.part(1, "x") }, "404 NoSuchUpload", ""},
	{"complete after the abort", func(s *subject) answer { return s.finish(list(etagOf("x"))) }, "404 NoSuchUpload", "200"}, // the object is there: it takes that for the completion repeated, whatever the parts

	{"expired", (*subject).expired, "403 AccessDenied", ""},
}

// renewParts begins another upload of the object in parts.
func (s *subject) renewParts() {
	s.parts = s.inParts(s.claim, "large", fmt.Sprintf(`{"size":%d}`, len(s.first)+4))
}

// expired puts until that is not allowed any more.
func (s *subject) expired() answer {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 600 { // half a minute
		if a := s.send("PUT", s.short.Reveal(), "text/plain", "body"); a.status != 200 {
			return a
		}
		<-tick.C
	}
	return answer{}
}

func testAgreement(t *testing.T, o agenttest.Options) {
	o.MultipartFrom, o.PartSize = 1, 5*mib
	g := start(t, o)
	s := &subject{rig: g, claim: g.claim(), first: strings.Repeat("a", 5*mib)}
	o.ArtifactURLLife = time.Second
	hasty := start(t, o)
	s.short = hasty.grant(hasty.claim().TaskID, "short", "text/plain").ArtifactPutURL
	s.put = g.grant(s.claim.TaskID, "object", "text/plain")
	s.renewParts()
	for _, c := range agreement {
		a := c.do(s)
		got := fmt.Sprint(a.status)
		if code := errorCode.FindStringSubmatch(a.body); code != nil {
			got += " " + code[1]
		}
		want := c.want
		if o.Bucket != nil && c.real != "" {
			want = c.real
		}
		if got != want || a.err != nil {
			t.Errorf("%s: got %s, %v; want %s", c.name, got, a.err, want)
		}
	}
}

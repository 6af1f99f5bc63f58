package agenttest_test

import (
	"crypto/md5"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
)

// Every change to a signed PUT is refused, with the status and code of S3, and stores nothing.
func TestSignatures(t *testing.T) {
	sum := func(s string) string {
		b := md5.Sum([]byte(s))
		return base64.StdEncoding.EncodeToString(b[:])
	}
	const body = "{}"
	setQuery := func(name, value string) func(*http.Request) {
		return func(r *http.Request) {
			q := r.URL.Query()
			q.Set(name, value)
			r.URL.RawQuery = q.Encode()
		}
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		status int
		code   string
	}{
		{"untouched", func(*http.Request) {}, 200, ""},
		{"content encoding added", header("Content-Encoding", "gzip"), 200, ""},
		{"right Content-MD5", header("Content-MD5", sum(body)), 200, ""},
		{"wrong Content-MD5", header("Content-MD5", sum("else")), 400, "BadDigest"},
		{"malformed Content-MD5", header("Content-MD5", "x"), 400, "InvalidDigest"},
		{"path", func(r *http.Request) { r.URL.Path = strings.Replace(r.URL.Path, "logs.json", "result.json", 1) }, 403, "SignatureDoesNotMatch"},
		{"another task", func(r *http.Request) { r.URL.Path = "/AAAAAAAAAAAAAAAAAAAAAA/task.json" }, 403, "SignatureDoesNotMatch"},
		{"query added", setQuery("x", "y"), 403, "SignatureDoesNotMatch"},
		{"life longer", setQuery("X-Amz-Expires", "86400"), 403, "SignatureDoesNotMatch"},
		{"date moved", setQuery("X-Amz-Date", time.Now().Add(time.Minute).UTC().Format("20060102T150405Z")), 403, "SignatureDoesNotMatch"},
		{"signature", setQuery("X-Amz-Signature", strings.Repeat("0", 64)), 403, "SignatureDoesNotMatch"},
		{"signed headers", setQuery("X-Amz-SignedHeaders", "host"), 403, "SignatureDoesNotMatch"},
		{"credential", setQuery("X-Amz-Credential", "OTHER/20260101/us-west-2/s3/aws4_request"), 403, "SignatureDoesNotMatch"},
		{"content type", header("Content-Type", "text/plain"), 403, "SignatureDoesNotMatch"},
		{"content type with charset", header("Content-Type", "application/json; charset=utf-8"), 403, "SignatureDoesNotMatch"},
		{"content type in capitals", header("Content-Type", "Application/JSON"), 403, "SignatureDoesNotMatch"},
		{"no content type", func(r *http.Request) { r.Header.Del("Content-Type") }, 403, "SignatureDoesNotMatch"},
		{"host", func(r *http.Request) { r.Host = "example.com" }, 403, "SignatureDoesNotMatch"},
		{"no signature", func(r *http.Request) { r.URL.RawQuery = "" }, 403, "AccessDenied"},
		{"no date", setQuery("X-Amz-Date", ""), 400, "AuthorizationQueryParametersError"},
		{"long ago", setQuery("X-Amz-Date", "20140401T000000Z"), 403, "AccessDenied"},
		{"unsigned header", header("X-Amz-Acl", "public-read"), 403, "AccessDenied"},
		{"chunked", func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), -1 }, 411, "MissingContentLength"},
		{"too large", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), 5<<30+1
			r.Header.Set("Expect", "100-continue")
		}, 400, "EntityTooLarge"},
		{"other method", func(r *http.Request) { r.Method = http.MethodDelete }, 405, "MethodNotAllowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := start(t, agenttest.Options{})
			claim := g.claim()
			r := g.request("PUT", claim.LogsPutURL.Reveal(), jsonType, body)
			c.change(r)
			a := g.do(r)
			if c.code == "" {
				g.want(a, c.status)
			} else {
				g.wantCode(a, c.status, c.code)
			}
			stored := g.isStored(string(claim.TaskID) + "/runs/0/logs.json")
			if stored != (c.status == 200) || g.last().Stored != stored {
				t.Errorf("stored is %v, in the history %v", stored, g.last().Stored)
			}
			if c.name == "unsigned header" && !strings.Contains(a.body, "<HeadersNotSigned>x-amz-acl</HeadersNotSigned>") {
				t.Error(a.body)
			}
			if c.name == "long ago" && !(strings.Contains(a.body, "Request has expired") && strings.Contains(a.body, "<ServerTime>2") && strings.Contains(a.body, "<Expires>2014-04-01T00:20:00Z")) {
				t.Error(a.body)
			}
		})
	}
}

// The path of a request may be escaped in another way than it was signed, as on S3.
func TestSignatureOfEscapedPath(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	u := strings.Replace(claim.LogsPutURL.Reveal(), "logs.json", "%6cogs.json", 1)
	g.want(g.send("PUT", u, jsonType, "{}"), 200)
}

func TestURLWithoutContentTypeWantsNone(t *testing.T) {
	g := start(t, agenttest.Options{})
	claim := g.claim()
	grant := g.grant(claim.TaskID, "x", "")
	g.wantCode(g.send("PUT", grant.ArtifactPutURL.Reveal(), "text/plain", "x"), 403, "SignatureDoesNotMatch")
	g.want(g.send("PUT", grant.ArtifactPutURL.Reveal(), "", "x"), 200)
	if a := g.send("GET", grant.ArtifactURL, "", ""); a.header.Get("Content-Type") != "binary/octet-stream" {
		t.Errorf("got %s", a.header.Get("Content-Type"))
	}
}

func TestURLsOfAnotherServerAreNotValid(t *testing.T) {
	a, b := start(t, agenttest.Options{}), start(t, agenttest.Options{})
	u := strings.Replace(a.claim().LogsPutURL.Reveal(), a.StorageURL(), b.StorageURL(), 1)
	b.wantCode(b.put(schema.NewSignedURL(u), "{}"), 403, "SignatureDoesNotMatch")
}

// The URLs of a claim end with takenUntil, to the second; those of artifacts after their own life.
func TestURLsEndWithTheClaim(t *testing.T) {
	end := func(u schema.SignedURL) time.Time {
		parsed, err := url.Parse(u.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		date, err := time.Parse("20060102T150405Z", parsed.Query().Get("X-Amz-Date"))
		if err != nil {
			t.Fatal(err)
		}
		seconds, err := strconv.Atoi(parsed.Query().Get("X-Amz-Expires"))
		if err != nil {
			t.Fatal(err)
		}
		return date.Add(time.Duration(seconds) * time.Second)
	}
	g := start(t, agenttest.Options{ClaimLength: 90 * time.Second, ArtifactURLLife: time.Hour})
	claim := g.claim()
	for _, u := range []schema.SignedURL{claim.LogsPutURL, claim.ResultPutURL} {
		if got := claim.Status.TakenUntil.Sub(end(u)); got < 0 || got >= time.Second {
			t.Errorf("the URL ends %v before takenUntil", got)
		}
	}
	if left := time.Until(end(g.grant(claim.TaskID, "x", "a/b").ArtifactPutURL)); left < 59*time.Minute || left > time.Hour {
		t.Errorf("the artifact's URL is good for another %v", left)
	}
}

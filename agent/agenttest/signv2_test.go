package agenttest_test

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

// What breaks a signature of version 2, and what does not, with the status and code of S3.
func TestSignaturesOfVersion2(t *testing.T) {
	const body = "{}"
	sum := md5.Sum([]byte(body))
	query := func(change func(url.Values)) func(*http.Request) {
		return func(r *http.Request) {
			q := r.URL.Query()
			change(q)
			r.URL.RawQuery = q.Encode()
		}
	}
	set := func(name, value string) func(*http.Request) { return query(func(q url.Values) { q.Set(name, value) }) }
	remove := func(name string) func(*http.Request) { return query(func(q url.Values) { q.Del(name) }) }
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
		{"cache control added", header("Cache-Control", "no-store"), 200, ""},
		{"right Content-MD5", header("Content-MD5", base64.StdEncoding.EncodeToString(sum[:])), 403, "SignatureDoesNotMatch"},
		{"x-amz-acl", header("X-Amz-Acl", "public-read"), 403, "SignatureDoesNotMatch"},
		{"x-amz-checksum", header("X-Amz-Checksum-Crc64nvme", "AAAAAAAAAAA="), 403, "SignatureDoesNotMatch"},
		{"x-amz-content-sha256", header("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), 403, "SignatureDoesNotMatch"},
		{"content type", header("Content-Type", "text/plain"), 403, "SignatureDoesNotMatch"},
		{"content type with charset", header("Content-Type", "application/json; charset=utf-8"), 403, "SignatureDoesNotMatch"},
		{"content type in capitals", header("Content-Type", "Application/JSON"), 403, "SignatureDoesNotMatch"},
		{"no content type", func(r *http.Request) { r.Header.Del("Content-Type") }, 403, "SignatureDoesNotMatch"},
		{"path", func(r *http.Request) { r.URL.Path = strings.Replace(r.URL.Path, "logs.json", "result.json", 1) }, 403, "SignatureDoesNotMatch"},
		{"path escaped otherwise", func(r *http.Request) { r.URL.RawPath = strings.Replace(r.URL.Path, "logs.json", "%6cogs.json", 1) }, 403, "SignatureDoesNotMatch"},
		{"another host", func(r *http.Request) { r.Host = "example.com" }, 200, ""},
		{"query added", set("x", "y"), 200, ""},
		{"content type of the query", remove("Content-Type"), 200, ""},
		{"what is asked of the object", set("acl", ""), 403, "SignatureDoesNotMatch"},
		{"a part of it", query(func(q url.Values) { q.Set("uploadId", "x"); q.Set("partNumber", "1") }), 403, "SignatureDoesNotMatch"},
		{"life longer", set("Expires", fmt.Sprint(time.Now().Add(24*time.Hour).Unix())), 403, "SignatureDoesNotMatch"},
		{"expired", set("Expires", "1396310400"), 403, "AccessDenied"},
		{"expires is no number", set("Expires", "tomorrow"), 403, "AccessDenied"},
		{"no expiry", remove("Expires"), 403, "AccessDenied"},
		{"another key", set("AWSAccessKeyId", "AKIAIOSFODNN7EXAMPLE"), 403, "InvalidAccessKeyId"},
		{"signature", set("Signature", "NpgCjnDzrM+WFzoENXmpNDUsSn8="), 403, "SignatureDoesNotMatch"},
		{"no signature", func(r *http.Request) { r.URL.RawQuery = "" }, 403, "AccessDenied"},
		{"chunked", func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), -1 }, 411, "MissingContentLength"},
		{"other method", func(r *http.Request) { r.Method = http.MethodPost }, 405, "MethodNotAllowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := start(t, agenttest.Options{Signature: "v2"})
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
			if c.name == "expired" && !(strings.Contains(a.body, "Request has expired") && strings.Contains(a.body, "<ServerTime>2") && strings.Contains(a.body, "<Expires>2014-04-01T00:00:00Z")) {
				t.Error(a.body)
			}
		})
	}
}

func TestURLOfVersion2WithoutContentTypeWantsNone(t *testing.T) {
	g := start(t, agenttest.Options{Signature: "v2"})
	grant := g.grant(g.claim().TaskID, "a name", "")
	g.wantCode(g.send("PUT", grant.ArtifactPutURL.Reveal(), "text/plain", "x"), 403, "SignatureDoesNotMatch")
	g.want(g.send("PUT", grant.ArtifactPutURL.Reveal(), "", "x"), 200)
}

// The URLs of a claim end with takenUntil, to the second, and a client can read that from both kinds of them.
func TestExpiryOfBothSignatures(t *testing.T) {
	for _, version := range []string{"v2", "v4"} {
		t.Run(version, func(t *testing.T) {
			g := start(t, agenttest.Options{Signature: version, ClaimLength: 90 * time.Second})
			claim := g.claim()
			end, ok := upload.Expiry(claim.ResultPutURL)
			if early := claim.Status.TakenUntil.Sub(end); !ok || early < 0 || early >= time.Second {
				t.Errorf("read %v from the URL, %v; takenUntil is %v", end, ok, claim.Status.TakenUntil)
			}
		})
	}
}

// A redirected PUT is as good where it leads.
func TestRedirectedPutOfVersion2(t *testing.T) {
	g := start(t, agenttest.Options{Signature: "v2"})
	claim := g.claim()
	if err := g.Inject(agenttest.Fault{What: "put", Kind: "redirect", Count: 1}); err != nil {
		t.Fatal(err)
	}
	a := g.put(claim.LogsPutURL, "{}")
	g.want(a, 307)
	g.want(g.send("PUT", a.header.Get("Location"), jsonType, "{}"), 200)
}

func TestUnknownSignature(t *testing.T) {
	if srv, err := agenttest.New(t.TempDir(), agenttest.Options{Signature: "v3"}); err == nil {
		srv.Close()
		t.Error("it started")
	}
}

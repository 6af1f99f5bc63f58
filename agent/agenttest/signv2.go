package agenttest

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// presignV2 is presign with AWS Signature Version 2, as the first queue did it: the same members of the query in the same order, the content
// type among them although it is only the header that counts. Expires are whole seconds, rounded as presign does.
func (s *signer) presignV2(method, host, key string, query url.Values, contentType string, now, expires time.Time) schema.SignedURL {
	end := expires.Unix()
	if expires.Sub(now) < 2*time.Second {
		end++
	}
	all := url.Values{
		"AWSAccessKeyId": {s.credentials.AccessKeyID}, "Expires": {strconv.FormatInt(end, 10)},
		"x-grant": {strconv.FormatUint(s.grants.Add(1), 10)}, // see presign; this version does not sign it
	}
	maps.Copy(all, query)
	header := http.Header{}
	if contentType != "" {
		header.Set("Content-Type", contentType)
		all.Set("Content-Type", contentType)
	}
	path := "/" + escapePath(key)
	all.Set("Signature", signatureV2(s.credentials.SecretAccessKey, stringToSignV2(method, path, all, header, all.Get("Expires"))))
	return schema.NewSignedURL("http://" + host + path + "?" + all.Encode())
}

// verifyV2 is verify for a URL signed with version 2.
func (s *signer) verifyV2(r *http.Request, now time.Time) *s3Error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || !query.Has("Signature") {
		return &s3Error{status: http.StatusForbidden, Code: "AccessDenied", Message: "Access Denied"}
	}
	if !query.Has("Expires") || !query.Has("AWSAccessKeyId") {
		return &s3Error{status: http.StatusForbidden, Code: "AccessDenied",
			Message: "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"}
	}
	seconds, err := strconv.ParseInt(query.Get("Expires"), 10, 64)
	if err != nil {
		return &s3Error{status: http.StatusForbidden, Code: "AccessDenied", Message: "Invalid date (should be seconds since epoch): " + query.Get("Expires")}
	}
	if end := time.Unix(seconds, 0); !now.Before(end) {
		return expiredError(0, end, now) // 0: not said in an answer of this version
	}
	if query.Get("AWSAccessKeyId") != s.credentials.AccessKeyID {
		return &s3Error{status: http.StatusForbidden, Code: "InvalidAccessKeyId", Message: "The AWS Access Key Id you provided does not exist in our records."}
	}
	want := signatureV2(s.credentials.SecretAccessKey, stringToSignV2(r.Method, r.URL.EscapedPath(), query, r.Header, query.Get("Expires")))
	if !hmac.Equal([]byte(want), []byte(query.Get("Signature"))) {
		return errSignature()
	}
	return nil
}

// subResourcesV2 are the members of a query that version 2 signs; any other may be added or changed.
var subResourcesV2 = []string{
	"acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy", "requestPayment",
	"response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language",
	"response-content-type", "response-expires", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
}

// stringToSignV2 is what version 2 signs of a request: see "Signing and authenticating REST requests" of the Amazon S3 documentation. The path is
// the one that is sent, escaped as it was, with the bucket at its beginning; date is the header Date or, in a signed URL, Expires.
// Every header that begins with x-amz- is part of it, and so is Content-MD5: a client that adds one breaks the signature.
func stringToSignV2(method, path string, query url.Values, h http.Header, date string) string {
	var b strings.Builder
	for _, line := range []string{method, h.Get("Content-MD5"), strings.Join(h.Values("Content-Type"), ","), date} {
		b.WriteString(line + "\n")
	}
	amz := map[string]string{}
	for name, values := range h {
		if name := strings.ToLower(name); strings.HasPrefix(name, "x-amz-") {
			amz[name] = strings.Join(values, ",")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(amz)) {
		b.WriteString(name + ":" + amz[name] + "\n")
	}
	b.WriteString(path)
	separator := "?"
	for _, name := range subResourcesV2 {
		if !query.Has(name) {
			continue
		}
		b.WriteString(separator + name)
		if value := query.Get(name); value != "" {
			b.WriteString("=" + value)
		}
		separator = "&"
	}
	return b.String()
}

func signatureV2(secret, text string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(text)) // never fails
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

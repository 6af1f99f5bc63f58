package agenttest

import (
	"net/http"
	"net/url"
	"testing"
)

// The examples of "Signing and authenticating REST requests", in the documentation of Amazon S3. All but the last are signed in their headers,
// where the header Date stands for Expires.
func TestSignatureVersion2Examples(t *testing.T) {
	const secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	for _, c := range []struct {
		name, method, path, query, date string
		header                          map[string]string
		want                            string
	}{
		{"object GET", "GET", "/johnsmith/photos/puppy.jpg", "", "Tue, 27 Mar 2007 19:36:42 +0000", nil, "bWq2s1WEIj+Ydj0vQ697zp+IXMU="},
		{"object PUT", "PUT", "/johnsmith/photos/puppy.jpg", "", "Tue, 27 Mar 2007 21:15:45 +0000",
			map[string]string{"Content-Type": "image/jpeg", "Content-Length": "94328"}, "MyyxeRY7whkBe+bq8fHCL/2kKUg="},
		{"list", "GET", "/johnsmith/", "prefix=photos&max-keys=50&marker=puppy", "Tue, 27 Mar 2007 19:42:41 +0000", nil, "htDYFYduRNen8P9ZfE/s9SuKy0U="},
		{"fetch", "GET", "/johnsmith/", "acl", "Tue, 27 Mar 2007 19:44:46 +0000", nil, "c2WLPFtWHVgbEmeEG93a4cG37dM="},
		{"upload", "PUT", "/static.johnsmith.net/db-backup.dat.gz", "", "Tue, 27 Mar 2007 21:06:08 +0000", map[string]string{
			"x-amz-acl": "public-read", "content-type": "application/x-download", "Content-MD5": "4gJE4saaMU4BqNR0kLY+lw==",
			"X-Amz-Meta-ReviewedBy": "joe@johnsmith.net,jane@johnsmith.net", "X-Amz-Meta-FileChecksum": "0x02661779",
			"X-Amz-Meta-ChecksumAlgorithm": "crc32", "Content-Disposition": "attachment; filename=database.dat", "Content-Encoding": "gzip", "Content-Length": "5913339",
		}, "ilyl83RwaSoYIEdixDQcA4OnAnc="},
		{"list all my buckets", "GET", "/", "", "Wed, 28 Mar 2007 01:29:59 +0000", nil, "qGdzdERIC03wnaRNKh6OqZehG9s="},
		{"Unicode keys", "GET", "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re", "", "Wed, 28 Mar 2007 01:49:49 +0000", nil, "DNEZGsoieTZ92F3bUfSPQcbGmlM="},
		{"query string", "GET", "/johnsmith/photos/puppy.jpg", "AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620", "1175139620", nil, "NpgCjnDzrM+WFzoENXmpNDUsSn8="},
	} {
		t.Run(c.name, func(t *testing.T) {
			query, err := url.ParseQuery(c.query)
			if err != nil {
				t.Fatal(err)
			}
			header := http.Header{}
			for name, value := range c.header {
				header.Set(name, value)
			}
			if got := signatureV2(secret, stringToSignV2(c.method, c.path, query, header, c.date)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

package upload_test

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/encoding/httpbinding"

	"github.com/taskcluster/upload-agent/agent/agenttest/versitygw"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// The suite against a real S3 server that nobody here wrote. It is built only where it is asked for: it takes some minutes.
func TestVersitygw(t *testing.T) {
	t.Parallel()
	required := os.Getenv("UPLOAD_AGENT_REQUIRE_REAL") == "1"
	_, ok := versitygw.Find()
	if !ok && !required && !strings.Contains(flag.Lookup("test.run").Value.String(), "Versitygw") {
		t.Skip("NOT TESTED against a real S3 server: there is none yet. To build versitygw and test: go test ./upload -run TestVersitygw")
	}
	path, err := versitygw.Install(t.Context())
	if err != nil && !required {
		t.Skipf("NOT TESTED against a real S3 server: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	server, err := versitygw.Start(within(t), path, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	s := &bucket{Server: server, dir: filepath.Join(dir, "buckets")}
	s.client = s3.New(s3.Options{
		Region: server.Region, BaseEndpoint: aws.String(server.Endpoint), UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return s.credentials(), nil }),
	})
	if _, err := s.client.CreateBucket(within(t), &s3.CreateBucketInput{Bucket: aws.String(bucketName)}); err != nil {
		t.Fatal(err)
	}
	testStorage(t, s, kinds...)
}

const bucketName = "bucket"

// bucket is one of a real server.
type bucket struct {
	*versitygw.Server
	dir    string
	client *s3.Client
}

func (s *bucket) credentials() aws.Credentials {
	return aws.Credentials{AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey}
}

// sign signs a URL.
func (s *bucket) sign(ctx context.Context, method, key string, query url.Values, contentType string, life time.Duration) (schema.SignedURL, error) {
	if life == 0 {
		life = 10 * time.Minute
	}
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return schema.SignedURL{}, err
	}
	u.Path = "/" + bucketName + "/" + key
	u.RawPath = httpbinding.EscapePath(u.Path, false)
	if query == nil {
		query = url.Values{}
	}
	query.Set("X-Amz-Expires", strconv.Itoa(int(life.Seconds())))
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return schema.SignedURL{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	signed, _, err := signer.PresignHTTP(ctx, s.credentials(), req, "UNSIGNED-PAYLOAD", "s3", s.Region, time.Now())
	return schema.NewSignedURL(signed), err
}

func (s *bucket) Grant(ctx context.Context, w wanted) (upload.Grant, error) {
	put, err := s.sign(ctx, http.MethodPut, w.name, nil, w.contentType, w.life)
	if err != nil {
		return upload.Grant{}, err
	}
	read, err := s.sign(ctx, http.MethodGet, w.name, nil, "", 0)
	g := upload.Grant{URL: put, ContentType: w.contentType, ReadURL: read.Reveal()}
	switch w.kind {
	case "multipart":
		g.Multipart, err = s.multipart(ctx, w)
	case "bucket":
		g.URL = schema.SignedURL{}
		g.Bucket = &upload.Bucket{
			Endpoint: s.Endpoint, Region: s.Region, Bucket: bucketName, Name: w.name, PartSize: partOfSuite,
			Credentials: upload.Credentials{AccessKeyID: s.AccessKeyID, SecretAccessKey: upload.NewSecret(s.SecretAccessKey)},
		}
	}
	return g, err
}

// multipart starts an upload, and signs the URLs of its parts.
func (s *bucket) multipart(ctx context.Context, w wanted) (*upload.Multipart, error) {
	in := &s3.CreateMultipartUploadInput{Bucket: aws.String(bucketName), Key: aws.String(w.name), ContentType: aws.String(w.contentType)}
	h := w.headers
	for to, value := range map[**string]string{&in.ContentEncoding: h.ContentEncoding, &in.CacheControl: h.CacheControl, &in.ContentDisposition: h.ContentDisposition} {
		if value != "" {
			*to = aws.String(value)
		}
	}
	created, err := s.client.CreateMultipartUpload(ctx, in)
	if err != nil {
		return nil, err
	}
	m := upload.Multipart{
		UploadID: *created.UploadId, PartSize: partOfSuite, FirstPart: 1,
		ContentEncoding: h.ContentEncoding, CacheControl: h.CacheControl, ContentDisposition: h.ContentDisposition,
	}
	sign := func(method string, more ...string) schema.SignedURL {
		query := url.Values{"uploadId": {m.UploadID}}
		if len(more) > 0 {
			query.Set("partNumber", more[0])
		}
		u, signErr := s.sign(ctx, method, w.name, query, "", w.life)
		err = errors.Join(err, signErr)
		return u
	}
	for part := 1; int64(part-1)*partOfSuite < w.size; part++ {
		m.Parts = append(m.Parts, sign(http.MethodPut, strconv.Itoa(part)))
	}
	m.Complete, m.Abort = sign(http.MethodPost), sign(http.MethodDelete)
	return &m, err
}

func (s *bucket) Get(name string) ([]byte, http.Header, error) {
	u, err := s.sign(context.Background(), http.MethodGet, name, nil, "", 0)
	if err != nil {
		return nil, nil, err
	}
	return download(u.Reveal())
}

func (s *bucket) Parts(name string) (n int, err error) {
	ctx := context.Background()
	listed, err := s.client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: aws.String(bucketName)})
	if err != nil {
		return 0, err
	}
	for _, left := range listed.Uploads {
		if *left.Key != name {
			continue
		}
		parts, err := s.client.ListParts(ctx, &s3.ListPartsInput{Bucket: aws.String(bucketName), Key: left.Key, UploadId: left.UploadId})
		if err != nil {
			return 0, err
		}
		n += len(parts.Parts)
	}
	return n, nil
}

// Temporary is false: it would take another service to make credentials that expire.
func (s *bucket) Temporary() bool { return false }

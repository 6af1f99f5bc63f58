package agenttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// bucketStorage keeps objects in a bucket of a real S3 server. What workers store goes there without passing by here.
type bucketStorage struct {
	Bucket
	client    *s3.Client
	presigner *s3.PresignClient
	transport *http.Transport
	ctx       context.Context // ends with close
	cancel    context.CancelFunc

	mu      sync.Mutex
	uploads map[string]string // keys of the uploads in parts that were created here and not seen to end, by id
}

// bucketPatience is how long the server has for a request of the queue's own, attempts and all.
const bucketPatience = 30 * time.Second

// openBucket connects to a bucket, and looks whether it is there.
func openBucket(b Bucket) (*bucketStorage, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	s := &bucketStorage{Bucket: b, transport: transport, uploads: map[string]string{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.client = s3.New(s3.Options{
		BaseEndpoint: aws.String(b.Endpoint), Region: b.region(), UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return b.credentials(), nil }),
		HTTPClient:  &http.Client{Transport: transport},
		// A worker knows no checksum of what it has not read yet, and headers of its own break a signature.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
	s.presigner = s3.NewPresignClient(s.client)
	ctx, cancel := s.request()
	defer cancel()
	once := func(o *s3.Options) { o.RetryMaxAttempts = 1 } // somebody is waiting to hear what is wrong
	if _, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.Name}, once); err != nil {
		return nil, errors.Join(s.explain(err), s.close())
	}
	return s, nil
}

func (b Bucket) credentials() aws.Credentials {
	return aws.Credentials{AccessKeyID: b.AccessKeyID, SecretAccessKey: b.SecretAccessKey.Reveal(), SessionToken: b.SessionToken.Reveal()}
}

// explain says what a server may mean that does not show a bucket.
func (s *bucketStorage) explain(err error) error {
	why := err
	if answer := (*awshttp.ResponseError)(nil); errors.As(err, &answer) {
		switch answer.HTTPStatusCode() {
		case http.StatusNotFound:
			why = errors.New("the server has no such bucket")
		case http.StatusForbidden:
			why = errors.New("the server refuses the credentials, or they do not allow to list the bucket")
		case http.StatusMovedPermanently, http.StatusTemporaryRedirect:
			why = fmt.Errorf("the bucket is not in the region %s", s.region())
		}
	}
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		why = failed.Err
	}
	return &BucketError{URL: s.URL(), Err: why}
}

func (s *bucketStorage) close() error {
	s.cancel()
	s.transport.CloseIdleConnections()
	return nil
}

// request is the context of one.
func (s *bucketStorage) request() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, bucketPatience)
}

// name is the key of an object in the bucket.
func (s *bucketStorage) name(key string) *string { return aws.String(s.Prefix + key) }

func (s *bucketStorage) write(key string, data []byte, contentType string) error {
	if !validKey(key) {
		return fmt.Errorf("store %q: not the name of an object", key)
	}
	ctx, cancel := s.request()
	defer cancel()
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.Name, Key: s.name(key), Body: bytes.NewReader(data), ContentType: &contentType,
	})
	if err != nil {
		return fmt.Errorf("store %s in bucket %s: %w", key, s.URL(), err)
	}
	return nil
}

func (s *bucketStorage) read(key string) ([]byte, error) {
	ctx, cancel := s.request()
	defer cancel()
	object, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.Name, Key: s.name(key)})
	if none := (*types.NoSuchKey)(nil); errors.As(err, &none) || !validKey(key) {
		return nil, fmt.Errorf("open object %s: %w", key, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s from bucket %s: %w", key, s.URL(), err)
	}
	data, err := io.ReadAll(object.Body)
	return data, errors.Join(err, object.Body.Close())
}

func (s *bucketStorage) list(path string) (map[string]string, error) {
	found := map[string]string{}
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.Name, Prefix: s.name(path)})
	for pages.HasMorePages() {
		ctx, cancel := s.request()
		page, err := pages.NextPage(ctx)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("list %s in bucket %s: %w", path, s.URL(), err)
		}
		for _, object := range page.Contents {
			found[strings.TrimPrefix(aws.ToString(object.Key), s.Prefix)] = aws.ToString(object.ETag)
		}
	}
	return found, nil
}

func (s *bucketStorage) createUpload(m meta) (string, error) {
	ctx, cancel := s.request()
	defer cancel()
	created, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &s.Name, Key: s.name(m.Key), ContentType: header(m.ContentType), ContentEncoding: header(m.ContentEncoding),
		CacheControl: header(m.CacheControl), ContentDisposition: header(m.Disposition),
	})
	if err != nil {
		return "", fmt.Errorf("start the upload in parts of %s: %w", m.Key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploads[*created.UploadId] = m.Key
	return *created.UploadId, nil
}

// header is a header of a request; nil if there is none.
func header(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}

// abortBelow aborts also what was completed meanwhile, which does nothing.
func (s *bucketStorage) abortBelow(folder string) error {
	var failed error
	for id, key := range s.begun(folder) {
		ctx, cancel := s.request()
		_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.Name, Key: s.name(key), UploadId: &id})
		cancel()
		if err != nil && !notThere(err) {
			failed = errors.Join(failed, fmt.Errorf("abort the upload in parts of %s: %w", key, err))
			continue
		}
		s.forget(id)
	}
	return failed
}

// openUploads asks the server about each: it alone knows which were completed or aborted by those who hold the URLs.
func (s *bucketStorage) openUploads() []Upload {
	var all []Upload
	for id, key := range s.begun("") {
		parts, err := s.parts(key, id)
		if notThere(err) {
			s.forget(id)
			continue
		}
		all = append(all, Upload{ID: id, Path: key, Parts: parts})
	}
	slices.SortFunc(all, Upload.compare)
	return all
}

func (s *bucketStorage) parts(key, id string) (n int, err error) {
	pages := s3.NewListPartsPaginator(s.client, &s3.ListPartsInput{Bucket: &s.Name, Key: s.name(key), UploadId: &id})
	for pages.HasMorePages() {
		ctx, cancel := s.request()
		page, err := pages.NextPage(ctx)
		cancel()
		if err != nil {
			return n, err
		}
		n += len(page.Parts)
	}
	return n, nil
}

// begun are the uploads of a folder, by id.
func (s *bucketStorage) begun(folder string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]string{}
	for id, key := range s.uploads {
		if strings.HasPrefix(key, folder) {
			found[id] = key
		}
	}
	return found
}

func (s *bucketStorage) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, id)
}

// notThere tells that the server has no such thing.
func notThere(err error) bool {
	answer := (*awshttp.ResponseError)(nil)
	return errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusNotFound
}

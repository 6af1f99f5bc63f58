package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
)

// The SDK's client finds the address, builds and signs the requests for a bucket. Sending them is ours, so that they are
// tried again, watched and hashed by the same rules as those to signed URLs: the client gets as far as handing its request over.

// request builds that of a step.
func (w *bucketParts) request(ctx context.Context, s step, g Grant, o PutOptions, c *content) (*http.Request, error) {
	client, taken := s3Client(*g.Bucket)
	bucket, key, id := aws.String(g.Bucket.Bucket), aws.String(g.Bucket.Prefix+g.Bucket.Name), aws.String(s.id)
	contentType, encoding := given(g.ContentType), given(o.ContentEncoding)
	cache, disposition := given(o.CacheControl), given(o.ContentDisposition)
	body := io.NewSectionReader(c, 0, c.size)
	var err error
	switch s.what {
	case stepPut:
		_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: body, ContentType: contentType, ContentEncoding: encoding, CacheControl: cache, ContentDisposition: disposition})
	case stepCreate:
		_, err = client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key, ContentType: contentType, ContentEncoding: encoding, CacheControl: cache, ContentDisposition: disposition})
	case stepPart:
		_, err = client.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: id, PartNumber: aws.Int32(int32(s.part)), Body: body})
	case stepComplete:
		_, err = client.CompleteMultipartUpload(ctx, w.completion(g, s.id))
	case stepAbort:
		_, err = client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: bucket, Key: key, UploadId: id})
	case stepHead:
		_, err = client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key})
	case stepGet:
		_, err = client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
	}
	if taken.request == nil {
		return nil, fmt.Errorf("build request for %s: %w", s, newScrubber("").error(err))
	}
	req := taken.request.Clone(ctx)
	req.Proto, req.ProtoMajor, req.ProtoMinor = "HTTP/1.1", 1, 1 // without it, net/http does not wait for "100 Continue"
	return req, nil
}

// completion is what names the parts.
func (w *bucketParts) completion(g Grant, id string) *s3.CompleteMultipartUploadInput {
	var list []types.CompletedPart
	for _, p := range w.parts {
		list = append(list, types.CompletedPart{ETag: aws.String(p.etag), PartNumber: aws.Int32(int32(p.number))})
	}
	return &s3.CompleteMultipartUploadInput{
		Bucket: aws.String(g.Bucket.Bucket), Key: aws.String(g.Bucket.Prefix + g.Bucket.Name), UploadId: aws.String(id),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: list},
	}
}

// list is the body as the client writes it: it signs its length.
func (w *bucketParts) list(ctx context.Context, id string, parts []storedPart) ([]byte, error) {
	w.parts = parts
	g, err := w.grant(ctx, step{})
	if err != nil {
		return nil, err
	}
	client, taken := s3Client(*g.Bucket)
	taken.keep = true
	if _, err = client.CompleteMultipartUpload(ctx, w.completion(g, id)); len(taken.body) == 0 {
		return nil, fmt.Errorf("build request to complete: %w", newScrubber("").error(err))
	}
	return taken.body, nil
}

// given is a text that is left out if there is none.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func s3Client(b Bucket) (*s3.Client, *taken) {
	t := new(taken)
	region := b.Region
	if region == "" {
		region = "us-east-1"
	}
	return s3.New(s3.Options{
		Region:       region,
		BaseEndpoint: given(b.Endpoint),
		UsePathStyle: b.Endpoint != "",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			c := b.Credentials
			return aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey.Reveal(), SessionToken: c.SessionToken.Reveal()}, nil
		}),
		HTTPClient:                 t,
		Retryer:                    aws.NopRetryer{},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		// Over plain HTTP it would read every part once more for a SHA-256, at a tenth of the speed of the CRC.
		APIOptions: []func(*middleware.Stack) error{v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware},
	}), t
}

// taken is an HTTP client that only takes the request.
type taken struct {
	request *http.Request
	keep    bool // its body too, which is closed afterwards
	body    []byte
}

var errTaken = errors.New("the request is sent otherwise")

func (t *taken) Do(req *http.Request) (*http.Response, error) {
	t.request = req
	if t.keep && req.Body != nil {
		t.body, _ = io.ReadAll(req.Body) // from memory
	}
	return nil, errTaken
}

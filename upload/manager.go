package upload

// The manager is deprecated in favour of one that does not resolve yet. Nothing of it is seen outside this file.

import (
	"context"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// drive has the SDK's manager cut the source into parts, send some at once, and put them together.
//
// Its habits: it does not try again (our steps do); it goes on with the other parts when one has failed (ours end
// then), reports the last error instead of the first (so we keep ours), and aborts with the context that may just have ended (so we abort by
// ourselves). A source that can be read at offsets is not buffered; the buffers that it has for Windows are turned off.
func (u *parts) drive() error {
	//lint:ignore SA1019 see above
	m := manager.NewUploader(steps{u}, func(m *manager.Uploader) {
		m.PartSize = u.size
		m.Concurrency = u.client.options.PartsAtOnce
		m.MaxUploadParts = maxParts
		m.LeavePartsOnError = true
		m.BufferProvider = nil
		m.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	})
	none := aws.String("none") // each step knows where it goes
	//lint:ignore SA1019 see above
	_, err := m.Upload(u.ctx, &s3.PutObjectInput{Bucket: none, Key: none, Body: io.NewSectionReader(u.content, 0, u.content.size)})
	return err
}

// steps is what the manager calls: its manager.UploadAPIClient.
type steps struct{ u *parts }

// PutObject is called for a source that is no larger than a part.
func (s steps) PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	if e := s.u.one(); e != nil {
		return nil, e
	}
	return &s3.PutObjectOutput{}, nil
}

// CreateMultipartUpload starts an upload, unless whoever signed the URLs has.
func (s steps) CreateMultipartUpload(context.Context, *s3.CreateMultipartUploadInput, ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	if e := s.u.create(); e != nil {
		return nil, e
	}
	return &s3.CreateMultipartUploadOutput{UploadId: aws.String(s.u.upload())}, nil
}

// UploadPart stores a part.
func (s steps) UploadPart(_ context.Context, in *s3.UploadPartInput, _ ...func(*s3.Options)) (*s3.UploadPartOutput, error) {
	_, offset, size := in.Body.(*io.SectionReader).Outer() // what it makes of an io.SectionReader
	p, e := s.u.part(int(aws.ToInt32(in.PartNumber)), offset, size)
	if e != nil {
		return nil, e
	}
	return &s3.UploadPartOutput{ETag: aws.String(p.etag)}, nil
}

// CompleteMultipartUpload makes the parts the object.
func (s steps) CompleteMultipartUpload(context.Context, *s3.CompleteMultipartUploadInput, ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	if e := s.u.complete(); e != nil {
		return nil, e
	}
	return &s3.CompleteMultipartUploadOutput{}, nil
}

// AbortMultipartUpload is not called: see LeavePartsOnError.
func (s steps) AbortMultipartUpload(context.Context, *s3.AbortMultipartUploadInput, ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error) {
	s.u.abort()
	return &s3.AbortMultipartUploadOutput{}, nil
}

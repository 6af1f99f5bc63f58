package main

//lint:file-ignore SA1019 the manager is deprecated, and what people use

import (
	"context"
	"net/http"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// uploadThroughManager uses the SDK's manager as it comes.
func uploadThroughManager(ctx context.Context, j job) error {
	return uploadManaged(ctx, j, func(*s3.Options) {}, func(*manager.Uploader) {})
}

// uploadThroughTunedManager gives it large parts, and spares it the SHA-256 of what it sends.
func uploadThroughTunedManager(ctx context.Context, j job) error {
	return uploadManaged(ctx, j, func(o *s3.Options) {
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}, func(u *manager.Uploader) {
		u.PartSize, u.Concurrency = 64<<20, 4
		u.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	})
}

func uploadManaged(ctx context.Context, j job, client func(*s3.Options), uploader func(*manager.Uploader)) error {
	c := s3.New(s3.Options{
		BaseEndpoint: aws.String(j.Sink.url(j.Workload.TLS)), Region: "us-east-1", UsePathStyle: true,
		HTTPClient: &http.Client{Transport: tunedTransport(j)},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, nil
		}),
	}, client)
	u := manager.NewUploader(c, uploader)
	return each(ctx, j, func(ctx context.Context, i int) error {
		file, err := os.Open(j.path(i))
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = u.Upload(ctx, &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(filepath.Base(j.path(i))), Body: file})
		return err
	})
}

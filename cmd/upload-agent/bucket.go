package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// bucketFlag names the bucket in which the embedded storage keeps its objects.
func bucketFlag() cli.Flag {
	return &cli.StringFlag{Name: "s3", Usage: "keep tasks and artifacts in a bucket of a real S3 server, at `URL`: http://HOST:PORT/BUCKET, or https://s3.REGION.amazonaws.com/BUCKET/PREFIX; the bucket has to exist and may be private. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION are taken from the environment", Sources: env("s3")}
}

// bucketVariables are the credentials of a bucket, of which the command that is run gets none.
var bucketVariables = []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}

// bucketOf is what --s3 says, with the credentials of the environment; nil: nothing.
func bucketOf(cmd *cli.Command) (*agenttest.Bucket, error) {
	raw := cmd.String("s3")
	if raw == "" {
		return nil, nil
	}
	bucket, err := agenttest.ParseBucket(raw)
	if err != nil {
		return nil, usageError(fmt.Errorf("--s3: %w", err)) // which does not show it
	}
	if cmd.String("dir") != "" {
		return nil, usageError(errors.New("--dir: with --s3 nothing is kept in a folder"))
	}
	bucket.Region = cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
	bucket.AccessKeyID = os.Getenv("AWS_ACCESS_KEY_ID")
	bucket.SecretAccessKey = schema.NewSecret(os.Getenv("AWS_SECRET_ACCESS_KEY"))
	bucket.SessionToken = schema.NewSecret(os.Getenv("AWS_SESSION_TOKEN"))
	if bucket.AccessKeyID == "" || bucket.SecretAccessKey.Reveal() == "" {
		return nil, usageError(errors.New("--s3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY have to be in the environment"))
	}
	return &bucket, nil
}

// bucketSecrets are what a log must not show of the credentials.
func bucketSecrets(bucket *agenttest.Bucket) (secrets []string) {
	if bucket == nil {
		return nil
	}
	for _, secret := range []string{bucket.SecretAccessKey.Reveal(), bucket.SessionToken.Reveal()} {
		if len(secret) >= livelog.MinSecret {
			secrets = append(secrets, secret)
		}
	}
	return secrets
}

// withoutBucket is an environment without the credentials.
func withoutBucket(environ []string) (kept []string) {
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !slices.Contains(bucketVariables, name) {
			kept = append(kept, entry)
		}
	}
	return kept
}

// whyNoServer is the error of an embedded queue and storage that were not started: what is wrong with a bucket is found only then.
func whyNoServer(err error, failed func(error) *statusError) error {
	if wrong := (*agenttest.FaultError)(nil); errors.As(err, &wrong) {
		return usageError(fmt.Errorf("--fault with --s3: %w", wrong))
	}
	if wrong := (*agenttest.BucketError)(nil); errors.As(err, &wrong) {
		err = fmt.Errorf("--s3: %w", wrong)
	}
	return failed(err)
}

package agenttest

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/taskcluster/upload-agent/schema"
)

// Bucket is a bucket of a real S3 server, Amazon's or one that speaks its language. It has to exist. The queue signs with the credentials,
// which have to allow to get, put and list objects and to upload in parts; nobody else needs any, and nothing in the bucket need be public.
type Bucket struct {
	Endpoint string // "https://storage.example.com", with buckets addressed in the path
	Name     string
	Prefix   string // of the keys; "" or one that ends in a slash
	Region   string // default: what an endpoint of Amazon's says, or else "us-east-1", which most others take

	AccessKeyID     string
	SecretAccessKey schema.Secret
	SessionToken    schema.Secret // of temporary credentials: what they have signed ends with them
}

// URL names the bucket as [ParseBucket] reads it; there is no secret in it.
func (b Bucket) URL() string {
	return strings.TrimSuffix(b.Endpoint+"/"+b.Name+"/"+escapePath(b.Prefix), "/")
}

var (
	bucketName   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$`)
	amazonRegion = regexp.MustCompile(`(?:^|\.)s3[.-]([a-z]{2}(?:-[a-z]+)+-[0-9])\.amazonaws\.com$`)
)

// ParseBucket reads the URL of a bucket: "http://HOST:PORT/BUCKET", or "http://HOST:PORT/BUCKET/PREFIX" for objects whose keys all begin
// with "PREFIX/". It sets neither the region, nor the credentials, which do not belong into a URL. The error shows nothing that could be a secret.
func ParseBucket(raw string) (Bucket, error) {
	const want = "want a URL such as http://HOST:PORT/BUCKET or https://HOST/BUCKET/PREFIX"
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return Bucket{}, errors.New(want) // its error holds all of it
	case u.User != nil:
		return Bucket{}, errors.New("user and password do not belong into the URL: " + want)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Bucket{}, errors.New("there must be no query and no fragment: " + want)
	case u.Scheme == "s3":
		return Bucket{}, errors.New("s3:// does not say where the server is: want http://HOST:PORT/BUCKET, or https://s3.REGION.amazonaws.com/BUCKET for Amazon's")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return Bucket{}, errors.New(want)
	}
	name, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if !bucketName.MatchString(name) {
		return Bucket{}, fmt.Errorf("%q is not the name of a bucket (3 to 63 of a-z, 0-9, dots and hyphens): %s", name, want)
	}
	if prefix != "" {
		if err := schema.ArtifactName(prefix); err != nil {
			return Bucket{}, fmt.Errorf("prefix of the keys: %w", err)
		}
		prefix += "/"
	}
	return Bucket{Endpoint: u.Scheme + "://" + u.Host, Name: name, Prefix: prefix}, nil
}

// BucketError is why a bucket cannot be used.
type BucketError struct {
	URL string
	Err error
}

func (e *BucketError) Error() string { return fmt.Sprintf("use bucket %s: %v", e.URL, e.Err) }

// Unwrap gives the reason.
func (e *BucketError) Unwrap() error { return e.Err }

// region is the one that requests are signed for.
func (b Bucket) region() string {
	if b.Region == "" {
		if u, err := url.Parse(b.Endpoint); err == nil {
			if found := amazonRegion.FindStringSubmatch(u.Hostname()); found != nil {
				return found[1]
			}
		}
	}
	return cmp.Or(b.Region, "us-east-1")
}

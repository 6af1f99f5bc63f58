package upload

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// Bucket is the permission to store objects below a prefix of a bucket of S3, or of what speaks its language. Grants of it
// are renewed by PutOptions.Renew, which gives the same with other credentials. Requests are signed with our clock, which
// must be right to within some 15 minutes.
type Bucket struct {
	Endpoint    string // "https://storage.example.com", where buckets are addressed in the path; "": Amazon's for the region
	Region      string // "": "us-east-1", which most others than Amazon take
	Bucket      string
	Prefix      string // of the keys that the credentials are good for; may be ""
	Name        string // of the object: its key is Prefix + Name
	Credentials Credentials
	PartSize    int64 // bytes of a part; default 64 MiB; 5 MiB at least, larger where the object would have more than 10,000 parts
}

// Credentials are temporary ones.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey Secret
	SessionToken    Secret    // "" if there is none
	Expires         time.Time // zero: never
}

func (c Credentials) equal(d Credentials) bool {
	return c.AccessKeyID == d.AccessKeyID && c.SecretAccessKey.Reveal() == d.SecretAccessKey.Reveal() && c.SessionToken.Reveal() == d.SessionToken.Reveal()
}

// Secret is a text that is a password; see [schema.Secret].
type Secret = schema.Secret

// NewSecret wraps a secret.
func NewSecret(text string) Secret { return schema.NewSecret(text) }

// host is that of the endpoint, "" if Amazon's is to be found first.
func (b Bucket) host() string {
	u, err := url.Parse(b.Endpoint)
	if err != nil {
		return ""
	}
	return u.Host
}

const defaultPartSize = 64 << 20

// bucketParts is the way of a Bucket.
type bucketParts struct {
	fresh func(context.Context) (Grant, error) // PutOptions.Renew; may be nil

	mu      sync.Mutex // guards the rest; held while fresh is asked, so that one answer serves all who wait
	current Grant
	parts   []storedPart // to be put together
	renewed int
}

func newBucketParts(g Grant, fresh func(context.Context) (Grant, error)) *bucketParts {
	return &bucketParts{current: g, fresh: fresh}
}

func (w *bucketParts) check(_ PutOptions, _ int64) error {
	b := w.current.Bucket
	u, err := url.Parse(b.Endpoint)
	switch {
	case b.Endpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil):
		return errors.New("want an endpoint that is http:// or https:// and a host")
	case b.Bucket == "" || b.Prefix+b.Name == "":
		return errors.New("it names no bucket, or no object")
	case b.Credentials.AccessKeyID == "" || b.Credentials.SecretAccessKey.Reveal() == "":
		return errors.New("it holds no credentials")
	}
	return nil
}

func (w *bucketParts) partSize(size int64) int64 {
	wanted := w.current.Bucket.PartSize
	if wanted <= 0 {
		wanted = defaultPartSize
	}
	return partSizeFor(wanted, size)
}

func (w *bucketParts) start() (string, bool) { return "", false }

func (w *bucketParts) grant(context.Context, step) (Grant, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current, nil
}

func (w *bucketParts) renew(ctx context.Context, _ step, refused Grant) (Grant, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.current.same(refused) {
		return w.current, nil // somebody else has renewed it meanwhile
	}
	g, err := w.fresh(ctx)
	if err != nil {
		return Grant{}, err
	}
	w.renewed++
	a, b := w.current.Bucket, g.Bucket
	if b == nil || b.Endpoint != a.Endpoint || b.Bucket != a.Bucket || b.Prefix+b.Name != a.Prefix+a.Name {
		return Grant{}, fmt.Errorf("%w: asked for other credentials, got a grant for another object", ErrGrant)
	}
	w.current.Bucket = b
	return w.current, nil
}

func (w *bucketParts) renewable(step) bool { return w.fresh != nil }

func (w *bucketParts) renewals() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.renewed
}

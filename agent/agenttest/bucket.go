package agenttest

import (
	"context"
	"crypto/hmac"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/taskcluster/upload-agent/schema"
)

// BucketAccess is temporary credentials for the objects below a prefix of a bucket.
type BucketAccess struct {
	Endpoint, Region, Bucket, Prefix           string
	AccessKeyID, SecretAccessKey, SessionToken string
	Expires                                    time.Time
}

// temporary is what is known of temporary credentials.
type temporary struct {
	credentials aws.Credentials
	allowed     string // beginning of the keys
}

// BucketAccess gives temporary credentials to store artifacts of a run with S3's own API, requests signed in their headers.
// The bucket is named as the task is, and addressed in the path. Payloads must be unsigned; nothing else is simulated of
// what a bucket has: no listing, no policies. With Options.Bucket there are none: they are another service's to give.
func (s *Server) BucketAccess(id schema.TaskID, run schema.RunID, life time.Duration) BucketAccess {
	if s.bucket != nil {
		return BucketAccess{}
	}
	prefix := strings.TrimPrefix(runPath(id, run), string(id)+"/") + "artifacts/"
	a := BucketAccess{
		Endpoint: s.storageURL, Region: region, Bucket: string(id), Prefix: prefix,
		AccessKeyID: "TEMPORARY" + strings.ToUpper(randomHex()[:11]), SecretAccessKey: randomHex() + randomHex(), SessionToken: randomHex() + randomHex(),
		Expires: s.options.Clock().Add(life),
	}
	s.signer.mu.Lock()
	defer s.signer.mu.Unlock()
	s.signer.temporary[a.AccessKeyID] = temporary{allowed: string(id) + "/" + prefix, credentials: aws.Credentials{
		AccessKeyID: a.AccessKeyID, SecretAccessKey: a.SecretAccessKey, SessionToken: a.SessionToken, Expires: a.Expires, CanExpire: true,
	}}
	return a
}

var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/,]+)/[0-9]{8}/[^/,]+/s3/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$`)

// verifyHeader is verify for a request that is signed in its headers with temporary credentials.
func (s *signer) verifyHeader(r *http.Request, now time.Time) *s3Error {
	parts := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	date, err := time.Parse(amzDate, r.Header.Get("X-Amz-Date"))
	if parts == nil || err != nil {
		return &s3Error{status: http.StatusBadRequest, Code: "AuthorizationHeaderMalformed", Message: "The authorization header that you provided is not valid."}
	}
	id, signedHeaders, signature := parts[1], strings.Split(parts[2], ";"), parts[3]
	s.mu.Lock()
	known, ok := s.temporary[id]
	s.mu.Unlock()
	switch {
	case !ok:
		return &s3Error{status: http.StatusForbidden, Code: "InvalidAccessKeyId", Message: "The AWS Access Key Id you provided does not exist in our records."}
	case r.Header.Get("X-Amz-Security-Token") != known.credentials.SessionToken:
		return &s3Error{status: http.StatusBadRequest, Code: "InvalidToken", Message: "The provided token is malformed or otherwise not valid."}
	case !now.Before(known.credentials.Expires):
		return &s3Error{status: http.StatusBadRequest, Code: "ExpiredToken", Message: "The provided token has expired."}
	case date.Sub(now).Abs() > 15*time.Minute:
		return &s3Error{status: http.StatusForbidden, Code: "RequestTimeTooSkewed", Message: "The difference between the request time and the server's time is too large."}
	case r.Header.Get("X-Amz-Content-Sha256") != unsignedV4:
		return &s3Error{status: http.StatusNotImplemented, Code: "NotImplemented", Message: "Only unsigned payloads are simulated."}
	case !s.matchesHeader(r, known.credentials, signedHeaders, signature, date):
		return errSignature()
	case !strings.HasPrefix(keyOf(r), known.allowed):
		return &s3Error{status: http.StatusForbidden, Code: "AccessDenied", Message: "Access Denied"}
	}
	if unsigned := unsignedHeaders(r.Header, strings.Join(signedHeaders, ";")); unsigned != "" {
		return &s3Error{status: http.StatusForbidden, Code: "AccessDenied",
			Message: "There were headers present in the request which were not signed", HeadersNotSigned: unsigned}
	}
	return nil
}

// matchesHeader signs the request again, with its own date and the headers it says are signed, and compares.
func (s *signer) matchesHeader(r *http.Request, c aws.Credentials, signedHeaders []string, signature string, date time.Time) bool {
	u := *r.URL
	u.Scheme, u.Host = "http", r.Host
	again := &http.Request{Method: r.Method, Host: r.Host, URL: &u, Header: http.Header{}}
	for _, name := range signedHeaders {
		switch name {
		case "host":
		case "content-length":
			again.ContentLength = r.ContentLength
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	if err := s.v4.SignHTTP(context.Background(), c, again, r.Header.Get("X-Amz-Content-Sha256"), "s3", region, date); err != nil {
		return false
	}
	parts := authorization.FindStringSubmatch(again.Header.Get("Authorization"))
	return parts != nil && hmac.Equal([]byte(parts[3]), []byte(signature))
}

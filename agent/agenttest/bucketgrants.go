package agenttest

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/taskcluster/upload-agent/schema"
)

// readLife is how long the URL is good to which a reader is redirected; he goes there at once, but his clock, ours and the server's may differ.
const readLife = 5 * time.Minute

// longestLife is what version 4 signatures allow.
const longestLife = 7 * 24 * time.Hour

// sign permits a method on an object, with a query that names an upload and perhaps a part of it.
func (s *bucketStorage) sign(method, key string, query url.Values, contentType string, life time.Duration) schema.SignedURL {
	ctx := context.Background()
	life = min(max(life.Truncate(time.Second), time.Second), longestLife)
	lasting := s3.WithPresignExpires(life)
	var signed *v4.PresignedHTTPRequest
	var err error
	switch upload := query.Get("uploadId"); {
	case method == http.MethodGet:
		signed, err = s.presigner.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &s.Name, Key: s.name(key)}, lasting)
	case method == http.MethodHead:
		signed, err = s.presigner.PresignHeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.Name, Key: s.name(key)}, lasting)
	case method == http.MethodPut && upload == "":
		signed, err = s.presigner.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: &s.Name, Key: s.name(key), ContentType: header(contentType)}, lasting)
	case method == http.MethodPut:
		number, _ := strconv.ParseInt(query.Get("partNumber"), 10, 32) // our own
		signed, err = s.presigner.PresignUploadPart(ctx, &s3.UploadPartInput{
			Bucket: &s.Name, Key: s.name(key), UploadId: &upload, PartNumber: aws.Int32(int32(number)),
		}, lasting)
	default:
		return s.signOther(method, key, query, life)
	}
	if err != nil {
		return schema.SignedURL{} // cannot happen: signing is arithmetic. No URL is never a valid one
	}
	return schema.NewSignedURL(signed.URL)
}

// signOther permits what the SDK has no presigned request for: to complete and to abort an upload in parts.
func (s *bucketStorage) signOther(method, key string, query url.Values, life time.Duration) schema.SignedURL {
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return schema.SignedURL{}
	}
	path := s.Name + "/" + s.Prefix + key
	u.Path, u.RawPath = "/"+path, "/"+escapePath(path)
	u.RawQuery = url.Values{
		"uploadId": query["uploadId"], "X-Amz-Expires": {strconv.Itoa(int(life.Seconds()))},
	}.Encode()
	r := &http.Request{Method: method, Host: u.Host, Header: http.Header{}, URL: u}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	signed, _, err := signer.PresignHTTP(context.Background(), s.credentials(), r, unsignedV4, "s3", s.region(), time.Now())
	if err != nil {
		return schema.SignedURL{}
	}
	return schema.NewSignedURL(signed)
}

// lead answers a reader: the object is in the bucket, and this is the permission to read it. Whether it is there, the server will tell.
func (s *bucketStorage) lead(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	key := keyOf(r)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		s3Error{status: http.StatusMethodNotAllowed, Code: "MethodNotAllowed",
			Message: "The specified method is not allowed against this resource."}.write(w, r)
	case !validKey(key):
		s3Error{status: http.StatusNotFound, Code: "NoSuchKey", Message: "The specified key does not exist."}.write(w, r)
	default:
		w.Header().Set("Location", s.sign(r.Method, key, nil, "", readLife).Reveal())
		w.Header().Set("Cache-Control", "no-store") // it is somebody's permission, and ends soon
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

package agenttest

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxObject is the largest object that one PUT may store.
const maxObject = 5 << 30

// s3Error is an error as S3 writes it.
type s3Error struct {
	XMLName          xml.Name `xml:"Error"`
	Code             string
	Message          string
	AmzExpires       int64  `xml:"X-Amz-Expires,omitempty"`
	Expires          string `xml:",omitempty"`
	ServerTime       string `xml:",omitempty"`
	HeadersNotSigned string `xml:",omitempty"`
	ProposedSize     int64  `xml:",omitempty"`
	MaxSizeAllowed   int64  `xml:",omitempty"`
	Resource         string
	RequestID        string `xml:"RequestId"`

	status int
}

func (e s3Error) write(w http.ResponseWriter, r *http.Request) {
	e.Resource, e.RequestID = r.URL.Path, randomHex()
	body, err := xml.Marshal(e)
	if err != nil {
		body = []byte("<Error><Code>" + e.Code + "</Code></Error>")
	}
	body = append([]byte(xml.Header), body...)
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("X-Amz-Request-Id", e.RequestID)
	w.WriteHeader(e.status)
	w.Write(body) // a client that has left is no error of ours
}

func expiredError(seconds int64, end, now time.Time) *s3Error {
	return &s3Error{status: http.StatusForbidden, Code: "AccessDenied", Message: "Request has expired", AmzExpires: seconds,
		Expires: end.UTC().Format(time.RFC3339), ServerTime: now.UTC().Format(time.RFC3339)}
}

// object answers a request to the storage. It gives the ETag of what was stored; "" if nothing was.
func (s *Server) object(w http.ResponseWriter, r *http.Request) (etag string) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Expose-Headers", "Accept-Ranges, Content-Encoding, Content-Length, Content-Range, Date, ETag, Last-Modified")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch operation(r) {
	case "get":
		s.getObject(w, r)
	case "put":
		return s.putObject(w, r)
	case "create":
		s.createUpload(w, r)
	case "part":
		return s.putPart(w, r)
	case "complete":
		return s.completeUpload(w, r)
	case "abort":
		s.abortUpload(w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT")
		s3Error{status: http.StatusMethodNotAllowed, Code: "MethodNotAllowed",
			Message: "The specified method is not allowed against this resource."}.write(w, r)
	}
	return ""
}

// operation is what a request asks of the storage, in the words of [Request]; "other" if it is nothing that there is.
func operation(r *http.Request) string {
	query := r.URL.Query()
	upload := query.Has("uploadId")
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return "get"
	case r.Method == http.MethodPut && upload:
		return "part"
	case r.Method == http.MethodPut:
		return "put"
	case r.Method == http.MethodPost && upload:
		return "complete"
	case r.Method == http.MethodPost && query.Has("uploads"):
		return "create"
	case r.Method == http.MethodDelete && upload:
		return "abort"
	}
	return "other"
}

func keyOf(r *http.Request) string { return strings.TrimPrefix(r.URL.Path, "/") }

func (s *Server) getObject(w http.ResponseWriter, r *http.Request) {
	file, m, err := s.storage.open(keyOf(r))
	if errors.Is(err, fs.ErrNotExist) {
		s3Error{status: http.StatusNotFound, Code: "NoSuchKey", Message: "The specified key does not exist."}.write(w, r)
		return
	}
	if err != nil {
		s.internalError(w, r, err)
		return
	}
	defer file.Close() // only read
	h := w.Header()
	h.Set("Content-Type", m.ContentType)
	if m.ContentType == "" {
		h.Set("Content-Type", "binary/octet-stream")
	}
	for name, value := range map[string]string{
		"Content-Encoding": m.ContentEncoding, "Cache-Control": m.CacheControl, "Content-Disposition": m.Disposition,
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
	if m.ETag != "" {
		h.Set("ETag", `"`+m.ETag+`"`)
	}
	http.ServeContent(&sizedWriter{ResponseWriter: w, size: m.Size}, r, "", m.Modified, file)
}

// sizedWriter gives a whole object its Content-Length, which ServeContent leaves out if the object has a content encoding.
type sizedWriter struct {
	http.ResponseWriter
	size int64
}

func (w *sizedWriter) WriteHeader(status int) {
	if status == http.StatusOK {
		w.Header().Set("Content-Length", strconv.FormatInt(w.size, 10))
	}
	w.ResponseWriter.WriteHeader(status)
}

// accept checks a PUT before its body is read, so that a client that expects "100 Continue" sends none.
func (s *Server) accept(w http.ResponseWriter, r *http.Request) (contentMD5 []byte, ok bool) {
	refused := s.signer.verify(r, s.options.Clock())
	header := r.Header.Get("Content-MD5")
	sum, err := base64.StdEncoding.DecodeString(header)
	switch {
	case refused != nil:
	case r.ContentLength < 0 || r.ContentLength == 0 && r.Header.Get("Content-Length") == "":
		refused = &s3Error{status: http.StatusLengthRequired, Code: "MissingContentLength",
			Message: "You must provide the Content-Length HTTP header."}
	case r.ContentLength > maxObject:
		refused = &s3Error{status: http.StatusBadRequest, Code: "EntityTooLarge", ProposedSize: r.ContentLength, MaxSizeAllowed: maxObject,
			Message: "Your proposed upload exceeds the maximum allowed size"}
	case header != "" && (err != nil || len(sum) != 16):
		refused = &s3Error{status: http.StatusBadRequest, Code: "InvalidDigest", Message: "The Content-MD5 you specified was invalid."}
	}
	if refused != nil {
		refused.write(w, r)
		return nil, false
	}
	if header == "" {
		return nil, true
	}
	return sum, true
}

// metaOf is what a request says of the object that it makes.
func metaOf(r *http.Request) meta {
	return meta{
		Key: keyOf(r), ContentType: r.Header.Get("Content-Type"), ContentEncoding: r.Header.Get("Content-Encoding"),
		CacheControl: r.Header.Get("Cache-Control"), Disposition: r.Header.Get("Content-Disposition"),
	}
}

func (s *Server) putObject(w http.ResponseWriter, r *http.Request) (etag string) {
	contentMD5, ok := s.accept(w, r)
	if !ok {
		return ""
	}
	m, err := s.storage.put(metaOf(r), r.Body, r.ContentLength, contentMD5)
	if err != nil {
		s.putError(w, r, err)
		return ""
	}
	s.putDone(w, m.ETag, m.Checksum)
	return m.ETag
}

func (s *Server) putDone(w http.ResponseWriter, etag, checksum string) {
	w.Header().Set("ETag", `"`+etag+`"`)
	w.Header().Set("X-Amz-Checksum-Crc64nvme", checksum)
	w.Header().Set("X-Amz-Request-Id", randomHex())
	w.WriteHeader(http.StatusOK)
}

func (s *Server) putError(w http.ResponseWriter, r *http.Request, err error) {
	for known, refusal := range partErrors {
		if errors.Is(err, known) {
			refusal.write(w, r)
			return
		}
	}
	switch {
	case errors.Is(err, errConflict):
		s3Error{status: http.StatusConflict, Code: "ObjectParentIsFile", Message: fmt.Sprintf(
			"%q cannot be stored: here an object is a file, and one of this name, or of the beginning of this name, is there already (as a folder, or as a file).", keyOf(r),
		)}.write(w, r)
	case errors.Is(err, errNameLong):
		s3Error{status: http.StatusBadRequest, Code: "KeyTooLongError", Message: "Your key is too long: here it is the path of a file."}.write(w, r)
	case errors.Is(err, errDigest):
		s3Error{status: http.StatusBadRequest, Code: "BadDigest", Message: "The Content-MD5 you specified did not match what we received."}.write(w, r)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		s3Error{status: http.StatusBadRequest, Code: "IncompleteBody", Message: "You did not provide the number of bytes specified by the Content-Length HTTP header."}.write(w, r)
	default:
		s.internalError(w, r, err)
	}
}

func (s *Server) internalError(w http.ResponseWriter, r *http.Request, err error) {
	s.logger.Error("storage", "path", r.URL.Path, "err", err)
	s3Error{status: http.StatusInternalServerError, Code: "InternalError",
		Message: "We encountered an internal error. Please try again."}.write(w, r)
}

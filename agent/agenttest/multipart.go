package agenttest

import (
	"encoding/hex"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// partErrors are the answers to what can be wrong with an upload in parts.
var partErrors = map[error]s3Error{
	errNoUpload: {status: http.StatusNotFound, Code: "NoSuchUpload",
		Message: "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."},
	errPart: {status: http.StatusBadRequest, Code: "InvalidPart",
		Message: "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."},
	errPartOrder: {status: http.StatusBadRequest, Code: "InvalidPartOrder",
		Message: "The list of parts was not in ascending order. The parts list must be specified in order by part number."},
	errPartSmall: {status: http.StatusBadRequest, Code: "EntityTooSmall",
		Message: "Your proposed upload is smaller than the minimum allowed size"},
}

func (s *Server) createUpload(w http.ResponseWriter, r *http.Request) {
	if refusal := s.signer.verify(r, s.options.Clock()); refusal != nil {
		refusal.write(w, r)
		return
	}
	m := metaOf(r)
	if !validKey(m.Key) {
		s3Error{status: http.StatusBadRequest, Code: "InvalidArgument", Message: "Not the name of an object here."}.write(w, r)
		return
	}
	id, err := s.storage.createUpload(m)
	if err != nil {
		s.internalError(w, r, err)
		return
	}
	writeXML(w, struct {
		XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ InitiateMultipartUploadResult"`
		Key      string
		UploadID string `xml:"UploadId"`
	}{Key: m.Key, UploadID: id})
}

func (s *Server) putPart(w http.ResponseWriter, r *http.Request) (etag string) {
	contentMD5, ok := s.accept(w, r)
	if !ok {
		return ""
	}
	query := r.URL.Query()
	number, err := strconv.Atoi(query.Get("partNumber"))
	if err != nil || number < 1 || number > schema.MaxParts {
		s3Error{status: http.StatusBadRequest, Code: "InvalidArgument",
			Message: "Part number must be an integer between 1 and 10000, inclusive"}.write(w, r)
		return ""
	}
	p, err := s.storage.putPart(keyOf(r), query.Get("uploadId"), number, r.Body, r.ContentLength, contentMD5)
	if err != nil {
		s.putError(w, r, err)
		return ""
	}
	etag = hex.EncodeToString(p.md5)
	s.putDone(w, etag, p.crc)
	return etag
}

func (s *Server) completeUpload(w http.ResponseWriter, r *http.Request) (etag string) {
	if refusal := s.signer.verify(r, s.options.Clock()); refusal != nil {
		refusal.write(w, r)
		return ""
	}
	var request struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Part    []listed
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	if err != nil || xml.Unmarshal(body, &request) != nil || len(request.Part) == 0 {
		s3Error{status: http.StatusBadRequest, Code: "MalformedXML",
			Message: "The XML you provided was not well-formed or did not validate against our published schema"}.write(w, r)
		return ""
	}
	m, err := s.storage.complete(keyOf(r), r.URL.Query().Get("uploadId"), request.Part)
	if err != nil {
		s.putError(w, r, err)
		return ""
	}
	writeXML(w, struct {
		XMLName           xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
		Location          string
		Key               string
		ETag              string
		ChecksumCRC64NVME string
		ChecksumType      string
	}{Location: s.readURL(m.Key), Key: m.Key, ETag: `"` + m.ETag + `"`, ChecksumCRC64NVME: m.Checksum, ChecksumType: "FULL_OBJECT"})
	return m.ETag
}

func (s *Server) abortUpload(w http.ResponseWriter, r *http.Request) {
	if refusal := s.signer.verify(r, s.options.Clock()); refusal != nil {
		refusal.write(w, r)
		return
	}
	if err := s.storage.abort(keyOf(r), r.URL.Query().Get("uploadId")); err != nil {
		s.putError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func writeXML(w http.ResponseWriter, answer any) {
	body, err := xml.Marshal(answer)
	if err != nil {
		body = nil // cannot happen: it is made of strings
	}
	body = append([]byte(xml.Header), body...)
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("X-Amz-Request-Id", randomHex())
	w.WriteHeader(http.StatusOK)
	w.Write(body) // a client that has left is no error of ours
}

// multipartOffer is what the queue says of itself in each answer.
func (s *Server) multipartOffer() *schema.MultipartOffer {
	if s.options.MultipartFrom <= 0 {
		return nil
	}
	return &schema.MultipartOffer{From: s.options.MultipartFrom}
}

// refuseMultipart refuses what a queue that does not know grants in parts would not understand.
func (s *Server) refuseMultipart(request schema.ArtifactURLsRequest) *refusal {
	if s.options.MultipartFrom > 0 {
		return nil
	}
	for name, artifact := range request.Artifacts {
		if artifact.Multipart != nil {
			return malformed[schema.ArtifactURLsRequest]("/artifacts/" + name + `/multipart: want no unknown member, got "multipart"`)
		}
	}
	return nil
}

// multipartURLs grants an artifact in parts, if that is asked for and it is large enough.
func (s *Server) multipartURLs(key string, artifact schema.ArtifactRequest, expires time.Time) (*schema.MultipartURLs, error) {
	wanted := artifact.Multipart
	if wanted == nil || wanted.Size < s.options.MultipartFrom {
		return nil, nil
	}
	urls := &schema.MultipartURLs{UploadID: wanted.UploadID, PartSize: partSize(s.options.PartSize, wanted.Size), FirstPart: max(1, wanted.FirstPart)}
	if urls.UploadID == "" {
		id, err := s.objects.createUpload(meta{
			Key: key, ContentType: artifact.ContentType, ContentEncoding: wanted.ContentEncoding,
			CacheControl: wanted.CacheControl, Disposition: wanted.ContentDisposition,
		})
		if err != nil {
			return nil, err
		}
		urls.UploadID = id
	}
	sign := func(method, part string) schema.SignedURL {
		query := url.Values{"uploadId": {urls.UploadID}}
		if part != "" {
			query.Set("partNumber", part)
		}
		return s.signedURL(method, key, query, "", expires)
	}
	parts := int((wanted.Size + urls.PartSize - 1) / urls.PartSize)
	last := max(urls.FirstPart, min(urls.FirstPart+s.options.PartURLs-1, parts)) // the file may have grown since it was measured
	for part := urls.FirstPart; part <= last; part++ {
		urls.PartPutURLs = append(urls.PartPutURLs, sign(http.MethodPut, strconv.Itoa(part)))
	}
	urls.CompleteURL, urls.AbortURL = sign(http.MethodPost, ""), sign(http.MethodDelete, "")
	return urls, nil
}

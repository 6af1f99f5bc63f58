package schema

// MaxParts is the most parts that an object may be stored in, as object storages have it. Parts count from 1.
const MaxParts = 10_000

// Multipart grants are an extension of the protocol: a large artifact is stored in parts, several at once, and a part that goes
// wrong is all that has to be sent again. The first queue rejects requests with members that it does not know, so a
// queue that knows the extension says so first, in every answer to a request for artifact URLs ([MultipartOffer]), which
// clients that do not know it ignore. Only then does a client add a [MultipartRequest] to what it asks for:
//
//   - without an upload id it starts an upload, and the answer ([MultipartURLs]) holds the URLs of the first parts;
//   - with one it gets fresh URLs of that upload, for the parts from FirstPart on (for that part at least, whatever the size was
//     said to be: files grow), as often as it likes.
//
// The artifact is put together by a POST to the completion URL with the body of S3's CompleteMultipartUpload; a DELETE to the
// abort URL throws the parts away. Parts, completion and abort are signed without a content type. The signed URL for a
// single PUT is in the answer too: whoever finds the artifact smaller than one part uses that.
// Uploads that nobody has completed or aborted when their run is over are the queue's to abort.

// MultipartOffer says that the queue grants artifacts in parts.
type MultipartOffer struct {
	From int64 `json:"from" jsonschema:"minimum=1" jsonschema_description:"Size in bytes from which on an artifact may be asked for in parts."`
}

// MultipartRequest asks for a grant in parts.
type MultipartRequest struct {
	Size               int64  `json:"size" jsonschema:"minimum=1" jsonschema_description:"Size of the artifact in bytes; the part size is chosen by it."`
	ContentEncoding    string `json:"contentEncoding,omitempty" jsonschema_description:"Content encoding to store the artifact with; none without it."`
	CacheControl       string `json:"cacheControl,omitempty" jsonschema_description:"Cache-Control to store the artifact with; none without it."`
	ContentDisposition string `json:"contentDisposition,omitempty" jsonschema_description:"Content-Disposition to store the artifact with; none without it."`
	UploadID           string `json:"uploadId,omitempty" jsonschema_description:"Upload to give fresh URLs for; without it a new one is started."`
	FirstPart          int    `json:"firstPart,omitempty" jsonschema:"minimum=1,maximum=10000" jsonschema_description:"Part from which on URLs are wanted; 1 without it."`
}

// MultipartURLs is an upload in parts, and the signed URLs of some of its parts.
type MultipartURLs struct {
	UploadID    string      `json:"uploadId" jsonschema:"minLength=1" jsonschema_description:"Id of the upload."`
	PartSize    int64       `json:"partSize" jsonschema:"minimum=1" jsonschema_description:"Size in bytes of every part but the last, which may be smaller."`
	FirstPart   int         `json:"firstPart" jsonschema:"minimum=1,maximum=10000" jsonschema_description:"Number of the part that the first of the part URLs is for."`
	PartPutURLs []SignedURL `json:"partPutUrls" jsonschema_description:"Signed URLs to put consecutive parts to."`
	CompleteURL SignedURL   `json:"completeUrl" jsonschema_description:"Signed URL to post the list of parts to, which makes them the artifact."`
	AbortURL    SignedURL   `json:"abortUrl" jsonschema_description:"Signed URL to delete, which throws all parts away."`
}

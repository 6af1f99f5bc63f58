package upload

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/crc64nvme"
)

// completion is the body of S3's CompleteMultipartUpload.
func completion(parts []storedPart) []byte {
	var b bytes.Buffer
	b.WriteString(`<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	for _, p := range parts {
		b.WriteString("<Part><ETag>")
		xml.EscapeText(&b, []byte(p.etag))
		b.WriteString("</ETag><PartNumber>" + strconv.Itoa(p.number) + "</PartNumber></Part>")
	}
	b.WriteString("</CompleteMultipartUpload>")
	return b.Bytes()
}

// completed is the answer to it.
type completed struct {
	XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
	ETag              string
	ChecksumCRC64NVME string
	ChecksumType      string // FULL_OBJECT or COMPOSITE
}

// judgeCompletion says what follows from an answer to the completion. S3 begins to answer 200 before it knows how
// it ends, and may then send an error; nothing at all says that the end of the answer was lost.
func judgeCompletion(a answer, v verdict, kind error, whole Digest) (completed, verdict, error, error) {
	var result completed
	switch {
	case v != stored:
		return result, v, kind, nil
	case xml.Unmarshal(a.body, &result) == nil:
	case a.code != "":
		v, kind = classify(answer{status: http.StatusInternalServerError, code: a.code, message: a.message})
		return result, v, kind, errors.New("answered with an error after all")
	default:
		return result, retry, ErrUnavailable, errors.New("answered without a result")
	}
	theirs := result.ChecksumCRC64NVME
	if theirs != "" && !strings.EqualFold(result.ChecksumType, "COMPOSITE") && !strings.Contains(theirs, "-") && theirs != whole.base64() {
		return result, stop, ErrDigest, fmt.Errorf("sent %s, stored %s%s", whole, digestPrefix, oneLine(theirs))
	}
	return result, stored, nil, nil
}

// complete makes the parts the object, or finds that they are it already.
func (u *parts) complete() *Error {
	whole := u.digest()
	// After it, nobody could take the object back.
	if err := u.content.check(whole); err != nil {
		p := u.client.newPut(u.ctx, Grant{}, task{}, u.options)
		return u.fail(p.error(sourceFailure(err), nil))
	}
	list := make([]storedPart, 0, len(u.stored))
	for number := 1; number <= len(u.stored); number++ {
		list = append(list, u.stored[number])
	}
	body, err := u.way.list(u.ctx, u.id, list)
	if err != nil {
		return u.fail(&Error{Name: u.options.Name, Kind: ErrGrant, Err: newScrubber("").error(err)})
	}
	var result completed
	xmlBody, _ := Bytes(body).opened() // of bytes: never fails
	done, e := u.do(u.ctx, step{what: stepComplete}, xmlBody, func(a answer, v verdict, kind error, _ Digest) (verdict, error, error) {
		var err error
		result, v, kind, err = judgeCompletion(a, v, kind, whole)
		return v, kind, err
	})
	// An earlier attempt may have gone through although its answer was lost: then the upload is not known any more.
	if e != nil && errors.Is(e, ErrRejected) {
		if etag, there := u.lookUp(list, whole); there {
			result.ETag, e = etag, nil
		}
	}
	if e != nil {
		return u.fail(e)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.id = ""
	u.receipt.Digest, u.receipt.ETag, u.receipt.Parts = whole, result.ETag, len(list)
	u.receipt.Expires = expires(done.proof.header)
	return nil
}

// lookUp asks the storage whether it has the object already. It has if the ETag is the one that S3 makes of those of the parts;
// where ETags are made otherwise, the object is read.
func (u *parts) lookUp(list []storedPart, whole Digest) (etag string, there bool) {
	if _, bucket := u.way.(*bucketParts); u.read == "" && !bucket {
		return "", false
	}
	p, e := u.do(u.ctx, step{what: stepHead}, nothing, nil)
	if e != nil || p.proof.header.Get("Content-Length") != strconv.FormatInt(u.content.size, 10) {
		return "", false
	}
	etag = p.proof.etag
	if want := joinedETag(list); want != "" && strings.Trim(etag, `"`) == want {
		return etag, true
	}
	sum, e := u.readBack()
	return etag, e == nil && sum == whole
}

// readBack is the digest of what is stored.
func (u *parts) readBack() (Digest, *Error) {
	var sum Digest
	_, e := u.run(u.ctx, task{step: step{what: stepGet}, way: u.way, read: func(body io.Reader) error {
		h := crc64nvme.New()
		_, err := io.CopyBuffer(struct{ io.Writer }{h}, body, make([]byte, 64<<10))
		sum = digestOf(h)
		return err
	}}, nothing)
	return sum, e
}

// joinedETag is how S3 makes an ETag of those of the parts; "" if they are not MD5.
func joinedETag(list []storedPart) string {
	h := md5.New()
	for _, p := range list {
		sum, err := hex.DecodeString(strings.Trim(p.etag, `"`))
		if err != nil || len(sum) != md5.Size {
			return ""
		}
		h.Write(sum)
	}
	return fmt.Sprintf("%s-%d", hex.EncodeToString(h.Sum(nil)), len(list))
}

var md5Tag = regexp.MustCompile(`^"?[0-9a-fA-F]{32}"?$`)

// comparePart looks whether the storage has the bytes of a part that were sent: by their CRC where it says one, else by the
// ETag where that is an MD5, for which they are read once more; to hash them all so while they are sent would cost more than the sending.
func comparePart(a answer, sent *content, digest Digest) (verdict, error, error) {
	etag := a.header.Get("ETag")
	if etag == "" {
		return stop, ErrRejected, errors.New("answered without an ETag: the parts could not be put together")
	}
	v, kind, err := compare(a, digest)
	if v != stored || a.header.Get(digestHeader) != "" || !md5Tag.MatchString(etag) || encrypted(a.header) {
		return v, kind, err
	}
	h := md5.New()
	if _, err := io.Copy(h, io.NewSectionReader(sent, 0, sent.size)); err != nil {
		return stop, ErrSource, err
	}
	if ours := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(ours, strings.Trim(etag, `"`)) {
		return retryHashed, ErrDigest, fmt.Errorf("sent MD5 %s, stored %s", ours, oneLine(etag))
	}
	return stored, nil, nil
}

// encrypted reports that the storage has encrypted a part in a way that makes its ETag something else than an MD5.
// Source: Amazon S3, "Object" in the API reference, on ETag.
func encrypted(h http.Header) bool {
	return slices.Contains([]string{"aws:kms", "aws:kms:dsse"}, h.Get("X-Amz-Server-Side-Encryption")) ||
		h.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != ""
}

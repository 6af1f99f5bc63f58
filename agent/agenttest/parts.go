package agenttest

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/minio/crc64nvme"

	"github.com/taskcluster/upload-agent/schema"
)

const partsFolder = ".storage/parts"

// smallestPart is the size that every part but the last must have.
const smallestPart = 5 << 20

// Upload is an upload in parts that is neither completed nor aborted.
type Upload struct {
	ID    string
	Path  string // of the object that it is to become
	Parts int    // stored so far
}

func (u Upload) compare(v Upload) int {
	return cmp.Or(cmp.Compare(u.Path, v.Path), cmp.Compare(u.ID, v.ID))
}

// partUpload is an upload in parts. It is forgotten when it is aborted, and kept when it is completed: a repeated
// completion is answered as the first was.
type partUpload struct {
	object meta         // what the upload was created with, and when it is completed the object
	parts  map[int]part // nil once it is completed
}

type part struct {
	file string
	md5  []byte
	crc  string // base64
	size int64
}

var (
	errNoUpload  = errors.New("no such upload")
	errPart      = errors.New("a part is missing or has another ETag")
	errPartOrder = errors.New("the parts are not in order")
	errPartSmall = errors.New("a part before the last is too small")
)

// createUpload starts an upload in parts.
func (s *storage) createUpload(m meta) (string, error) {
	id := randomHex()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploads[id] = &partUpload{object: m, parts: map[int]part{}}
	return id, nil
}

// upload finds one that is neither completed nor aborted; s.mu is held.
func (s *storage) upload(key, id string) (*partUpload, error) {
	u := s.uploads[id]
	if u == nil || u.object.Key != key || u.parts == nil {
		return nil, errNoUpload
	}
	return u, nil
}

// putPart stores a part, or replaces it. A part that arrives after the end of its upload is thrown away.
func (s *storage) putPart(key, id string, number int, body io.Reader, size int64, contentMD5 []byte) (part, error) {
	s.mu.RLock()
	_, err := s.upload(key, id)
	s.mu.RUnlock()
	if err != nil {
		return part{}, err
	}
	temp, sum, crc, err := s.receive(body, size, contentMD5)
	if err != nil {
		return part{}, fmt.Errorf("store part %d of %s: %w", number, key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.upload(key, id)
	if err != nil {
		return part{}, errors.Join(err, s.root.Remove(temp))
	}
	p := part{file: fmt.Sprintf("%s/%s-%d", partsFolder, id, number), md5: sum, crc: crc, size: size}
	if err := s.root.Rename(temp, p.file); err != nil {
		return part{}, errors.Join(err, s.root.Remove(temp))
	}
	u.parts[number] = p
	return p, nil
}

// listed is a part as a completion names it.
type listed struct {
	PartNumber int
	ETag       string
}

// complete makes an object of the parts.
func (s *storage) complete(key, id string, parts []listed) (meta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.uploads[id]; u != nil && u.object.Key == key && u.parts == nil {
		return u.object, nil
	}
	u, err := s.upload(key, id)
	if err != nil {
		return meta{}, err
	}
	chosen, err := u.choose(parts)
	if err != nil {
		return meta{}, err
	}
	temp := tempFolder + "/" + randomHex()
	m := u.object
	if m.Size, m.Checksum, err = s.join(temp, chosen); err == nil {
		m.Modified = s.now().UTC()
		m.ETag = joinedETag(chosen)
		err = s.commit(m, temp)
	}
	if err != nil {
		return meta{}, errors.Join(fmt.Errorf("store %s: %w", key, err), s.root.Remove(temp))
	}
	err = s.drop(u)
	u.object, u.parts = m, nil
	return m, err
}

// choose finds the parts that a completion names.
func (u *partUpload) choose(parts []listed) ([]part, error) {
	if !slices.IsSortedFunc(parts, func(a, b listed) int { return cmp.Compare(a.PartNumber, b.PartNumber) }) ||
		len(slices.CompactFunc(slices.Clone(parts), func(a, b listed) bool { return a.PartNumber == b.PartNumber })) < len(parts) {
		return nil, errPartOrder
	}
	var chosen []part
	for i, l := range parts {
		p, ok := u.parts[l.PartNumber]
		if !ok || strings.Trim(l.ETag, `"`) != hex.EncodeToString(p.md5) {
			return nil, errPart
		}
		if i < len(parts)-1 && p.size < smallestPart {
			return nil, errPartSmall
		}
		chosen = append(chosen, p)
	}
	return chosen, nil
}

// join writes the parts into one file, and hashes what it writes.
func (s *storage) join(temp string, parts []part) (size int64, checksum string, err error) {
	out, err := s.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, "", err
	}
	crc := crc64nvme.New()
	for _, p := range parts {
		in, openErr := s.root.Open(p.file)
		if err = openErr; err != nil {
			break
		}
		var n int64
		n, err = io.Copy(io.MultiWriter(out, crc), in)
		size += n
		in.Close() // only read
		if err != nil {
			break
		}
	}
	return size, base64.StdEncoding.EncodeToString(crc.Sum(nil)), errors.Join(err, out.Close())
}

// joinedETag is how S3 makes one of the ETags of the parts.
func joinedETag(parts []part) string {
	var all bytes.Buffer
	for _, p := range parts {
		all.Write(p.md5)
	}
	sum := md5.Sum(all.Bytes())
	return fmt.Sprintf("%s-%d", hex.EncodeToString(sum[:]), len(parts))
}

// abort throws an upload and its parts away.
func (s *storage) abort(key, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.upload(key, id)
	if err != nil {
		return err
	}
	delete(s.uploads, id)
	return s.drop(u)
}

// abortBelow aborts the uploads of a folder: its run is over.
func (s *storage) abortBelow(folder string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for id, u := range s.uploads {
		if strings.HasPrefix(u.object.Key, folder) {
			delete(s.uploads, id)
			err = errors.Join(err, s.drop(u))
		}
	}
	return err
}

// drop removes the files of the parts; s.mu is held.
func (s *storage) drop(u *partUpload) error {
	var err error
	for _, p := range u.parts {
		err = errors.Join(err, s.root.Remove(p.file))
	}
	return err
}

// openUploads are those that are neither completed nor aborted.
func (s *storage) openUploads() []Upload {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []Upload
	for id, u := range s.uploads {
		if u.parts != nil {
			all = append(all, Upload{ID: id, Path: u.object.Key, Parts: len(u.parts)})
		}
	}
	slices.SortFunc(all, Upload.compare)
	return all
}

// partSize is the smallest that an object of this size can have, not below the wanted one.
func partSize(wanted, size int64) int64 {
	return max(wanted, smallestPart, (size+schema.MaxParts-1)/schema.MaxParts)
}

package agenttest

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/taskcluster/upload-agent/schema"
)

// storage keeps objects as files below a folder, each at the path that is its key, and what else is known of them in a
// dot folder. An object is written to a temporary file and renamed: it is there whole or not at all.
type storage struct {
	root     *os.Root
	now      func() time.Time
	onStored func(key string, before, after *meta) // set once, before use; called under mu; before is nil for a new object

	mu      sync.RWMutex           // keeps a file and its meta together, and guards the uploads
	uploads map[string]*partUpload // in parts, by id
}

// meta is what is known of an object besides its bytes.
type meta struct {
	Key             string    `json:"key"`
	ContentType     string    `json:"contentType,omitempty"`
	ContentEncoding string    `json:"contentEncoding,omitempty"`
	CacheControl    string    `json:"cacheControl,omitempty"`
	Disposition     string    `json:"contentDisposition,omitempty"`
	ETag            string    `json:"etag"`      // MD5 in hex
	Checksum        string    `json:"crc64nvme"` // base64 of 8 bytes, big endian
	Size            int64     `json:"size"`
	Modified        time.Time `json:"modified"`
}

const (
	metaFolder = ".storage/meta"
	tempFolder = ".storage/tmp"
)

var (
	errConflict = errors.New("the name is a folder of other objects, or below another object")
	errNameLong = errors.New("the name, or a part of it, is too long for a file")
	errDigest   = errors.New("the body does not have the Content-MD5 of the header")
)

func openStorage(dir string, now func() time.Time) (*storage, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open storage: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open storage: %w", err)
	}
	// What an earlier process was writing when it ended never became an object.
	err = errors.Join(root.RemoveAll(tempFolder), root.RemoveAll(partsFolder))
	for _, folder := range []string{metaFolder, tempFolder, partsFolder} {
		err = errors.Join(err, root.MkdirAll(folder, 0o755))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open storage %s: %w", dir, err), root.Close())
	}
	return &storage{root: root, now: now, uploads: map[string]*partUpload{}}, nil
}

func (s *storage) close() error { return s.root.Close() }

// validKey says whether a key can name an object: below a task, and nothing that a file system reads as more than a name.
func validKey(key string) bool {
	id, _, _ := strings.Cut(key, "/")
	return schema.TaskID(id).Valid() && schema.ArtifactName(key) == nil
}

// put stores size bytes of body. If there are fewer, or contentMD5 (raw, nil for none) is another, nothing is stored.
func (s *storage) put(m meta, body io.Reader, size int64, contentMD5 []byte) (meta, error) {
	if len(m.Key) > schema.MaxNameBytes {
		return meta{}, fmt.Errorf("store %q: %w", m.Key, errNameLong)
	}
	if !validKey(m.Key) {
		return meta{}, fmt.Errorf("store %q: not the name of an object", m.Key)
	}
	temp, sum, crc, err := s.receive(body, size, contentMD5)
	if err != nil {
		return meta{}, fmt.Errorf("store %s: %w", m.Key, err)
	}
	m.Size, m.ETag, m.Checksum, m.Modified = size, hex.EncodeToString(sum), crc, s.now().UTC()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.commit(m, temp); err != nil {
		return meta{}, errors.Join(fmt.Errorf("store %s: %w", m.Key, err), s.root.Remove(temp))
	}
	return m, nil
}

// receive writes size bytes of body to a temporary file, and gives their MD5 and the base64 of their CRC-64/NVME.
// If there are fewer, or contentMD5 (raw, nil for none) is another, there is no file.
func (s *storage) receive(body io.Reader, size int64, contentMD5 []byte) (temp string, sum []byte, checksum string, err error) {
	temp = tempFolder + "/" + randomHex()
	file, err := s.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", nil, "", err
	}
	hash, crc := md5.New(), crc64nvme.New()
	_, err = io.CopyN(io.MultiWriter(file, hash, crc), body, size)
	err = errors.Join(err, file.Close())
	sum = hash.Sum(nil)
	if err == nil && contentMD5 != nil && !bytes.Equal(contentMD5, sum) {
		err = errDigest
	}
	if err != nil {
		return "", nil, "", errors.Join(err, s.root.Remove(temp))
	}
	return temp, sum, base64.StdEncoding.EncodeToString(crc.Sum(nil)), nil
}

// commit makes the temporary file the object; s.mu is held.
func (s *storage) commit(m meta, temp string) error {
	before, err := s.stat(m.Key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.root.MkdirAll(path.Dir(m.Key), 0o755); err != nil {
		return nameError(err)
	}
	if info, err := s.root.Lstat(m.Key); err == nil && info.IsDir() {
		return errConflict
	}
	if err := s.root.Rename(temp, m.Key); err != nil {
		return nameError(err)
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := s.root.WriteFile(temp, data, 0o644); err != nil {
		return err
	}
	if err := s.root.Rename(temp, metaPath(m.Key)); err != nil {
		return err
	}
	if s.onStored != nil {
		s.onStored(m.Key, before, &m)
	}
	return nil
}

// rot changes the byte in the middle of an object, if it has any, and leaves what else is known of it as it is.
func (s *storage) rot(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	file, err := s.root.OpenFile(key, os.O_RDWR, 0)
	if err != nil {
		return // there is none
	}
	defer file.Close()
	var b [1]byte
	if info, err := file.Stat(); err == nil {
		if n, _ := file.ReadAt(b[:], info.Size()/2); n == 1 {
			b[0] ^= 0x20
			file.WriteAt(b[:], info.Size()/2)
		}
	}
}

// nameError tells the errors that lie in the name of the object from those of the disk.
func nameError(err error) error {
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, fs.ErrExist):
		return errConflict
	case errors.Is(err, syscall.ENAMETOOLONG):
		return errNameLong
	}
	return err
}

// metaPath does not depend on what the key looks like.
func metaPath(key string) string {
	sum := sha256.Sum256([]byte(key))
	return metaFolder + "/" + hex.EncodeToString(sum[:]) + ".json"
}

// stat gives the meta of an object; fs.ErrNotExist if there is none. s.mu is held.
func (s *storage) stat(key string) (*meta, error) {
	if !validKey(key) {
		return nil, fs.ErrNotExist
	}
	info, err := s.root.Lstat(key)
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return nil, fs.ErrNotExist
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fs.ErrNotExist
	}
	data, err := s.root.ReadFile(metaPath(key))
	if errors.Is(err, fs.ErrNotExist) {
		// Someone put the file here by hand, or the process ended between the two renames.
		return &meta{Key: key, ContentType: "application/octet-stream", Size: info.Size(), Modified: info.ModTime()}, nil
	}
	if err != nil {
		return nil, err
	}
	m := new(meta)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("read meta of %s: %w", key, err)
	}
	return m, nil
}

// list gives the ETags, by key, of an object or of all objects below a folder.
func (s *storage) list(path string) (map[string]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	found := map[string]string{}
	err := fs.WalkDir(s.root.FS(), strings.TrimSuffix(path, "/"), func(key string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		m, err := s.stat(key)
		if err == nil {
			found[key] = m.ETag
		}
		return ignore(err, fs.ErrNotExist) // a folder is none
	})
	return found, ignore(err, fs.ErrNotExist)
}

func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

// open gives an object as it is now; a later replacement leaves the open file alone.
func (s *storage) open(key string) (*os.File, *meta, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m, err := s.stat(key)
	if err != nil {
		return nil, nil, fmt.Errorf("open object %s: %w", key, err)
	}
	file, err := s.root.Open(key)
	if err != nil {
		return nil, nil, fmt.Errorf("open object %s: %w", key, err)
	}
	return file, m, nil
}

func (s *storage) read(key string) ([]byte, error) {
	file, _, err := s.open(key)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(file)
	return data, errors.Join(err, file.Close())
}

// write stores an object of the queue's own.
func (s *storage) write(key string, data []byte, contentType string) error {
	_, err := s.put(meta{Key: key, ContentType: contentType}, bytes.NewReader(data), int64(len(data)), nil)
	return err
}

package upload

import (
	"encoding/base64"
	"hash"
	"strings"

	"github.com/minio/crc64nvme"
)

// Digest is the CRC-64/NVME of an object: "crc64nvme:" and the base64 of its 8 bytes, big endian,
// as object storages write it in the header x-amz-checksum-crc64nvme. It guards against accidents, not against forgers.
type Digest string

const (
	digestPrefix = "crc64nvme:"
	digestHeader = "X-Amz-Checksum-Crc64nvme"
)

// Sum is the digest of b.
func Sum(b []byte) Digest {
	h := crc64nvme.New()
	h.Write(b)
	return digestOf(h)
}

func digestOf(h hash.Hash64) Digest {
	return Digest(digestPrefix + base64.StdEncoding.EncodeToString(h.Sum(nil)))
}

// base64 is the digest as the storage writes it.
func (d Digest) base64() string { return strings.TrimPrefix(string(d), digestPrefix) }

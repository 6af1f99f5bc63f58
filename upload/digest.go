package upload

import (
	"encoding/base64"
	"encoding/binary"
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
	return digestOfSum(crc64nvme.Checksum(b))
}

func digestOf(h hash.Hash64) Digest { return digestOfSum(h.Sum64()) }

// digestOfSum is the digest of a CRC.
func digestOfSum(crc uint64) Digest {
	var sum [8]byte
	binary.BigEndian.PutUint64(sum[:], crc)
	text := append(make([]byte, 0, 32), digestPrefix...)
	return Digest(base64.StdEncoding.AppendEncode(text, sum[:]))
}

// base64 is the digest as the storage writes it.
func (d Digest) base64() string { return strings.TrimPrefix(string(d), digestPrefix) }

package upload

import (
	"encoding/base64"
	"encoding/binary"
)

// nvme is the polynomial of CRC-64/NVME, its bits reversed.
const nvme = 0x9a6c9329ac4bc9b5

// combine is the CRC of two pieces after one another, from the CRC of each and the length of the second.
// A CRC is a remainder of polynomials: the first is moved up by multiplying it with x to the number of bits that follow.
func combine(first, second uint64, length int64) uint64 {
	shift := uint64(1) << 63 // 1
	power := uint64(1) << 55 // x^8, one byte
	for ; length > 0; length >>= 1 {
		if length&1 == 1 {
			shift = multiply(shift, power)
		}
		power = multiply(power, power)
	}
	return multiply(shift, first) ^ second
}

// multiply multiplies two polynomials, modulo that of the CRC.
func multiply(a, b uint64) uint64 {
	var product uint64
	for ; a != 0; a <<= 1 {
		if a>>63 == 1 {
			product ^= b
		}
		carry := b & 1
		b >>= 1
		if carry == 1 {
			b ^= nvme
		}
	}
	return product
}

// sum is the number of a digest made by this package.
func (d Digest) sum() uint64 {
	b, err := base64.StdEncoding.DecodeString(d.base64())
	if err != nil || len(b) != 8 {
		return 0 // cannot happen: digestOf makes them
	}
	return binary.BigEndian.Uint64(b)
}

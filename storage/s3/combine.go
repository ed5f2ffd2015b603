package s3

import (
	"encoding/base64"
	"encoding/binary"
)

// A CRC is a remainder in GF(2)[x], so that of two runs of bytes is that of the first
// times x^(8 n), plus that of the second, which has n bytes. The same trick is in zlib's
// crc32_combine; here for any reflected CRC that begins and ends inverted.

// multiply multiplies in GF(2)[x] modulo the CRC's polynomial; the highest bit is x^0.
func (a *algorithm) multiply(x, y uint64) uint64 {
	top := uint64(1) << (a.bytes*8 - 1)
	var sum uint64
	for bit := top; bit != 0; bit >>= 1 {
		if x&bit != 0 {
			sum ^= y
		}
		odd := y & 1
		y >>= 1
		if odd != 0 {
			y ^= a.poly
		}
	}
	return sum
}

// shift is x^(8 n).
func (a *algorithm) shift(n int64) uint64 {
	top := uint64(1) << (a.bytes*8 - 1)
	out, square := top, top>>8 // 1 and x^8
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			out = a.multiply(out, square)
		}
		square = a.multiply(square, square)
	}
	return out
}

// combine is the CRC of bytes with CRC one, followed by n bytes with CRC two.
func (a *algorithm) combine(one, two uint64, n int64) uint64 {
	return a.multiply(a.shift(n), one) ^ two
}

// number is a CRC's sum as a number, text the other way round.
func (a *algorithm) number(sum string) (uint64, bool) {
	b, err := base64.StdEncoding.DecodeString(sum)
	switch {
	case err != nil || len(b) != a.bytes:
		return 0, false
	case a.bytes == 4:
		return uint64(binary.BigEndian.Uint32(b)), true
	}
	return binary.BigEndian.Uint64(b), true
}

func (a *algorithm) text(n uint64) string {
	b := binary.BigEndian.AppendUint64(nil, n)
	return base64.StdEncoding.EncodeToString(b[8-a.bytes:])
}

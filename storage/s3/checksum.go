package s3

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"net/http"
	"strings"

	"polder.dev/polder/storage"
)

// algorithm is a checksum that clients may send ("Checking object integrity in Amazon
// S3"). Values are base64 of the sum's bytes, and what Meta.Checksums holds by name.
type algorithm struct {
	name    string
	header  string // canonical
	element string // in XML
	bytes   int
	make    func() hash.Hash
	// poly is a CRC's reversed polynomial, by which sums of parts become the whole's; 0
	// for what has no such sums.
	poly uint64
}

const nvme = 0x9a6c9329ac4bc9b5

var (
	tableC    = crc32.MakeTable(crc32.Castagnoli)
	tableNVME = crc64.MakeTable(nvme)
)

var algorithms = []*algorithm{
	{"CRC32", "X-Amz-Checksum-Crc32", "ChecksumCRC32", 4, func() hash.Hash { return crc32.NewIEEE() }, crc32.IEEE},
	{"CRC32C", "X-Amz-Checksum-Crc32c", "ChecksumCRC32C", 4, func() hash.Hash { return crc32.New(tableC) }, crc32.Castagnoli},
	{"CRC64NVME", "X-Amz-Checksum-Crc64nvme", "ChecksumCRC64NVME", 8, func() hash.Hash { return crc64.New(tableNVME) }, nvme},
	{"SHA1", "X-Amz-Checksum-Sha1", "ChecksumSHA1", sha1.Size, sha1.New, 0},
	{"SHA256", "X-Amz-Checksum-Sha256", "ChecksumSHA256", sha256.Size, sha256.New, 0},
}

// The types of a multipart object's checksum. What is composite is a checksum of the
// parts' checksums, and has their number behind a dash.
const (
	fullObject = "FULL_OBJECT"
	composite  = "COMPOSITE"
)

// algorithmOf finds one by its name in any case, or returns nil.
func algorithmOf(name string) *algorithm {
	for _, a := range algorithms {
		if strings.EqualFold(a.name, name) {
			return a
		}
	}
	return nil
}

// typeOf says which type a stored checksum has.
func typeOf(sum string) string {
	if strings.Contains(sum, "-") { // no digit of base64
		return composite
	}
	return fullObject
}

// checksum is what a request says of its body's checksum.
type checksum struct {
	algorithm *algorithm // nil where it says nothing
	want      string     // "" where it comes in a trailer, or only the algorithm is named
	trailer   bool
}

// checksum reads the headers that are about the body.
func (q *request) checksum() (checksum, error) {
	var c checksum
	for _, a := range algorithms {
		v, ok := q.r.Header[a.header]
		if !ok {
			continue
		}
		if c.algorithm != nil {
			return c, fail("InvalidRequest", "Expecting a single x-amz-checksum- header, and there are several.")
		}
		if !a.valid(v[0]) {
			return c, fail("InvalidRequest", "Value for %s header is invalid: it must be base64 of %d bytes.", strings.ToLower(a.header), a.bytes)
		}
		c.algorithm, c.want = a, v[0]
	}
	for n := range strings.SplitSeq(q.header("X-Amz-Trailer"), ",") {
		name := strings.TrimSpace(n)
		if a := algorithmOfHeader(name); a != nil {
			if c.algorithm != nil {
				return c, fail("InvalidRequest", "Expecting a single x-amz-checksum- header or trailer, and there are several.")
			}
			c.algorithm, c.trailer = a, true
		} else if name != "" {
			return c, fail("InvalidRequest", "The value %q of x-amz-trailer is not the name of a checksum that this server knows.", name)
		}
	}
	named := q.header("X-Amz-Sdk-Checksum-Algorithm")
	if named == "" {
		return c, nil
	}
	a := algorithmOf(named)
	switch {
	case a == nil:
		return c, fail("InvalidRequest", "Checksum algorithm %q is not one of CRC32, CRC32C, CRC64NVME, SHA1 and SHA256.", named)
	case c.algorithm == nil:
		c.algorithm = a
	case c.algorithm != a:
		return c, fail("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid: the checksum sent is of %s.", c.algorithm.name)
	}
	return c, nil
}

func algorithmOfHeader(name string) *algorithm {
	name = http.CanonicalHeaderKey(name)
	for _, a := range algorithms {
		if a.header == name {
			return a
		}
	}
	return nil
}

func (a *algorithm) valid(sum string) bool {
	b, err := base64.StdEncoding.DecodeString(sum)
	return err == nil && len(b) == a.bytes
}

// showChecksums adds the checksums of an object to an answer's head.
func showChecksums(h http.Header, info *storage.Info) {
	for _, a := range algorithms {
		if sum := info.Meta.Checksums[a.name]; sum != "" {
			h[a.header] = []string{sum}
			h["X-Amz-Checksum-Type"] = []string{typeOf(sum)}
		}
	}
}

// writeChecksums adds them to an answer's XML.
func writeChecksums(x *answer, sums map[string]string) {
	for _, a := range algorithms {
		x.some(a.element, sums[a.name])
	}
}

package engine

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	"polder.dev/polder/storage"
)

// Keys of the ledger. A bucket's number is that of the batch that made it, so a bucket
// that is made anew has another. Object keys hold no zero byte, so one ends them.
//
//	b NAME                          a bucket
//	c BUCKET KEY                    the newest version, if it is no delete marker
//	v BUCKET KEY 0 ^REV             other versions and delete markers, newest first
//	u BUCKET KEY 0 UPLOAD           an upload
//	p BUCKET KEY 0 UPLOAD NUMBER    a part, of an upload or of an object made of it
//	e TIME BUCKET REV KEY           when a version expires
//	g BUCKET REV VERSION KEY        a place that no version refers to
const (
	kindBucket  = 'b'
	kindCurrent = 'c'
	kindOlder   = 'v'
	kindUpload  = 'u'
	kindPart    = 'p'
	kindExpiry  = 'e'
	kindLoose   = 'g'
)

func bucketKey(name string) []byte { return append([]byte{kindBucket}, name...) }

// space is the prefix of all keys of a kind in a bucket.
func space(kind byte, bucket uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, bucket)
}

func currentKey(bucket uint64, key string) []byte {
	b := append(make([]byte, 0, 9+len(key)), kindCurrent)
	return append(binary.BigEndian.AppendUint64(b, bucket), key...)
}

// group is the prefix of what there may be several of for one key.
func group(kind byte, bucket uint64, key string) []byte {
	return append(append(space(kind, bucket), key...), 0)
}

func olderKey(bucket uint64, key string, rev uint64) []byte {
	return binary.BigEndian.AppendUint64(group(kindOlder, bucket, key), ^rev)
}

func uploadKey(bucket uint64, key string, upload uint64) []byte {
	return binary.BigEndian.AppendUint64(group(kindUpload, bucket, key), upload)
}

func partsPrefix(bucket uint64, key string, upload uint64) []byte {
	return binary.BigEndian.AppendUint64(group(kindPart, bucket, key), upload)
}

func partKey(bucket uint64, key string, upload uint64, number int) []byte {
	return binary.BigEndian.AppendUint16(partsPrefix(bucket, key, upload), uint16(number))
}

func expiryKey(unixSeconds int64, bucket, rev uint64, key string) []byte {
	b := space(kindExpiry, uint64(max(unixSeconds, 0)))
	b = binary.BigEndian.AppendUint64(b, bucket)
	b = binary.BigEndian.AppendUint64(b, rev)
	return append(b, key...)
}

// looseKey is of the batch that wrote it and of the version that the place was for.
func looseKey(bucket, rev, version uint64, key string) []byte {
	b := binary.BigEndian.AppendUint64(space(kindLoose, bucket), rev)
	b = binary.BigEndian.AppendUint64(b, version)
	return append(b, key...)
}

// looseHead is how many bytes of a note's key come before the object's key.
const looseHead = 1 + 3*8

// objectKey takes the object's key out of a ledger's key.
func objectKey(k []byte) string {
	switch k[0] {
	case kindOlder, kindUpload:
		return string(k[9 : len(k)-9])
	case kindPart:
		return string(k[9 : len(k)-11])
	}
	return string(k[9:])
}

// PartOf tells which part a ledger's key belongs to, as Part.ID says it. Keys of
// buckets belong to the zero part.
func PartOf(k []byte) (string, error) {
	short := map[byte]int{kindBucket: 1, kindCurrent: 10, kindOlder: 19, kindUpload: 19, kindPart: 21, kindExpiry: 26, kindLoose: looseHead + 1}
	if len(k) == 0 || short[k[0]] == 0 || len(k) < short[k[0]] {
		return "", fmt.Errorf("%w: no such key of the ledger: %q", storage.ErrCorrupt, k)
	}
	switch k[0] {
	case kindBucket:
		return "", nil
	case kindExpiry:
		return string(k[9:17]) + string(k[25:]), nil
	case kindLoose:
		return string(k[1:9]) + string(k[looseHead:]), nil
	}
	return string(k[1:9]) + objectKey(k), nil
}

// RangesOf returns the ranges [from, to) in which all entries of a part lie, but for
// notes, which need not move with it.
func RangesOf(id string) [][2][]byte {
	if len(id) < 9 {
		return nil
	}
	bucket, key := binary.BigEndian.Uint64([]byte(id)), id[8:]
	out := [][2][]byte{{currentKey(bucket, key), append(currentKey(bucket, key), 0)}}
	for _, kind := range []byte{kindOlder, kindUpload, kindPart} {
		g := group(kind, bucket, key)
		out = append(out, [2][]byte{g, after(g)})
	}
	return out
}

// BucketRange is where the entries of the zero part lie.
func BucketRange() [2][]byte { return [2][]byte{{kindBucket}, {kindBucket + 1}} }

// IsNote reports whether a key is a note, of expiry or of a place, which is moved alone.
func IsNote(k []byte) bool { return k[0] == kindExpiry || k[0] == kindLoose }

// after is the first key above all that begin with prefix.
func after(prefix []byte) []byte {
	b := append([]byte(nil), prefix...)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			return b[:i+1]
		}
	}
	return nil
}

func idOf(n uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return hex.EncodeToString(b[:])
}

func parseID(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 16, 64)
	return n, err == nil && len(s) == 16
}

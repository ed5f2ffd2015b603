package storage

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of names. A bucket's is room for an account's name and a Swift container's
// (256 bytes), joined by a slash; both protocols have 1024 for keys.
const (
	BucketNameBytesMax = 520
	KeyBytesMax        = 1024
)

// CheckBucket says what is wrong with a bucket's name, as ErrInvalid. Front doors may be
// stricter: S3 allows 3 to 63 letters, digits, dots and dashes.
func CheckBucket(name string) error {
	switch {
	case name == "" || len(name) > BucketNameBytesMax:
		return fmt.Errorf("%w: a bucket's name has 1 to %d bytes, not %d", ErrInvalid, BucketNameBytesMax, len(name))
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: bucket name %q is not UTF-8", ErrInvalid, name)
	case strings.Contains(name, "\x00"):
		return fmt.Errorf("%w: bucket name %q holds a zero byte", ErrInvalid, name)
	}
	return nil
}

// CheckKey says what is wrong with an object's key, as ErrInvalid.
func CheckKey(key string) error {
	switch {
	case key == "" || len(key) > KeyBytesMax:
		return fmt.Errorf("%w: a key has 1 to %d bytes, not %d", ErrInvalid, KeyBytesMax, len(key))
	case !utf8.ValidString(key):
		return fmt.Errorf("%w: key %q is not UTF-8", ErrInvalid, key)
	case strings.Contains(key, "\x00"):
		return fmt.Errorf("%w: key %q holds a zero byte", ErrInvalid, key)
	}
	return nil
}

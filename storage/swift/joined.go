package swift

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"maps"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/manifest"
)

// joined says that an object is one of its own whose ETag is no MD5: S3's clients made it
// of parts, or its bucket is sealed or has plain ETags. Swift's clients compare MD5s of
// what they read, but not of large objects; so it is shown as one, as Swift's own S3 door
// shows what is made of parts. It has no segments that could be read or deleted.
func joined(i *storage.Info) bool {
	return strings.Contains(i.ETag, "-") && manifest.Plain(&i.Meta)
}

// noSegments turns what is sent into the manifest of a joined object, which is empty: who
// deletes a large object by its manifest deletes the object alone.
func (s *seen) noSegments() {
	list := []byte("[]")
	sum := md5.Sum(list)
	_ = s.Close() // nothing was read
	s.info.Size, s.info.ETag = int64(len(list)), hex.EncodeToString(sum[:])
	s.info.Meta.ContentType = "application/json; charset=utf-8"
	s.info.Meta.Headers = maps.Clone(s.info.Meta.Headers)
	delete(s.info.Meta.Headers, "Content-Encoding") // the object's, not the manifest's
	s.quote = false
	s.Opened.Object = memory{info: s.info, Reader: bytes.NewReader(list)}
}

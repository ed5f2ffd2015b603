package transfer

import (
	"encoding/base64"
	"errors"
	"hash/crc32"
	"net/http"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
)

// putPlain makes an object of parts as older clients do: with CRC32s of the parts, or
// with nothing but ETags.
func (w *world) putPlain(key string, sums bool, parts ...string) {
	w.t.Helper()
	ctx := w.t.Context()
	o := minio.PutObjectOptions{UserMetadata: map[string]string{}}
	if sums {
		o.UserMetadata["X-Amz-Checksum-Algorithm"] = "CRC32"
	}
	id, err := w.c.core.NewMultipartUpload(ctx, bucketName, key, o)
	if err != nil {
		w.t.Fatal(err)
	}
	var all []minio.CompletePart
	for i, text := range parts {
		po := minio.PutObjectPartOptions{DisableContentSha256: true, CustomHeader: http.Header{}}
		if sums {
			h := crc32.NewIEEE()
			h.Write([]byte(text))
			po.CustomHeader.Set("X-Amz-Checksum-Crc32", base64.StdEncoding.EncodeToString(h.Sum(nil)))
		}
		p, err := w.c.core.PutObjectPart(ctx, bucketName, key, id, i+1, strings.NewReader(text), int64(len(text)), po)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, minio.CompletePart{PartNumber: i + 1, ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32})
	}
	if _, err := w.c.core.CompleteMultipartUpload(ctx, bucketName, key, id, all, minio.PutObjectOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// TestObjectsOfOtherClientsAreVerified by what their parts' checksums tell, and are not
// taken for damaged where those tell nothing.
func TestObjectsOfOtherClientsAreVerified(t *testing.T) {
	w := newWorld(t)
	large, larger, rest := noise(1, 6<<20), noise(2, 8<<20), noise(3, 1<<20)
	for name, tc := range map[string]struct {
		sums     bool
		parts    []string
		verified bool
	}{
		"checksums of parts":                   {true, []string{large, large, rest}, true},
		"one part":                             {true, []string{rest}, true},
		"only ETags":                           {false, []string{large, large, rest}, true},
		"parts of other sizes, as many":        {true, []string{large, larger, rest}, false},
		"parts of other sizes, and only ETags": {false, []string{larger, large, large, large}, false},
	} {
		w.through(nil)
		key := strings.ReplaceAll(name, " ", "-")
		w.putPlain(key, tc.sums, tc.parts...)
		o, err := w.c.stat(t.Context(), at(key), "")
		if err != nil {
			t.Fatal(err)
		}
		if proofOf(o).known() { // then the store has made one of its own, and parts do not matter
			tc.verified = true
		}
		text := strings.Join(tc.parts, "")
		dir := t.TempDir()
		got := w.all(w.c.Copying(t.Context(), at(key), local(dir, "f"), false))
		holds(t, dir, map[string]string{"f": text})
		if verified := got.Unverified.Load() == 0; verified != tc.verified {
			t.Errorf("%s: verified %v, want %v", name, verified, tc.verified)
		}
		if same, err := w.c.sameContent(t.Context(), open(t, dir), "f", at(key), o); err != nil || same != tc.verified {
			t.Errorf("%s: same %v, %v", name, same, err)
		}
		var m Meter
		w.through(func(rw http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(&liar{rw}, r) })
		err = w.c.Read(t.Context(), at(key), "", &strings.Builder{}, &m)
		if damaged := errors.Is(err, ErrDigest); damaged != tc.verified {
			t.Errorf("%s: damage is found: %v (%v)", name, damaged, err)
		}
	}
}

// Package dataset writes and reads the manifests of data sets: which objects lay below a
// prefix of a bucket at one moment, with their versions and hashes. A manifest is named
// by its own SHA-256, so what a job trained on can be told for good. docs/formats/dataset.md
// is its page.
//
// Anybody may import it. It knows no protocol: Freeze works on a storage.Bucket, and a
// reader takes any stream.
package dataset

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"

	"polder.dev/polder/storage"
)

// Own is the prefix of the keys that Polder keeps in a bucket for itself: manifests. No
// data set holds them.
const Own = ".polder/"

// format is the version of the manifest's form.
const format = 1

// lineBytesMax bounds a line: a key and its version with room to spare.
const lineBytesMax = 16 << 10

// Head is a manifest's first line.
type Head struct {
	Format int    `json:"polderDataset"`
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix,omitempty"`
	// Pinned says that entries name versions that stay.
	Pinned bool `json:"pinned,omitempty"`
}

// Entry is one object, a line each, in the order of keys.
type Entry struct {
	// Path is the key without the manifest's prefix.
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	ETag    string `json:"etag"`
	Version string `json:"version,omitempty"`
}

// Frozen is what Freeze made.
type Frozen struct {
	Digest   string // sha256: and hexadecimal
	Key      string // of the manifest in the bucket
	Objects  int64
	Bytes    int64
	Pinned   bool
	Manifest int64 // its bytes
}

// Key is where the manifest with a digest lies in its bucket.
func Key(digest string) string {
	return Own + "datasets/" + strings.TrimPrefix(digest, "sha256:") + ".jsonl"
}

// Freeze lists what is below prefix, writes the manifest into the bucket and returns what
// it is. name is how clients call the bucket. Listing is in pages, so what is written
// meanwhile may or may not be in it; what is in it is one version of each object.
func Freeze(ctx context.Context, b storage.Bucket, name, prefix string) (Frozen, error) {
	info, err := b.Info(ctx)
	if err != nil {
		return Frozen{}, err
	}
	f := Frozen{Pinned: info.Settings.Versioning == storage.Versioned}
	sum := sha256.New()
	if err := write(ctx, b, Head{format, name, prefix, f.Pinned}, sum, &f); err != nil {
		return Frozen{}, fmt.Errorf("listing %s: %w", name, err)
	}
	f.Digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	f.Key = Key(f.Digest)
	// The manifest is made a second time rather than held in memory; what changed in
	// between shows in its digest.
	again, second := sha256.New(), Frozen{}
	r, w := io.Pipe()
	go func() {
		_ = w.CloseWithError(write(ctx, b, Head{format, name, prefix, f.Pinned}, io.MultiWriter(w, again), &second))
	}()
	_, err = b.Put(ctx, f.Key, r, storage.PutOptions{
		Meta: storage.Meta{ContentType: "application/jsonl"},
		Seal: func(*storage.Meta) error { return same(sum, again) },
	})
	_ = r.Close()
	if err != nil {
		return Frozen{}, fmt.Errorf("writing the manifest of %s: %w", name, err)
	}
	return f, nil
}

// ErrChanged says that objects were written while they were listed; to try again helps.
var ErrChanged = errors.New("objects changed while they were listed")

func same(a, b hash.Hash) error {
	if string(a.Sum(nil)) != string(b.Sum(nil)) {
		return ErrChanged
	}
	return nil
}

// write makes the manifest's lines.
func write(ctx context.Context, b storage.Bucket, h Head, w io.Writer, f *Frozen) error {
	buf := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(h); err != nil {
		return err
	}
	for after := ""; ; {
		page, err := b.List(ctx, storage.ListOptions{Prefix: h.Prefix, After: after, Limit: 1000})
		if err != nil {
			return err
		}
		for i := range page.Objects {
			o := &page.Objects[i]
			e := Entry{Path: strings.TrimPrefix(o.Key, h.Prefix), Size: o.Size, ETag: o.ETag}
			if strings.HasPrefix(o.Key, Own) || e.Path == "" {
				continue
			}
			if h.Pinned {
				e.Version = o.Version
			}
			if err := enc.Encode(e); err != nil {
				return err
			}
			f.Objects++
			f.Bytes += o.Size
		}
		if !page.More {
			return buf.Flush()
		}
		after = page.Next
	}
}

// Read calls each for the entries of a manifest, and returns its head when all of it was
// read and its digest is right. Entries come before that is known: who acts on them must
// be able to take it back.
func Read(r io.Reader, digest string, each func(Head, Entry) error) (Head, error) {
	sum := sha256.New()
	lines := bufio.NewScanner(io.TeeReader(r, sum))
	lines.Buffer(make([]byte, 0, lineBytesMax), lineBytesMax)
	var h Head
	if !lines.Scan() {
		return h, errors.Join(errors.New("manifest is empty"), lines.Err())
	}
	if err := json.Unmarshal(lines.Bytes(), &h); err != nil {
		return h, fmt.Errorf("reading the manifest's head: %w", err)
	}
	if h.Format != format {
		return h, fmt.Errorf("manifest has format %d, and this program knows %d", h.Format, format)
	}
	for n := 2; lines.Scan(); n++ {
		var e Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return h, fmt.Errorf("line %d of the manifest: %w", n, err)
		}
		if e.Path == "" || e.Size < 0 {
			return h, fmt.Errorf("line %d of the manifest names no object", n)
		}
		if err := each(h, e); err != nil {
			return h, err
		}
	}
	if err := lines.Err(); err != nil {
		return h, fmt.Errorf("reading the manifest: %w", err)
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != digest {
		return h, fmt.Errorf("the manifest's digest is %s, not %s: it is damaged, or another's", got, digest)
	}
	return h, nil
}

// File says where an entry, or the rest of a key, lies below a directory: the path itself
// if it is one of a file inside it, else an error. Keys may be anything; files may not.
func File(p string) (string, error) {
	clean := path.Clean("/" + p)[1:]
	if clean != p || p == "" || strings.ContainsAny(p, "\x00\\") {
		return "", fmt.Errorf("key %q cannot be the name of a file below a directory", p)
	}
	return p, nil
}

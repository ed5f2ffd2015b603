package s3

import (
	"os"
	"path/filepath"

	"polder.dev/polder/storage"
)

// handoverBytesMax bounds the body of a handover: that of a file of 1 TiB fits.
const handoverBytesMax = 64<<20 + 8

// putHandover is PutObject of a file of this machine, whose checksums are the body. It is
// for programs that share a directory with the store; to others there is no such thing.
func (q *request) putHandover(m storage.Meta, name string) error {
	if q.s.handovers == "" {
		return storage.ErrNoHandover
	}
	path := filepath.Join(q.s.handovers, name)
	if i, err := os.Lstat(path); err != nil || !filepath.IsLocal(name) || !i.Mode().IsRegular() {
		return fail("InvalidArgument", "%s must name a file of the directory that is shared, not %q.", storage.HandoverHeader, name)
	}
	body, err := q.readAll(handoverBytesMax)
	if err != nil {
		return err
	}
	h, err := storage.DecodeHandover(path, body)
	if err != nil {
		return err
	}
	if err := q.room(h.Size); err != nil {
		return err
	}
	info, err := q.bucket.Put(q.ctx, q.key, h, storage.PutOptions{Meta: m, Size: h.Size, If: q.writeConditions()})
	if err != nil {
		return err
	}
	return q.made(&info)
}

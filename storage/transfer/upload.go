package transfer

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"
)

// counted is a body whose bytes are counted, and taken back when it is sent again.
type counted struct {
	*io.SectionReader
	m *Meter
	n int64
}

func (b *counted) Read(p []byte) (int, error) {
	n, err := b.SectionReader.Read(p)
	b.n += int64(n)
	b.m.Bytes.Add(int64(n))
	if err == io.EOF && b.n < b.Size() { // the file has become shorter
		err = ErrChanged
	}
	return n, err
}

// Seek implements io.Seeker; the client seeks to the start of what it sends again.
func (b *counted) Seek(offset int64, whence int) (int64, error) {
	at, err := b.SectionReader.Seek(offset, whence)
	b.m.Bytes.Add(at - b.n)
	b.n = at
	return at, err
}

func (b *counted) undo() {
	b.m.Bytes.Add(-b.n)
	b.n = 0
}

// metaOf is what is stored beside a file's bytes.
func metaOf(name string, modified time.Time) minio.PutObjectOptions {
	o := minio.PutObjectOptions{
		ContentType:          mime.TypeByExtension(strings.ToLower(path.Ext(name))),
		DisableContentSha256: true, // or the library would send in chunks that old servers refuse
		UserMetadata:         map[string]string{},
	}
	if !modified.IsZero() {
		o.UserMetadata[mtimeKey] = formatTime(modified)
	}
	return o
}

// upload stores a file of t under to.
func (c *Client) upload(ctx context.Context, t *tree, name string, to Address, m *Meter) error {
	f, info, err := t.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	put := c.putFile
	if info.Size() > 2*c.cfg.PartBytes {
		put = c.putParts
	}
	return put(ctx, f, info, t.path(name), to, m)
}

// same says with ErrChanged that a file is no longer what info says.
func same(f *os.File, info fs.FileInfo, name string) error {
	now, err := f.Stat()
	if err != nil {
		return err
	}
	if now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime()) {
		return fmt.Errorf("%s: %w", name, ErrChanged)
	}
	return nil
}

// putFile uploads a file by one request.
func (c *Client) putFile(ctx context.Context, f *os.File, info fs.FileInfo, name string, to Address, m *Meter) error {
	done, err := c.slot(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := c.putBody(ctx, f, info.Size(), metaOf(to.Key, info.ModTime()), to, m); err != nil {
		return err
	}
	return same(f, info, name)
}

// putBody uploads n bytes of r by one request.
func (c *Client) putBody(ctx context.Context, r io.ReaderAt, n int64, o minio.PutObjectOptions, to Address, m *Meter) error {
	sent, err := c.sumsOf(io.NewSectionReader(r, 0, n))
	if err != nil {
		return fmt.Errorf("reading for %s: %w", to, plainError(err))
	}
	o.UserMetadata[crcHeader] = sent.crc
	body := &counted{SectionReader: io.NewSectionReader(r, 0, n), m: m}
	var got minio.UploadInfo
	err = c.try(ctx, func() (err error) {
		if got, err = c.core.PutObject(ctx, to.Bucket, to.Key, body, n, "", sent.sha256, o); err != nil {
			body.undo()
		}
		return err
	})
	if err == nil {
		err = stored(io.NewSectionReader(r, 0, n), sent, got.ChecksumCRC64NVME, got.ETag)
	}
	return explain(err, to)
}

// partSize is how large the parts of an object of size are: as configured, or larger
// where S3 would not allow as many.
func (c *Client) partSize(size int64) int64 { return partSize(size, c.cfg.PartBytes) }

const partsMax = 10_000

func partSize(size, least int64) int64 {
	const unit = 1 << 20
	need := (size + partsMax - 1) / partsMax
	need = (need + unit - 1) / unit * unit
	return max(least, need)
}

func partCount(size, part int64) int { return int((size + part - 1) / part) }

// putParts uploads a file as parts, those that an earlier try has left included.
func (c *Client) putParts(ctx context.Context, f *os.File, info fs.FileInfo, name string, to Address, m *Meter) error {
	u, err := c.openUpload(ctx, f, info, to)
	if err != nil {
		return explain(err, to)
	}
	defer u.close()
	err = c.sendParts(ctx, u, f, info.Size(), m)
	if err == nil {
		err = same(f, info, name)
	}
	if err == nil {
		err = c.complete(ctx, u)
	}
	switch {
	case err == nil:
		u.forget()
	case ctx.Err() == nil && !temporary(err): // to go on would end the same way
		c.abort(ctx, u)
	}
	return explain(err, to)
}

func (c *Client) sendParts(ctx context.Context, u *upload, f io.ReaderAt, size int64, m *Meter) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.cfg.Parallel)
	u.parts = make([]minio.CompletePart, partCount(size, u.state.Part))
	for i := range u.parts {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			done, err := c.slot(ctx)
			if err != nil {
				return err
			}
			defer done()
			from := int64(i) * u.state.Part
			n := min(u.state.Part, size-from)
			p, err := c.sendPart(ctx, u, i+1, io.NewSectionReader(f, from, n), m)
			u.parts[i] = p
			return err
		})
	}
	return g.Wait()
}

// sendPart uploads a part, unless the store has these bytes as that part already.
func (c *Client) sendPart(ctx context.Context, u *upload, number int, part *io.SectionReader, m *Meter) (minio.CompletePart, error) {
	sent, err := c.sumsOf(part)
	if err != nil {
		return minio.CompletePart{}, plainError(err)
	}
	if have, ok := u.there[number]; ok && have.Size == part.Size() && (have.ChecksumCRC64NVME != "" || plainETag.MatchString(have.ETag)) &&
		stored(part, sent, have.ChecksumCRC64NVME, have.ETag) == nil {
		m.Bytes.Add(part.Size())
		m.Reused.Add(part.Size())
		return completed(have), nil
	}
	body := &counted{SectionReader: io.NewSectionReader(part, 0, part.Size()), m: m}
	o := minio.PutObjectPartOptions{Sha256Hex: sent.sha256, DisableContentSha256: true, CustomHeader: http.Header{crcHeader: {sent.crc}}}
	var got minio.ObjectPart
	err = c.try(ctx, func() (err error) {
		if got, err = c.core.PutObjectPart(ctx, u.to.Bucket, u.to.Key, u.state.ID, number, body, part.Size(), o); err != nil {
			body.undo()
		}
		return err
	})
	if err != nil {
		return minio.CompletePart{}, err
	}
	return completed(got), stored(part, sent, got.ChecksumCRC64NVME, got.ETag)
}

func completed(p minio.ObjectPart) minio.CompletePart {
	return minio.CompletePart{PartNumber: p.PartNumber, ETag: strings.Trim(p.ETag, `"`), ChecksumCRC64NVME: p.ChecksumCRC64NVME}
}

// complete makes the object. An answer may be lost although the store did it; then the
// upload is gone, and the object is there with the file's time and these parts.
func (c *Client) complete(ctx context.Context, u *upload) error {
	o := minio.PutObjectOptions{DisableContentSha256: true, UserMetadata: map[string]string{}}
	if u.parts[0].ChecksumCRC64NVME != "" {
		o.UserMetadata["X-Amz-Checksum-Type"] = "FULL_OBJECT"
	}
	err := c.try(ctx, func() error {
		_, err := c.core.CompleteMultipartUpload(ctx, u.to.Bucket, u.to.Key, u.state.ID, u.parts, o)
		return err
	})
	if codeOf(err) != minio.NoSuchUpload {
		return err
	}
	got, serr := c.s3.StatObject(ctx, u.to.Bucket, u.to.Key, minio.StatObjectOptions{})
	if serr == nil && got.Size == u.state.Size && got.UserMetadata[mtimeKey] == formatTime(u.state.Modified) {
		if want := etagOf(u.parts); want == "" || want == got.ETag {
			return nil
		}
	}
	return err
}

// etagOf is the ETag of an object of these parts, or "" where their own are no MD5s.
func etagOf(parts []minio.CompletePart) string {
	h := md5.New()
	for _, p := range parts {
		b, err := hex.DecodeString(p.ETag)
		if err != nil || len(b) != md5.Size {
			return ""
		}
		h.Write(b)
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), len(parts))
}

// abort gives back what the store holds of an upload that cannot succeed.
func (c *Client) abort(ctx context.Context, u *upload) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := c.core.AbortMultipartUpload(ctx, u.to.Bucket, u.to.Key, u.state.ID); err == nil || codeOf(err) == minio.NoSuchUpload {
		u.forget()
	}
}

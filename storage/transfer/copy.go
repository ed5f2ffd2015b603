package transfer

import (
	"context"
	"errors"
	"net/http"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"
)

// copyObject copies inside the store: by one request, or by parts where the object is
// larger than S3 copies at once. What is copied is the object as it is now.
func (c *Client) copyObject(ctx context.Context, from Address, version string, size int64, to Address, m *Meter) error {
	if size <= c.copyOneMax {
		return c.copyOne(ctx, from, version, size, to, m)
	}
	o, err := c.stat(ctx, from, version)
	if err != nil {
		return explain(err, from)
	}
	if o.Size <= c.copyOneMax {
		return c.copyOne(ctx, from, version, o.Size, to, m)
	}
	return c.copyParts(ctx, from, version, o, to, m)
}

func (c *Client) copyOne(ctx context.Context, from Address, version string, size int64, to Address, m *Meter) error {
	done, err := c.slot(ctx)
	if err != nil {
		return err
	}
	defer done()
	err = c.try(ctx, func() error {
		got, err := c.s3.CopyObject(ctx, minio.CopyDestOptions{Bucket: to.Bucket, Object: to.Key}, minio.CopySrcOptions{Bucket: from.Bucket, Object: from.Key, VersionID: version})
		if err == nil && got.ETag == "" { // an error after the answer had begun with 200
			err = minio.ErrorResponse{Code: "InternalError", Message: "the store did not finish the copy"}
		}
		return err
	})
	if err != nil {
		return explain(err, either(err, from, to))
	}
	m.Bytes.Add(size)
	return nil
}

// either is what an error of a copy is about.
func either(err error, from, to Address) Address {
	if codeOf(err) == minio.NoSuchBucket {
		var e minio.ErrorResponse
		if errors.As(err, &e); e.BucketName == to.Bucket && e.BucketName != "" {
			return to
		}
	}
	return from
}

// copyParts keeps metadata and tags, which an upload of parts does not take over.
func (c *Client) copyParts(ctx context.Context, from Address, version string, o minio.ObjectInfo, to Address, m *Meter) error {
	opts, err := c.takeOver(ctx, from, version, o)
	if err != nil {
		return explain(err, from)
	}
	var id string
	err = c.try(ctx, func() (err error) {
		id, err = c.core.NewMultipartUpload(ctx, to.Bucket, to.Key, opts)
		return err
	})
	if err != nil {
		return explain(err, to)
	}
	u := &upload{to: to, state: uploadState{ID: id, Size: o.Size, Part: partSize(o.Size, c.copyPart)}}
	if t, ok := parseTime(o.UserMetadata[mtimeKey]); ok {
		u.state.Modified = t
	}
	var sent int64
	if sent, err = c.sendCopies(ctx, u, from, version, o, m); err == nil {
		err = c.complete(ctx, u)
	}
	if err != nil {
		m.Bytes.Add(-sent)
		c.abort(ctx, u)
	}
	return explain(err, either(err, from, to))
}

// takeOver is what an object of one upload would have to say to be like o.
func (c *Client) takeOver(ctx context.Context, from Address, version string, o minio.ObjectInfo) (minio.PutObjectOptions, error) {
	opts := minio.PutObjectOptions{
		ContentType: o.ContentType, ContentEncoding: o.ContentEncoding, ContentDisposition: o.Headers.Get("Content-Disposition"),
		ContentLanguage: o.Headers.Get("Content-Language"), CacheControl: o.Headers.Get("Cache-Control"), Expires: o.Expires, UserMetadata: map[string]string{},
	}
	for k, v := range o.UserMetadata {
		opts.UserMetadata["X-Amz-Meta-"+k] = v
	}
	if o.UserTagCount == 0 {
		return opts, nil
	}
	t, err := c.s3.GetObjectTagging(ctx, from.Bucket, from.Key, minio.GetObjectTaggingOptions{VersionID: version})
	if err == nil {
		opts.UserTags = t.ToMap()
	}
	return opts, err
}

func (c *Client) sendCopies(ctx context.Context, u *upload, from Address, version string, o minio.ObjectInfo, m *Meter) (int64, error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.cfg.Parallel)
	u.parts = make([]minio.CompletePart, partCount(o.Size, u.state.Part))
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
			at := int64(i) * u.state.Part
			n := min(u.state.Part, o.Size-at)
			u.parts[i], err = c.sendCopy(ctx, u, i+1, from, version, o.ETag, at, n)
			if err == nil {
				m.Bytes.Add(n)
			}
			return err
		})
	}
	err := g.Wait()
	var sent int64
	for i, p := range u.parts {
		if p.ETag != "" {
			sent += min(u.state.Part, o.Size-int64(i)*u.state.Part)
		}
	}
	return sent, err
}

func (c *Client) sendCopy(ctx context.Context, u *upload, number int, from Address, version, etag string, at, n int64) (part minio.CompletePart, err error) {
	header := map[string]string{"X-Amz-Copy-Source-If-Match": `"` + etag + `"`}
	source := from.Key
	if version != "" {
		h := http.Header{}
		minio.CopySrcOptions{Bucket: from.Bucket, Object: from.Key, VersionID: version}.Marshal(h)
		header["X-Amz-Copy-Source"] = h.Get("X-Amz-Copy-Source")
	}
	err = c.try(ctx, func() (err error) {
		part, err = c.core.CopyObjectPart(ctx, from.Bucket, source, u.to.Bucket, u.to.Key, u.state.ID, number, at, n, header)
		if err == nil && part.ETag == "" {
			err = minio.ErrorResponse{Code: "InternalError", Message: "the store did not finish the copy"}
		}
		return err
	})
	part.ETag = completed(minio.ObjectPart{ETag: part.ETag}).ETag
	return part, err
}

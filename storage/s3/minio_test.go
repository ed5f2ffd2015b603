package s3

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// TestMinio is a conversation with a client that others wrote: it signs in chunks, sends
// checksums in trailers and uploads in parts by itself.
func TestMinio(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for name, o := range map[string]*minio.Options{
		"bucket-v4": {Creds: credentials.NewStaticV4("MAIN", "main-secret", "")}, "bucket-v4-trailers": {Creds: credentials.NewStaticV4("MAIN", "main-secret", ""), TrailingHeaders: true},
		"bucket-v2": {Creds: credentials.NewStaticV2("MAIN", "main-secret", "")},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := minio.New(strings.TrimPrefix(w.url, "http://"), o)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.MakeBucket(ctx, name, minio.MakeBucketOptions{}); err != nil {
				t.Fatal(err)
			}
			if ok, err := c.BucketExists(ctx, name); !ok || err != nil {
				t.Fatal(ok, err)
			}
			data := noise(3*mib5 + 17)
			for key, n := range map[string]int{"empty": 0, "small é+ ": 1000, "large": len(data)} {
				put := minio.PutObjectOptions{PartSize: mib5, ContentType: "x/y", UserMetadata: map[string]string{"A": "b"}, UserTags: map[string]string{"t": "u"}}
				up, err := c.PutObject(ctx, name, key, bytes.NewReader(data[:n]), int64(n), put)
				if err != nil {
					t.Fatalf("%s: %v", key, err)
				}
				o, err := c.GetObject(ctx, name, key, minio.GetObjectOptions{})
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(o)
				if err != nil || !bytes.Equal(got, data[:n]) {
					t.Errorf("%s: %d bytes, %v", key, len(got), err)
				}
				st, err := o.Stat()
				if err != nil || st.ETag != up.ETag || st.ContentType != "x/y" || st.UserMetadata["A"] != "b" || st.UserTagCount != 1 {
					t.Errorf("%s: %+v, %v", key, st, err)
				}
			}
			unknown, err := c.PutObject(ctx, name, "unknown length", io.LimitReader(bytes.NewReader(data), mib5+1), -1, minio.PutObjectOptions{PartSize: mib5})
			if err != nil || unknown.Size != mib5+1 {
				t.Errorf("%+v, %v", unknown, err)
			}
			src := minio.CopySrcOptions{Bucket: name, Object: "large"}
			if _, err := c.ComposeObject(ctx, minio.CopyDestOptions{Bucket: name, Object: "composed"}, src, src); err != nil {
				t.Error(err)
			}
			if _, err := c.CopyObject(ctx, minio.CopyDestOptions{Bucket: name, Object: "copied"}, src); err != nil {
				t.Error(err)
			}
			count := 0
			for o := range c.ListObjects(ctx, name, minio.ListObjectsOptions{Recursive: true, MaxKeys: 2}) {
				if o.Err != nil {
					t.Fatal(o.Err)
				}
				count++
			}
			if count != 6 {
				t.Errorf("%d objects are listed", count)
			}
			u, err := c.PresignedGetObject(ctx, name, "large", time.Minute, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.Get(u.String())
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("presigned: %d bytes, %v", len(got), err)
			}
			_, err = c.StatObject(ctx, name, "none", minio.StatObjectOptions{})
			if r := minio.ToErrorResponse(err); r.Code != "NoSuchKey" {
				t.Errorf("missing: %v", err)
			}
			for e := range c.RemoveObjects(ctx, name, c.ListObjects(ctx, name, minio.ListObjectsOptions{Recursive: true}), minio.RemoveObjectsOptions{}) {
				t.Error(e)
			}
			if err := c.RemoveBucket(ctx, name); err != nil {
				t.Error(err)
			}
			if _, err := c.GetBucketLocation(ctx, name); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("location of a bucket that is gone: %v", err)
			}
		})
	}
}

package transfer

import (
	"context"
	"iter"
	"strings"

	"github.com/minio/minio-go/v7"

	"polder.dev/polder/internal/usage"
)

// Removing plans to remove an object; deep, all objects below a prefix. In a bucket
// with versioning objects get delete markers, unless versions says to remove all
// versions and markers for good.
func (c *Client) Removing(ctx context.Context, a Address, deep, versions bool) (*Plan, error) {
	switch {
	case !a.Remote():
		return nil, usage.Errorf("%s is not in the store", a)
	case a.Key == "" && !deep:
		return nil, usage.Errorf("%s is no object; -r removes all that is below it", a)
	case !deep && !versions:
		if _, err := c.stat(ctx, a, ""); err != nil {
			return nil, explain(err, a)
		}
		return single(removal(&side{c: c, at: Address{Bucket: a.Bucket}}, a.Key, "")), nil
	}
	s := &side{c: c, at: Address{Bucket: a.Bucket}}
	below := a
	if deep {
		below.Key = a.directory()
	}
	list := c.List(ctx, below, true)
	if versions {
		list = c.Versions(ctx, below, true)
	}
	return &Plan{jobs: doomedBelow(s, a, list, deep, versions)}, nil
}

func doomedBelow(s *side, a Address, list iter.Seq2[Entry, error], deep, versions bool) iter.Seq[Job] {
	return func(yield func(Job) bool) {
		any := false
		for e, err := range list {
			if err == nil && !deep && e.Key != a.Key {
				if e.Key > a.Key {
					break
				}
				continue
			}
			any = true
			j := removal(s, e.Key, "")
			if versions {
				j = removal(s, e.Key, e.Version)
				j.Note = strings.TrimSpace("version " + e.Version)
			}
			if j.err = err; err != nil {
				j.From = a.String()
			}
			if !yield(j) {
				return
			}
		}
		if !any {
			yield(Job{Action: Remove, From: a.String(), err: missing("there is nothing at %s", a)})
		}
	}
}

// abortAll gives up all uploads of a bucket that were begun and not completed.
func (c *Client) abortAll(ctx context.Context, bucket string) error {
	for {
		page, err := c.core.ListMultipartUploads(ctx, bucket, "", "", "", "", pageEntries)
		if err != nil {
			return err
		}
		for _, u := range page.Uploads {
			if err := c.core.AbortMultipartUpload(ctx, bucket, u.Key, u.UploadID); err != nil && codeOf(err) != minio.NoSuchUpload {
				return err
			}
		}
		if len(page.Uploads) == 0 || !page.IsTruncated {
			return nil
		}
	}
}

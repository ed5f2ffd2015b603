package s3

import (
	"context"
	"fmt"
	"net/http"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/manifest"
	"polder.dev/polder/storage/seal"
)

// assembled returns what an object is made of, if Swift's door has put it as a manifest or a
// link: S3's clients read what Swift's do. It takes o over. Who asks needs the right to
// read the object, and each of those that it names.
func (q *request) assembled(o storage.Object, rules *iam.Rules, name, key, version string) (storage.Object, error) {
	info := o.Info()
	if manifest.Plain(&info.Meta) {
		return o, nil
	}
	if err := q.authoriseIn(rules, name, versioned(iam.GetObject, version), key, &info); err != nil {
		_ = o.Close()
		return nil, err
	}
	out, err := manifest.Open(q.ctx, segments{q}, rules.Owner, name, key, o)
	if err != nil {
		return nil, fmt.Errorf("reading what object %s of bucket %s is made of: %w", key, name, err)
	}
	return out.Object, nil
}

// segments opens what manifests name, with the rights of a request.
type segments struct{ q *request }

var _ manifest.Source = segments{}

// bucket of an account, with its rules.
func (s segments) bucket(ctx context.Context, account, container string) (storage.Bucket, *storage.BucketInfo, *iam.Rules, error) {
	b, err := s.q.s.space.Container(ctx, account, container)
	if err != nil {
		return nil, nil, nil, err
	}
	info, err := b.Info(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	rules, err := s.q.s.rules.of(&info)
	return seal.Over(b, seal.Opener{Keys: s.q.s.keyring}), &info, rules, err
}

// Open implements manifest.Source.
func (s segments) Open(ctx context.Context, account, container, key string) (o storage.Object, err error) {
	b, info, rules, err := s.bucket(ctx, account, container)
	if err != nil {
		return nil, err
	}
	defer func() {
		s.q.recordOther(info, "REST.GET.SEGMENT", touched{key: key, status: http.StatusOK, size: -1, err: err})
	}()
	if err := s.q.authoriseIn(rules, container, iam.GetObject, key, nil); err != nil {
		return nil, err
	}
	return b.Open(ctx, key, storage.ReadOptions{})
}

// List implements manifest.Source.
func (s segments) List(ctx context.Context, account, container string, o storage.ListOptions) (storage.Listing, error) {
	b, _, rules, err := s.bucket(ctx, account, container)
	if err != nil {
		return storage.Listing{}, err
	}
	if err := s.q.authoriseIn(rules, container, iam.ListBucket, "", nil); err != nil {
		return storage.Listing{}, err
	}
	return b.List(ctx, o)
}

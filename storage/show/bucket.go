package show

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/lifecycle"
	"polder.dev/polder/storage/lock"
	"polder.dev/polder/storage/residency"
)

// bucket has its settings in the bucket of our own that it embeds, and its objects elsewhere.
type bucket struct {
	storage.Bucket
	s *Store
	e *source
}

var _ storage.Bucket = (*bucket)(nil)

func newMeter() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "polder_storage_shown_total",
		Help: "Operations on buckets that show data of other stores: served; refused, which is their client's to mend; or away, where the other store did not do its part.",
	}, []string{"bucket", "outcome"})
}

// told counts what came of an operation, and keeps to us why another store is away.
func (b *bucket) told(ctx context.Context, err error) error {
	outcome := "served"
	switch {
	case err == nil || errors.Is(err, storage.ErrNotModified) || ctx.Err() != nil:
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrNoBucket):
		outcome = "away"
		b.s.cfg.Log.WarnContext(ctx, "a store that data is shown from did not do its part", "bucket", b.e.Bucket, "from", b.e.From, "err", err)
		err = fmt.Errorf("the store that bucket %s is shown from did not do its part: %w", b.e.Bucket, storage.ErrUnavailable)
	default:
		outcome = "refused"
	}
	b.s.asked.WithLabelValues(b.e.Bucket, outcome).Inc()
	return err
}

// far does something with the bucket in the other store.
func far[T any](ctx context.Context, b *bucket, write bool, do func(storage.Bucket) (T, error)) (T, error) {
	var none T
	switch {
	case b.e.Store == nil:
		return none, fmt.Errorf("%w: bucket %s was shown from another store, and the configuration shows it no longer", storage.ErrUnavailable, b.e.Bucket)
	case write && !b.e.Writable:
		return none, b.told(ctx, fmt.Errorf("%w: %s is shown from another store", storage.ErrReadOnly, b.e.Bucket))
	}
	there, err := b.e.Store.Bucket(ctx, b.e.Bucket)
	if err != nil {
		return none, b.told(ctx, err)
	}
	out, err := do(there)
	return out, b.told(ctx, err)
}

// believed is what is known of an object. Metadata of the front doors says who may read
// and where data really is: it is ours only where others cannot have written it.
func (b *bucket) believed(i storage.Info) storage.Info {
	if !b.e.Writable {
		i.Meta.System = nil
	}
	return i
}

func (b *bucket) page(l storage.Listing) storage.Listing {
	for i := range l.Objects {
		l.Objects[i] = b.believed(l.Objects[i])
	}
	return l
}

// Configure changes what is ours to keep.
func (b *bucket) Configure(ctx context.Context, change func(*storage.Settings) error) error {
	var now storage.Settings
	err := b.Bucket.Configure(ctx, func(set *storage.Settings) error {
		if err := change(set); err != nil {
			return err
		}
		now = *set
		return b.keeps(set)
	})
	if c := b.s.cfg.Cache; err == nil && c != nil {
		c.Bar(&b.e.owner, !b.hot(&now))
		if !b.hot(&now) {
			c.Forget(&b.e.owner)
		}
	}
	return err
}

// keeps says which settings cannot be kept.
func (b *bucket) keeps(set *storage.Settings) error {
	cannot := func(what string) error {
		return fmt.Errorf("%w: bucket %s is shown from another store, and %s would be that store's to keep", storage.ErrInvalid, b.e.Bucket, what)
	}
	for label, what := range map[string]string{
		lifecycle.Label: "lifecycle rules", lock.Label: "object lock", iam.LabelQuota: "a quota", iam.LabelSwiftQuota: "a quota", iam.LabelSwiftQuotaCount: "a quota",
	} {
		if set.Labels[label] != "" {
			return cannot(what)
		}
	}
	switch t := set.Tiers; {
	case set.Versioning != storage.Unversioned:
		return cannot("versioning")
	case set.Copies > 1:
		return cannot("copies")
	case set.Durability != storage.Synced:
		return cannot("durability")
	case t.Lower != "" || t.Write != storage.WriteHome || t.DemoteAfter != 0 || len(t.Pinned) > 0:
		return cannot("when data moves")
	case set.Labels[Label] != b.e.From:
		return fmt.Errorf("%w: where bucket %s is shown from is for the configuration to say", storage.ErrInvalid, b.e.Bucket)
	}
	return residency.Admit(b.e.Bucket, set.Residency, b.e.place())
}

// hot says that bytes may stay in memory.
func (b *bucket) hot(set *storage.Settings) bool {
	return !set.Tiers.NoHot && residency.Admit(b.e.Bucket, set.Residency, residency.Place{Jurisdiction: b.s.cfg.CacheJurisdiction}) == nil
}

// Stat implements storage.Bucket.
func (b *bucket) Stat(ctx context.Context, key string, o storage.ReadOptions) (storage.Info, error) {
	i, err := far(ctx, b, false, func(t storage.Bucket) (storage.Info, error) { return t.Stat(ctx, key, o) })
	return b.believed(i), err
}

// Open implements storage.Bucket. The other store is asked each time, so what is in memory
// is never older than what it has; what is read again goes through the cache.
func (b *bucket) Open(ctx context.Context, key string, o storage.ReadOptions) (storage.Object, error) {
	at, err := far(ctx, b, false, func(t storage.Bucket) (storage.Object, error) { return t.Open(ctx, key, o) })
	if err != nil {
		return nil, err
	}
	i := b.believed(at.Info())
	out := &object{Object: at, info: i, b: b, ctx: context.WithoutCancel(ctx)}
	c := b.s.cfg.Cache
	if c == nil || i.Size == 0 {
		return out, nil
	}
	home, err := b.Info(ctx)
	if err != nil {
		_ = at.Close() // it was not read
		return nil, err
	}
	if !b.hot(&home.Settings) {
		return out, nil
	}
	if w := c.Whole(i); w != nil {
		return w, at.Close()
	}
	if c.Has(i.Revision) || c.Asked(i.Revision) {
		return c.Wrap(out, i, &b.e.owner), nil
	}
	return out, nil
}

// object is one that is open in the other store.
type object struct {
	storage.Object
	info storage.Info
	b    *bucket
	ctx  context.Context
}

func (o *object) Info() storage.Info { return o.info }

func (o *object) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.Object.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = o.b.told(o.ctx, err)
	}
	return n, err
}

func (o *object) Extents(off, n int64) ([]storage.Extent, error) {
	e, err := o.Object.Extents(off, n)
	if err != nil {
		err = o.b.told(o.ctx, err)
	}
	return e, err
}

// List implements storage.Bucket.
func (b *bucket) List(ctx context.Context, o storage.ListOptions) (storage.Listing, error) {
	l, err := far(ctx, b, false, func(t storage.Bucket) (storage.Listing, error) { return t.List(ctx, o) })
	return b.page(l), err
}

// Versions implements storage.Bucket.
func (b *bucket) Versions(ctx context.Context, o storage.ListOptions) (storage.Listing, error) {
	l, err := far(ctx, b, false, func(t storage.Bucket) (storage.Listing, error) { return t.Versions(ctx, o) })
	return b.page(l), err
}

// Put implements storage.Bucket.
func (b *bucket) Put(ctx context.Context, key string, body io.Reader, o storage.PutOptions) (storage.Info, error) {
	return far(ctx, b, true, func(t storage.Bucket) (storage.Info, error) { return t.Put(ctx, key, body, o) })
}

// Edit implements storage.Bucket.
func (b *bucket) Edit(ctx context.Context, key string, o storage.EditOptions) (storage.Info, error) {
	return far(ctx, b, true, func(t storage.Bucket) (storage.Info, error) { return t.Edit(ctx, key, o) })
}

// Delete implements storage.Bucket.
func (b *bucket) Delete(ctx context.Context, key string, o storage.DeleteOptions) (storage.Deletion, error) {
	return far(ctx, b, true, func(t storage.Bucket) (storage.Deletion, error) { return t.Delete(ctx, key, o) })
}

// Begin implements storage.Bucket.
func (b *bucket) Begin(ctx context.Context, key string, m storage.Meta) (storage.Upload, error) {
	return far(ctx, b, true, func(t storage.Bucket) (storage.Upload, error) { return t.Begin(ctx, key, m) })
}

// PutPart implements storage.Bucket.
func (b *bucket) PutPart(ctx context.Context, key, upload string, number int, body io.Reader, o storage.PutOptions) (storage.Part, error) {
	return far(ctx, b, true, func(t storage.Bucket) (storage.Part, error) { return t.PutPart(ctx, key, upload, number, body, o) })
}

// Parts implements storage.Bucket.
func (b *bucket) Parts(ctx context.Context, key, upload string, after, limit int) (parts []storage.Part, more bool, err error) {
	parts, err = far(ctx, b, true, func(t storage.Bucket) (p []storage.Part, err error) {
		p, more, err = t.Parts(ctx, key, upload, after, limit)
		return p, err
	})
	return parts, more, err
}

// Complete implements storage.Bucket.
func (b *bucket) Complete(ctx context.Context, key, upload string, parts []storage.PartRef, o storage.CompleteOptions) (storage.Info, error) {
	return far(ctx, b, true, func(t storage.Bucket) (storage.Info, error) { return t.Complete(ctx, key, upload, parts, o) })
}

// Abort implements storage.Bucket.
func (b *bucket) Abort(ctx context.Context, key, upload string) error {
	_, err := far(ctx, b, true, func(t storage.Bucket) (struct{}, error) { return struct{}{}, t.Abort(ctx, key, upload) })
	return err
}

// Uploads implements storage.Bucket. Where nothing may be written, others' are theirs.
func (b *bucket) Uploads(ctx context.Context, o storage.ListOptions) (storage.Listing, error) {
	if b.e.Store != nil && !b.e.Writable {
		return storage.Listing{}, nil
	}
	return far(ctx, b, false, func(t storage.Bucket) (storage.Listing, error) { return t.Uploads(ctx, o) })
}

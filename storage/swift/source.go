package swift

import (
	"context"
	"net/http"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/manifest"
)

// source opens what manifests and links name, with the rights of a call.
type source struct{ c *call }

var _ manifest.Source = source{}

func (s source) Open(ctx context.Context, account, container, key string) (o storage.Object, err error) {
	b, err := s.c.box(s.c.h.shownAs(account), container)
	if err != nil {
		return nil, err
	}
	defer func() {
		s.c.recordOther(b, "SWIFT.GET.SEGMENT", touched{key: key, status: http.StatusOK, size: -1, err: err})
	}()
	if err := s.c.permit(b, iam.GetObject, key); err != nil {
		return nil, err
	}
	return b.Open(ctx, key, storage.ReadOptions{})
}

func (s source) List(ctx context.Context, account, container string, o storage.ListOptions) (storage.Listing, error) {
	b, err := s.c.box(s.c.h.shownAs(account), container)
	if err != nil {
		return storage.Listing{}, err
	}
	if err := s.c.permit(b, iam.ListBucket, ""); err != nil {
		return storage.Listing{}, err
	}
	return b.List(ctx, o)
}

// glance is an object of which only the metadata is wanted.
type glance struct {
	storage.Object
	info storage.Info
}

func (g glance) Info() storage.Info { return g.info }
func (g glance) Close() error       { return nil }

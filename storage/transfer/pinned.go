package transfer

import (
	"context"
	"iter"
)

// Pinned is an object as it has to be: what has become another since is ErrChanged.
type Pinned struct {
	From    Address
	Name    string // of the file, with slashes, below the directory
	Size    int64
	ETag    string
	Version string // "" is the newest
}

// Fetching plans to download objects that are known one by one into a directory, which
// must be there. The first error of list ends it.
func (c *Client) Fetching(ctx context.Context, list iter.Seq2[Pinned, error], dir string) (*Plan, error) {
	t, err := openTree(dir)
	if err != nil {
		return nil, err
	}
	known := newNames(t.foldsCase())
	return &Plan{func(yield func(Job) bool) {
		for o, err := range list {
			j := Job{Action: Download, From: o.From.String(), To: t.path(o.Name), Size: o.Size, err: err}
			if err == nil {
				_, j.err = known.add(o.Name)
			}
			d := &fetch{c: c, from: o.From, version: o.Version, etag: o.ETag, t: t, name: o.Name, size: o.Size}
			j.run = func(ctx context.Context, m *Meter) error {
				d.m = m
				return d.run(ctx)
			}
			if !yield(j) || err != nil || ctx.Err() != nil {
				return
			}
		}
	}, []*tree{t}}, nil
}

package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"polder.dev/polder/storage/dataset"
	"polder.dev/polder/storage/transfer"
)

// tellEvery is how often progress is told.
const tellEvery = 2 * time.Second

// Data copies sources to their directories, which must be there, and tells how far it is,
// and at the end once more. It returns an error unless all of it is there and right.
func Data(ctx context.Context, c *transfer.Client, list []dataset.Source, tell func(done, all int64)) error {
	var m transfer.Meter
	var before int64
	for _, s := range list {
		if err := fetch(ctx, c, s, &m, func() { tell(m.Bytes.Load(), max(m.BytesAll.Load(), before)) }); err != nil {
			return fmt.Errorf("copying s3://%s/%s to %s: %w", s.Bucket, s.Prefix, s.Dir, err)
		}
		before = m.BytesAll.Load()
	}
	tell(m.Bytes.Load(), m.BytesAll.Load())
	return nil
}

func fetch(ctx context.Context, c *transfer.Client, s dataset.Source, m *transfer.Meter, tell func()) error {
	from := transfer.Address{Bucket: s.Bucket, Key: s.Prefix}
	list := below(ctx, c, from)
	if s.Manifest != "" {
		name, err := manifest(ctx, c, s)
		if err != nil {
			return err
		}
		defer os.Remove(name)
		list = listed(ctx, s, name)
	}
	p, err := c.Fetching(ctx, list, s.Dir)
	if err != nil {
		return err
	}
	defer p.Close()
	ticks, over := time.NewTicker(tellEvery), make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		for {
			select {
			case <-over:
				return
			case <-ticks.C:
				tell()
			}
		}
	}()
	var failed []error
	const most = 5 // that are named
	left := 0
	err = c.Run(ctx, p, false, m, func(r transfer.Result) {
		if r.Err != nil && len(failed) < most {
			failed = append(failed, r.Err)
		} else if r.Err != nil {
			left++
		}
	})
	ticks.Stop()
	close(over)
	<-told
	if left > 0 {
		failed = append(failed, fmt.Errorf("and %d more", left))
	}
	return errors.Join(append(failed, err)...)
}

// below lists what is in a bucket now. Each object has to stay as it is listed until it
// is copied.
func below(ctx context.Context, c *transfer.Client, from transfer.Address) iter.Seq2[transfer.Pinned, error] {
	return func(yield func(transfer.Pinned, error) bool) {
		for e, err := range c.List(ctx, from, true) {
			if err != nil {
				yield(transfer.Pinned{}, err)
				return
			}
			name := strings.TrimPrefix(e.Key, from.Key)
			if e.Prefix || strings.HasPrefix(e.Key, dataset.Own) || name == "" || strings.HasSuffix(name, "/") {
				continue // directories come with their files
			}
			o := transfer.Pinned{From: transfer.Address{Bucket: from.Bucket, Key: e.Key}, Name: name, Size: e.Size, ETag: e.ETag}
			if !yield(o, nil) {
				return
			}
		}
	}
}

// manifest downloads a data set's manifest and makes sure that it is the one that is
// meant, before anything is done with it.
func manifest(ctx context.Context, c *transfer.Client, s dataset.Source) (name string, err error) {
	f, err := os.CreateTemp("", "manifest-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	var m transfer.Meter
	if err := c.Read(ctx, transfer.Address{Bucket: s.Bucket, Key: s.Manifest}, "", f, &m); err != nil {
		return "", fmt.Errorf("reading the data set's manifest: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	_, err = dataset.Read(f, s.Digest, func(_ dataset.Head, e dataset.Entry) error {
		_, err := dataset.File(e.Path)
		return err
	})
	return f.Name(), err
}

// listed are the entries of a manifest that was checked.
func listed(ctx context.Context, s dataset.Source, name string) iter.Seq2[transfer.Pinned, error] {
	stop := errors.New("nobody reads on")
	return func(yield func(transfer.Pinned, error) bool) {
		f, err := os.Open(name)
		if err != nil {
			yield(transfer.Pinned{}, err)
			return
		}
		defer f.Close()
		_, err = dataset.Read(f, s.Digest, func(h dataset.Head, e dataset.Entry) error {
			o := transfer.Pinned{From: transfer.Address{Bucket: s.Bucket, Key: h.Prefix + e.Path}, Name: e.Path, Size: e.Size, ETag: e.ETag, Version: e.Version}
			if ctx.Err() != nil || !yield(o, nil) {
				return stop
			}
			return nil
		})
		if err != nil && !errors.Is(err, stop) {
			yield(transfer.Pinned{}, err)
		}
	}
}

// Teller appends progress to a metrics file, as docs/formats/training.md has it; an empty
// path tells nobody.
func Teller(path string, now func() time.Time) func(done, all int64) {
	return func(done, all int64) {
		if path == "" {
			return
		}
		b, err := json.Marshal(map[string]any{"time": now().UTC().Format(time.RFC3339), "event": "data", "bytes": done, "bytes_all": all})
		if err != nil {
			return
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return
		}
		_, _ = f.Write(append(b, '\n')) // it only informs
		_ = f.Close()
	}
}

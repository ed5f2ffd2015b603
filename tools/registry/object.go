package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/base"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/storage"
	"polder.dev/polder/storage/remote"
)

// objectDriver keeps all that is whole as objects of a bucket, under their paths, and what
// is being uploaded as files, until it is moved to where it belongs: so a blob is one
// object, that comes by one request of a known length. Files of other paths are read
// until they are objects, too: those of a registry that had no bucket (move.go).
const objectDriver = "object"

// Where the store is asked: its socket stands for the host.
const (
	storeURL    = "http://store"
	storeRegion = "us-east-1"
)

// How often and how long the store is asked again while it starts anew.
const (
	storeTries   = 8
	storeBackoff = 100 * time.Millisecond
)

// bufferBytes is what is held of an object while it is sent: all of one that is smaller. One
// of more than 5 GiB is cut into as much, or more.
const bufferBytes = 16 << 20

// registerObject makes the driver known, once.
func registerObject() { factory.Register(objectDriver, objectFactory{}) }

type objectFactory struct{}

// Create implements factory.StorageDriverFactory.
func (objectFactory) Create(_ context.Context, parameters map[string]any) (driver.StorageDriver, error) {
	d, ok := parameters["driver"].(driver.StorageDriver)
	if !ok {
		return nil, errors.New("the driver of objects is made by openObjects")
	}
	return d, nil
}

// objects is the driver. Distribution makes a new one from its parameters for each use,
// and all must see the same moves, so there is one for the process.
type objects struct {
	files  driver.StorageDriver
	dir    string // of the files
	coming coming
	bucket storage.Bucket
	store  io.Closer

	// deleting is held for reading by who moves a file into the bucket, and for writing by
	// who deletes, or what was deleted would come back.
	deleting sync.RWMutex
}

// openObjects opens the bucket that o names, over the files of its directory.
func openObjects(ctx context.Context, o options) (*objects, error) {
	secret, err := pki.ReadSecret(o.storeSecret)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", o.dir, err)
	}
	files, err := factory.Create(ctx, diskDriver, map[string]any{"rootdirectory": dir})
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", o.dir, err)
	}
	far, err := remote.NewS3(remote.S3{
		Endpoint: storeURL, Region: storeRegion, AccessKey: o.storeKey, SecretKey: secret,
		Common: remote.Common{
			Socket: o.storeSocket, Handovers: dir, NoMD5: true, Tries: storeTries, Backoff: storeBackoff, BufferBytes: bufferBytes,
			Layout: remote.Layout{OnlyShown: true, Show: map[string]remote.Shown{o.bucket: {Bucket: o.bucket}}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("opening the object store: %w", err)
	}
	b, err := far.Bucket(ctx, o.bucket)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening bucket %s: %w", o.bucket, err), far.Close())
	}
	return &objects{files: files, dir: dir, bucket: b, store: far}, nil
}

// ready waits until the store answers. One that refuses us does so for good.
func (d *objects) ready(ctx context.Context) error {
	for {
		_, err := d.bucket.List(ctx, storage.ListOptions{Limit: 1})
		if err == nil || ctx.Err() != nil || remote.IsPermanent(err) {
			return err
		}
	}
}

// checked is the driver as Distribution wants it: with paths that were looked at.
func (d *objects) checked() driver.StorageDriver { return &base.Base{StorageDriver: d} }

// key of a path.
func key(p string) string { return strings.Trim(p, "/") }

// uploads says that a path is one of what is being uploaded.
func uploads(p string) bool { return strings.Contains(p+"/", "/_uploads/") }

// missing turns an error of the bucket about a path into Distribution's.
func missing(p string, err error) error {
	if errors.Is(err, storage.ErrNoObject) {
		return driver.PathNotFoundError{Path: p, DriverName: objectDriver}
	}
	return err
}

func isMissing(err error) bool {
	var none driver.PathNotFoundError
	return errors.As(err, &none)
}

// Name implements driver.StorageDriver.
func (d *objects) Name() string { return objectDriver }

// open opens an object, or the file that is not one yet.
func (d *objects) open(ctx context.Context, p string, off int64) (io.ReadCloser, error) {
	if uploads(p) {
		return d.files.Reader(ctx, p, off)
	}
	for again := false; ; again = true {
		o, err := d.bucket.Open(ctx, key(p), storage.ReadOptions{})
		if err == nil {
			size := o.Info().Size
			return &objectReader{storage.Reader(o, min(off, size), size-min(off, size)), o}, nil
		}
		if !errors.Is(err, storage.ErrNoObject) || again {
			return nil, missing(p, err)
		}
		r, err := d.files.Reader(ctx, p, off)
		if !isMissing(err) { // else it has become an object meanwhile, or is nowhere
			return r, err
		}
	}
}

type objectReader struct {
	*storage.Section
	io.Closer
}

// Reader implements driver.StorageDriver.
func (d *objects) Reader(ctx context.Context, p string, off int64) (io.ReadCloser, error) {
	return d.open(ctx, p, off)
}

// GetContent implements driver.StorageDriver.
func (d *objects) GetContent(ctx context.Context, p string) ([]byte, error) {
	r, err := d.open(ctx, p, 0)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

// PutContent implements driver.StorageDriver.
func (d *objects) PutContent(ctx context.Context, p string, content []byte) error {
	if uploads(p) {
		return d.files.PutContent(ctx, p, content)
	}
	return d.put(ctx, p, int64(len(content)), storage.Conditions{}, func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(string(content))), nil
	})
}

// blobMeta is what is said of all objects.
var blobMeta = storage.Meta{ContentType: "application/octet-stream"}

// putTries is how often a body is sent to a store that goes away meanwhile.
const putTries = 3

// put stores an object. Its body is read anew where the store went away meanwhile.
func (d *objects) put(ctx context.Context, p string, size int64, c storage.Conditions, body func() (io.ReadCloser, error)) error {
	for i := 1; ; i++ {
		r, err := body()
		if err != nil {
			return err
		}
		_, err = d.bucket.Put(ctx, key(p), r, storage.PutOptions{Size: size, If: c, Meta: blobMeta})
		_ = r.Close() // it was only read
		if err == nil || i == putTries || remote.IsPermanent(err) {
			return err
		}
		if _, err := d.bucket.List(ctx, storage.ListOptions{Limit: 1}); err != nil { // it waits
			return err
		}
	}
}

// Writer implements driver.StorageDriver, for uploads: all else comes whole.
func (d *objects) Writer(ctx context.Context, p string, more bool) (driver.FileWriter, error) {
	if !uploads(p) {
		return nil, driver.ErrUnsupportedMethod{DriverName: objectDriver}
	}
	return d.coming.writer(p, more, func() (driver.FileWriter, error) { return d.files.Writer(ctx, p, more) })
}

// Stat implements driver.StorageDriver.
func (d *objects) Stat(ctx context.Context, p string) (driver.FileInfo, error) {
	if uploads(p) {
		return d.files.Stat(ctx, p)
	}
	for again := false; ; again = true {
		i, err := d.bucket.Stat(ctx, key(p), storage.ReadOptions{})
		if err == nil {
			return driver.FileInfoInternal{FileInfoFields: driver.FileInfoFields{Path: p, Size: i.Size, ModTime: i.Modified}}, nil
		}
		if !errors.Is(err, storage.ErrNoObject) {
			return nil, err
		}
		l, err := d.bucket.List(ctx, storage.ListOptions{Prefix: below(p), Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(l.Objects) > 0 {
			return driver.FileInfoInternal{FileInfoFields: driver.FileInfoFields{Path: p, IsDir: true}}, nil
		}
		f, err := d.files.Stat(ctx, p)
		if !isMissing(err) || again {
			return f, err
		}
	}
}

// below is the prefix of what lies in a directory.
func below(p string) string {
	if key(p) == "" {
		return ""
	}
	return key(p) + "/"
}

// children are what lies in a directory, by path, and whether there is one: what a walk
// needs of them costs one request.
func (d *objects) children(ctx context.Context, p string) (out []driver.FileInfo, there bool, err error) {
	found := map[string]driver.FileInfo{}
	names, err := d.files.List(ctx, p) // first, since what leaves the files is an object then
	there = err == nil                 // an empty directory is one, or a walk would end there
	if !there && !isMissing(err) {
		return nil, false, err
	}
	for _, n := range names {
		switch f, err := d.files.Stat(ctx, n); {
		case err == nil:
			found[n] = f
		case !isMissing(err):
			return nil, false, err
		}
	}
	note := func(f driver.FileInfoFields) { found[f.Path] = driver.FileInfoInternal{FileInfoFields: f} }
	for o := (storage.ListOptions{Prefix: below(p), Delimiter: "/"}); !uploads(p); {
		l, err := d.bucket.List(ctx, o)
		if err != nil {
			return nil, false, err
		}
		for i := range l.Objects {
			note(driver.FileInfoFields{Path: "/" + l.Objects[i].Key, Size: l.Objects[i].Size, ModTime: l.Objects[i].Modified})
		}
		for _, sub := range l.Prefixes {
			note(driver.FileInfoFields{Path: "/" + strings.TrimSuffix(sub, "/"), IsDir: true})
		}
		if !l.More {
			break
		}
		o.After = l.Next
	}
	for _, n := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[n])
	}
	return out, there || len(out) > 0 || key(p) == "", nil
}

// List implements driver.StorageDriver.
func (d *objects) List(ctx context.Context, p string) ([]string, error) {
	list, there, err := d.children(ctx, p)
	if err == nil && !there {
		err = driver.PathNotFoundError{Path: p, DriverName: objectDriver}
	}
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(list))
	for _, f := range list {
		out = append(out, f.Path())
	}
	return out, nil
}

// Move implements driver.StorageDriver: an upload that is whole becomes an object.
func (d *objects) Move(ctx context.Context, from, to string) error {
	if !uploads(from) || uploads(to) {
		return driver.ErrUnsupportedMethod{DriverName: objectDriver}
	}
	f, err := d.files.Stat(ctx, from)
	if err != nil {
		return err
	}
	sums, stay := d.coming.leave(from, f.Size())
	defer stay()
	if err := d.become(ctx, from, to, f.Size(), sums); err != nil {
		return fmt.Errorf("storing %s: %w", path.Base(path.Dir(to)), err)
	}
	if err := d.files.Delete(ctx, from); err != nil && !isMissing(err) {
		return err
	}
	d.coming.forget(from)
	return nil
}

// handoverBytesMin is the least for which the store takes a file over: what is smaller is
// sent as fast, and lies with others.
const handoverBytesMin = 1 << 20

// become makes an object of a file, by handing the file over if it can.
func (d *objects) become(ctx context.Context, from, to string, size int64, sums []uint32) error {
	err := storage.ErrNoHandover
	if sums != nil && size >= handoverBytesMin {
		h := &storage.Handover{Path: filepath.Join(d.dir, from), Size: size, Sums: sums}
		_, err = d.bucket.Put(ctx, key(to), h, storage.PutOptions{Size: size, Meta: blobMeta})
	}
	if errors.Is(err, storage.ErrNoHandover) {
		err = d.put(ctx, to, size, storage.Conditions{}, func() (io.ReadCloser, error) { return d.files.Reader(ctx, from, 0) })
	}
	if err == nil {
		return nil
	}
	// The answer may be lost of a store that has taken the file. What has a digest's path is
	// what was to be there.
	if i, e := d.bucket.Stat(ctx, key(to), storage.ReadOptions{}); e == nil && i.Size == size {
		return nil
	}
	return err
}

// Delete implements driver.StorageDriver.
func (d *objects) Delete(ctx context.Context, p string) error {
	d.deleting.Lock()
	defer d.deleting.Unlock()
	found := false
	switch err := d.files.Delete(ctx, p); {
	case err == nil:
		d.coming.forget(p)
		found = true
	case !isMissing(err):
		return err
	}
	if !uploads(p) {
		one, err := d.bucket.Delete(ctx, key(p), storage.DeleteOptions{})
		if err != nil {
			return err
		}
		all, err := d.deleteBelow(ctx, p)
		if err != nil {
			return err
		}
		found = found || one.Found || all
	}
	if !found {
		return driver.PathNotFoundError{Path: p, DriverName: objectDriver}
	}
	return nil
}

func (d *objects) deleteBelow(ctx context.Context, p string) (found bool, err error) {
	for o := (storage.ListOptions{Prefix: below(p), Limit: 1000}); ; {
		l, err := d.bucket.List(ctx, o)
		if err != nil {
			return found, err
		}
		for i := range l.Objects {
			if _, err := d.bucket.Delete(ctx, l.Objects[i].Key, storage.DeleteOptions{}); err != nil {
				return found, err
			}
			found = true
		}
		if !l.More {
			return found, nil
		}
		o.After = l.Next
	}
}

// RedirectURL implements driver.StorageDriver: clients ask the registry, and nobody else.
func (d *objects) RedirectURL(*http.Request, string) (string, error) { return "", nil }

// Walk implements driver.StorageDriver. A directory that goes meanwhile is empty.
func (d *objects) Walk(ctx context.Context, from string, f driver.WalkFn, options ...func(*driver.WalkOptions)) error {
	if len(options) > 0 {
		return driver.WalkFallback(ctx, d, from, f, options...)
	}
	list, there, err := d.children(ctx, from)
	if err == nil && !there {
		err = driver.PathNotFoundError{Path: from, DriverName: objectDriver}
	}
	if err != nil {
		return err
	}
	_, err = d.walk(ctx, list, f)
	return err
}

// walk reports whether the walk goes on.
func (d *objects) walk(ctx context.Context, list []driver.FileInfo, f driver.WalkFn) (bool, error) {
	for _, c := range list {
		switch err := f(c); {
		case errors.Is(err, driver.ErrSkipDir):
			continue
		case errors.Is(err, driver.ErrFilledBuffer):
			return false, nil
		case err != nil:
			return false, err
		case !c.IsDir():
			continue
		}
		list, _, err := d.children(ctx, c.Path())
		if err != nil {
			return false, err
		}
		if on, err := d.walk(ctx, list, f); err != nil || !on {
			return false, err
		}
	}
	return true, nil
}

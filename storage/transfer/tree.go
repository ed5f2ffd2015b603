package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// tree is a directory of this machine. Nothing outside it is read or written through
// it, whatever links it holds.
type tree struct {
	root *os.Root
	dir  string
}

func openTree(dir string) (*tree, error) {
	r, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening directory %s: %w", Printable(dir), errors.Unwrap(err))
	}
	return &tree{r, dir}, nil
}

func (t *tree) path(name string) string { return Address{Path: path.Join(t.dir, name)}.String() }

// file is what a walk finds.
type file struct {
	name     string // with slashes
	size     int64
	modified time.Time
	// left says why the file is left out, where that is no failure.
	left string
}

// walk yields the files below t in the order of their names' bytes, which is that of a
// listing of the store. It holds the names of the directories it is in. What cannot be
// read is yielded with an error, and the walk goes on.
func (t *tree) walk(ctx context.Context) iter.Seq2[file, error] {
	return func(yield func(file, error) bool) { t.walkDir(ctx, ".", yield) }
}

func (t *tree) walkDir(ctx context.Context, dir string, yield func(file, error) bool) bool {
	if err := ctx.Err(); err != nil {
		return yield(file{}, err)
	}
	entries, err := t.readDir(dir)
	if err != nil {
		return yield(file{name: dir + "/"}, fmt.Errorf("reading directory %s: %w", t.path(dir), err))
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			if !t.walkDir(ctx, name, yield) {
				return false
			}
			continue
		}
		if strings.HasSuffix(e.Name(), partialEnd) {
			continue // of a download
		}
		f, err := t.look(name, e.Type())
		if errors.Is(err, fs.ErrNotExist) && e.Type()&fs.ModeSymlink == 0 {
			continue // removed meanwhile
		}
		if !yield(f, err) {
			return false
		}
	}
	return true
}

// readDir sorts what is in dir as it comes in a listing: a directory's name counts
// with its slash.
func (t *tree) readDir(dir string) ([]fs.DirEntry, error) {
	d, err := t.root.Open(dir)
	if err != nil {
		return nil, plainError(err)
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	if err != nil {
		return nil, plainError(err)
	}
	full := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(full(a), full(b)) })
	return entries, nil
}

func (t *tree) look(name string, mode fs.FileMode) (file, error) {
	f := file{name: name}
	info, err := t.root.Stat(name) // follows links inside the tree only
	switch {
	case err != nil && mode&fs.ModeSymlink != 0:
		f.left = "it is a link that leads out of the directory, or nowhere"
		return f, nil
	case err != nil:
		return f, fmt.Errorf("reading %s: %w", t.path(name), plainError(err))
	case info.IsDir():
		f.left = "it is a link to a directory"
	case !info.Mode().IsRegular():
		f.left = "it is no file, but " + kindOf(info.Mode())
	}
	f.size, f.modified = info.Size(), info.ModTime()
	return f, nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}

// open opens a regular file for reading; it does not wait for a pipe's other end.
func (t *tree) open(name string) (*os.File, fs.FileInfo, error) {
	f, err := t.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("opening %s: %w", t.path(name), plainError(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no file")
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("opening %s: %w", t.path(name), plainError(err))
	}
	return f, info, nil
}

// foldsCase says whether the tree takes names that differ in case for one.
func (t *tree) foldsCase() bool {
	const probe, other = ".polder-case-probe" + partialEnd, ".POLDER-CASE-PROBE" + partialEnd
	f, err := t.root.Create(probe)
	if err != nil {
		return false
	}
	_ = f.Close()
	defer func() { _ = t.root.Remove(probe) }()
	_, err = t.root.Stat(other)
	return err == nil
}

// prune removes the directories above name that have become empty.
func (t *tree) prune(name string) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if t.root.Remove(dir) != nil {
			return
		}
	}
}

// plainError takes the operation and the path off, which the caller names.
func plainError(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

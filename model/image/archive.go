package image

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// OfArchive reads the image in an archive made by `docker save` or in OCI's image
// layout, compressed with gzip or not. It is unpacked into a temporary directory,
// which done removes. An archive of several images is refused.
func OfArchive(path string) (img v1.Image, done func(), err error) {
	dir, err := os.MkdirTemp("", "polder-image-*")
	if err != nil {
		return nil, nil, fmt.Errorf("reading archive %s: %w", path, err)
	}
	remove := func() { os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			remove()
			err = fmt.Errorf("reading archive %s: %w", path, err)
		}
	}()
	if path, err = settle(path, dir); err != nil {
		return nil, nil, err
	}
	if err := unpack(path, dir); err != nil {
		return nil, nil, err
	}
	if IsLayout(dir) {
		img, err = OfLayout(dir)
		return img, remove, err
	}
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
		return nil, nil, errors.New("it is neither an archive of `docker save` nor an OCI image layout")
	}
	img, err = tarball.Image(func() (io.ReadCloser, error) { return open(path) }, nil)
	if err != nil && err.Error() == "tarball must contain only a single image to be used with tarball.Image" {
		err = errors.New("it holds several images; save one at a time")
	}
	return img, remove, err
}

// settle copies what can be read only once, such as a pipe, into dir.
func settle(path, dir string) (string, error) {
	info, err := os.Stat(path)
	if err != nil || info.Mode().IsRegular() {
		return path, err
	}
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.CreateTemp(dir, "archive-*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	return out.Name(), errors.Join(err, out.Close())
}

// open returns the tar inside path.
func open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b := bufio.NewReader(f)
	if magic, err := b.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b { // RFC 1952
		return struct {
			io.Reader
			io.Closer
		}{b, f}, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		f.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

// unpack writes the regular files of the archive below dir.
func unpack(path, dir string) error {
	r, err := open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	t := tar.NewReader(r)
	var size int64
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if size += h.Size; size > BytesMax || n > FilesMax {
			return fmt.Errorf("it holds more than %d files or %d GiB", FilesMax, BytesMax>>30)
		}
		if err := unpackOne(root, h, t); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

func unpackOne(root *os.Root, h *tar.Header, r io.Reader) error {
	name := filepath.Clean(h.Name)
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o700)
	case tar.TypeReg:
	default:
		return nil // docker links layers that are the same; tarball reads them itself
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// IsLayout reports whether dir is in OCI's image layout.
func IsLayout(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "oci-layout"))
	return err == nil
}

// OfLayout reads the one image in an OCI layout, or the one for this machine.
func OfLayout(dir string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("reading OCI layout %s: %w", dir, err)
	}
	return pick(index)
}

func pick(index v1.ImageIndex) (v1.Image, error) {
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var found []v1.Descriptor
	for _, d := range m.Manifests {
		if p := d.Platform; p == nil || p.OS == "linux" && p.Architecture == runtime.GOARCH {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("the layout has %d images for linux/%s; it must have one", len(found), runtime.GOARCH)
	}
	if found[0].MediaType.IsIndex() {
		inner, err := index.ImageIndex(found[0].Digest)
		if err != nil {
			return nil, err
		}
		return pick(inner)
	}
	return index.Image(found[0].Digest)
}

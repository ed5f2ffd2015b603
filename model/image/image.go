// Package image makes OCI images of files: a directory, an archive that another
// tool saved, or a few files in memory. Clients and system import it. The same
// files always make the same image: times, owners and order are left out.
package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Limits of a directory that becomes an image.
const (
	FilesMax = 100_000
	BytesMax = 16 << 30
)

// File is one file of an image made in memory.
type File struct {
	Name string
	Mode fs.FileMode
	Data []byte
}

// OfFiles makes an image of files, run as entrypoint.
func OfFiles(files []File, cfg v1.Config) (v1.Image, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: int64(f.Mode.Perm()), Size: int64(len(f.Data)), Format: tar.FormatPAX, ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("packing %s: %w", f.Name, err)
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, fmt.Errorf("packing %s: %w", f.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	return OfLayer(layer, cfg)
}

// OfLayer makes an image of one layer, for this machine's architecture.
func OfLayer(layer v1.Layer, cfg v1.Config) (v1.Image, error) {
	return ofLayer(layer, types.OCILayer, cfg)
}

func ofLayer(layer v1.Layer, media types.MediaType, cfg v1.Config) (v1.Image, error) {
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, Config: cfg, RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		return nil, fmt.Errorf("making image: %w", err)
	}
	img, err = mutate.Append(img, mutate.Addendum{Layer: layer, MediaType: media})
	if err != nil {
		return nil, fmt.Errorf("making image: %w", err)
	}
	return img, nil
}

// ignored are directories that are never part of a program.
var ignored = []string{".git", ".venv", "__pycache__", ".ipynb_checkpoints", "node_modules"}

// OfDir makes an image whose root is the directory dir. The layer is kept in a
// temporary file, which done removes; call it when the image is not needed any
// more. Links that lead out of dir, devices and sockets are refused.
func OfDir(dir string) (img v1.Image, done func(), err error) {
	f, err := os.CreateTemp("", "polder-layer-*")
	if err != nil {
		return nil, nil, fmt.Errorf("packing %s: %w", dir, err)
	}
	remove := func() { os.Remove(f.Name()) }
	defer func() {
		f.Close()
		if err != nil {
			remove()
		}
	}()
	z := gzip.NewWriter(f)
	if err := pack(dir, z); err != nil {
		return nil, nil, err
	}
	if err := z.Close(); err != nil {
		return nil, nil, fmt.Errorf("packing %s: %w", dir, err)
	}
	layer, err := tarball.LayerFromFile(f.Name())
	if err != nil {
		return nil, nil, fmt.Errorf("packing %s: %w", dir, err)
	}
	img, err = OfLayer(layer, v1.Config{})
	return img, remove, err
}

// pack writes dir as a tar.
func pack(dir string, out io.Writer) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("packing %s: %w", dir, err)
	}
	defer root.Close()
	w := tar.NewWriter(out)
	var files, size int64
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		if d.IsDir() && slices.Contains(ignored, d.Name()) {
			return fs.SkipDir
		}
		n, err := add(root, w, name)
		if files, size = files+1, size+n; files > FilesMax || size > BytesMax {
			return fmt.Errorf("it holds more than %d files or %d GiB; keep data out of the code's directory and give it as spec.data", FilesMax, BytesMax>>30)
		}
		return err
	})
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("packing %s: %w", dir, err)
	}
	if files == 0 {
		return fmt.Errorf("packing %s: the directory is empty", dir)
	}
	return nil
}

// add writes one entry, readable by everybody, and executable if it was.
func add(root *os.Root, w *tar.Writer, name string) (int64, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return 0, err
	}
	h := &tar.Header{Name: name, Mode: 0o644, Format: tar.FormatPAX, ModTime: time.Unix(0, 0)}
	switch mode := info.Mode(); {
	case mode.IsDir():
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, name+"/", 0o755
	case mode&fs.ModeSymlink != 0:
		to, err := root.Readlink(name)
		if err != nil {
			return 0, err
		}
		if filepath.IsAbs(to) || !filepath.IsLocal(path.Join(path.Dir(name), to)) {
			return 0, fmt.Errorf("link %s leads out of the directory, to %s; replace it by what it leads to", name, to)
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, to
	case mode.IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
		if mode&0o111 != 0 {
			h.Mode = 0o755
		}
	default:
		return 0, fmt.Errorf("%s is a device, a pipe or a socket; leave it out", name)
	}
	if err := w.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return 0, err
	}
	f, err := root.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := io.Copy(w, f)
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != h.Size {
		err = fmt.Errorf("%s changed while it was read; try again", name)
	}
	return n, err
}

// Name turns a base name into one that a repository may have.
func Name(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

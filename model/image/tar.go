package image

import (
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// OfTar makes an image of one layer of the tar at path, compressed with zstd at
// its fastest: the layer mostly travels within one machine, where gzip would be
// the slowest part of the way (bench/README.md). The compressed layer is kept in
// dir. progress, if not nil, is told the bytes read so far and in all.
func OfTar(path, dir string, cfg v1.Config, progress func(done, total int64)) (v1.Image, error) {
	out, err := compress(path, dir, progress)
	if err != nil {
		return nil, fmt.Errorf("compressing %s: %w", path, err)
	}
	layer, err := tarball.LayerFromFile(out, tarball.WithMediaType(types.OCILayerZStd))
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", path, err)
	}
	return ofLayer(layer, types.OCILayerZStd, cfg)
}

func compress(path, dir string, progress func(done, total int64)) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, "layer-*.zst")
	if err != nil {
		return "", err
	}
	defer f.Close()
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(z, &meter{r: in, total: info.Size(), tell: progress}); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}

// meter tells how much was read.
type meter struct {
	r           io.Reader
	done, total int64
	tell        func(done, total int64)
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	if m.done += int64(n); m.tell != nil {
		m.tell(m.done, m.total)
	}
	return n, err
}

package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// modelBytes is the size of the model that is pushed and pulled.
const modelBytes = 1 << 30

// measureRegistry: a model of one file of 1 GiB is imported into the registry of a cloud
// by the command line, and pulled from it, beside copying the same file on the same disk,
// durably, and hashing it. The file is in the page cache in each case, and another one
// in each run. That is done with a registry on files and with one on objects, each in a
// cloud that begins with nothing.
func measureRegistry(ctx context.Context, b *bench) error {
	dir, err := os.MkdirTemp(filepath.Dir(b.cloud.dir), "registry-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, mode := range []string{"files", "objects"} {
		if err := b.registryOn(ctx, dir, mode); err != nil {
			return fmt.Errorf("on %s: %w", mode, err)
		}
	}
	return nil
}

// registryOn measures a registry that keeps things as mode says.
func (b *bench) registryOn(ctx context.Context, dir, mode string) error {
	config := filepath.Join(dir, mode+".yaml")
	if err := os.WriteFile(config, []byte("registry: {storage: "+mode+"}\n"), 0o600); err != nil {
		return err
	}
	if err := b.cloud.reset(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := b.cloud.up(ctx, "--config", config); err != nil {
		return err
	}
	if err := sandboxed(ctx, b, "first"); err != nil {
		return err
	}
	up := time.Since(began).Seconds()
	found := map[string][]float64{}
	for i := range b.runs + 1 {
		one, err := b.modelRound(ctx, dir, uint64(i))
		if err != nil {
			return err
		}
		for what, v := range one {
			if i > 0 { // the first one warms up
				found[what] = append(found[what], v)
			}
		}
	}
	b.add("`polder up`, registry on "+mode+", empty data directory, to a gVisor pod running", "s", []float64{up}, "")
	b.add("copying a file of 1 GiB, synced, and hashing it", "s", found["copy"], "beside a registry on "+mode)
	for _, verb := range []string{"push", "pull"} {
		b.add(verb+" of a model of 1 GiB through a registry on "+mode, "s", found[verb], "")
		b.add("speed of the "+verb+" in proportion to copying and hashing", "x", found[verb+" share"], "on "+mode)
	}
	return nil
}

// modelRound measures each once, one after the other.
func (b *bench) modelRound(ctx context.Context, dir string, seed uint64) (map[string]float64, error) {
	file, out := filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "out")
	sum, err := writeModel(file, seed)
	if err != nil {
		return nil, err
	}
	took := map[string]float64{}
	var failed error
	timed := func(what string, do func() error) {
		if failed == nil {
			began := time.Now()
			failed = do()
			took[what] = time.Since(began).Seconds()
		}
	}
	timed("copy", func() error { return copyAndHash(file, filepath.Join(dir, "copy"), sum) })
	var made struct{ Digest string }
	timed("push", func() error {
		text, err := b.cloud.do(ctx, "model", "push", file, "large", "-o", "json")
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(text), &made)
	})
	timed("pull", func() error {
		_, err := b.cloud.do(ctx, "model", "pull", "large@"+made.Digest, out)
		return err
	})
	if failed != nil {
		return nil, failed
	}
	if got, err := hashOf(filepath.Join(out, "model.safetensors")); err != nil || got != sum {
		return nil, fmt.Errorf("what was pulled is not what was pushed: %x, %w", got, err)
	}
	for _, verb := range []string{"push", "pull"} {
		took[verb+" share"] = took["copy"] / took[verb]
	}
	_, err = b.cloud.do(ctx, "model", "rm", "large")
	return took, err
}

// writeModel writes random weights in safetensors, synced, and returns their hash.
func writeModel(name string, seed uint64) (sum [32]byte, err error) {
	f, err := os.Create(name)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	const size = modelBytes - 128
	header := fmt.Sprintf(`{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, size, size)
	h := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, h), 1<<20)
	_, err = w.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...))
	if err == nil {
		_, err = io.CopyN(w, rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}), size)
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return [32]byte(h.Sum(nil)), err
}

// copyAndHash is what it is compared with: a copy that is on the disk, and the hash of
// the file.
func copyAndHash(from, to string, want [32]byte) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	got, err := hashOf(from)
	if err == nil && got != want {
		err = fmt.Errorf("%s has another hash than it had", from)
	}
	return err
}

func hashOf(name string) (sum [32]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.CopyBuffer(h, struct{ io.Reader }{f}, make([]byte, 1<<20))
	return [32]byte(h.Sum(nil)), err
}

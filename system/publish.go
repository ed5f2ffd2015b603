package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"polder.dev/polder/model/pack"
	"polder.dev/polder/model/registry"
	"polder.dev/polder/workload/train"
)

// publisher makes model artifacts of training jobs' output in the registry.
type publisher struct{ store *registry.Client }

// Publish implements train.Publisher.
func (p *publisher) Publish(ctx context.Context, pub train.Publication) (string, string, int64, error) {
	files, err := outputFiles(pub)
	if err != nil {
		return "", "", 0, err
	}
	lineage, err := json.Marshal(pub.Lineage)
	if err != nil {
		return "", "", 0, fmt.Errorf("writing lineage: %w", err)
	}
	measured, err := json.Marshal(pub.Metrics)
	if err != nil {
		return "", "", 0, fmt.Errorf("writing metrics: %w", err)
	}
	format := pub.Framework
	if pub.Version != "" {
		format += " " + pub.Version
	}
	repository := "models/" + pub.Namespace + "/" + pub.Name
	digest, size, err := pack.Push(ctx, p.store, repository+":latest", pack.Model{
		Name: pub.Name, Format: format, Licence: pub.Licence,
		Annotations: map[string]string{
			pack.AnnotationLineage: string(lineage),
			pack.AnnotationMetrics: string(measured),
		},
	}, files)
	if err != nil {
		return "", "", 0, err
	}
	if _, err := pack.AttachTo(ctx, p.store, repository, digest, pack.TypeLineage, nil, lineage); err != nil {
		return "", "", 0, err
	}
	return digest.String(), repository + "@" + digest.String(), size, nil
}

// metricsName is the metrics file's name in the artifact.
const metricsName = "metrics.jsonl"

// outputFiles lists the regular files of the output, and the metrics file. Links
// and special files were made by the job and are left out.
func outputFiles(pub train.Publication) ([]pack.File, error) {
	var out []pack.File
	err := fs.WalkDir(pub.Root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if name == metricsName && pub.MetricsFile != nil {
			return nil // the job's own comes instead
		}
		out = append(out, pack.File{Path: name, Size: info.Size(), Open: func() (io.ReadCloser, error) { return pub.Root.Open(name) }})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing the output: %w", err)
	}
	if pub.MetricsFile == nil {
		return out, nil
	}
	info, err := pub.MetricsFile.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	return append(out, pack.File{Path: metricsName, Size: info.Size(), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(pub.MetricsFile, 0, info.Size())), nil
	}}), nil
}

// mounter makes volumes of models. What is under way lies in dir.
type mounter struct {
	store *registry.Client
	dir   string
}

// newMounter returns one whose work lies in dir, which it empties: what a controller that
// was killed left there is of no use.
func newMounter(store *registry.Client, dir string) (*mounter, error) {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return nil, fmt.Errorf("emptying %s: %w", dir, err)
	}
	return &mounter{store: store, dir: dir}, nil
}

// Volume returns the image, by digest, that has the files of the model at reference.
func (m *mounter) Volume(ctx context.Context, reference string) (string, error) {
	return pack.Volume(ctx, m.store, reference, m.dir)
}

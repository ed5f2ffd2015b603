package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/workload/train/metric"
)

// Volumes opens the directory behind a bound volume claim. Whatever a worker
// left in there, nothing outside of the directory can be reached through the
// result, which the caller closes.
type Volumes interface {
	Root(ctx context.Context, claim *corev1.PersistentVolumeClaim) (*os.Root, error)
}

const (
	// tailBytesMax is how much of a metrics file one look reads.
	tailBytesMax = 1 << 20
	// fileBytesMax is how much of a metrics file is ever read.
	fileBytesMax = 256 << 20
)

// tail follows one job's metrics file from where the last look ended.
type tail struct {
	log    metric.Log
	seen   os.FileInfo // the file that offset is in
	offset int64
}

// read takes at most max more bytes; more tells that there are others. A file
// that was replaced or cut is read from its beginning. A missing file is empty.
func (t *tail) read(root *os.Root, max int64) (more bool, err error) {
	f, info, err := openRegular(root, path.Join(subMetrics, metricsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the metrics file: %w", err)
	}
	defer f.Close()
	if t.seen == nil || !os.SameFile(t.seen, info) || info.Size() < t.offset {
		*t = tail{seen: info}
	}
	end := min(info.Size(), fileBytesMax)
	n, err := io.Copy(&t.log, io.NewSectionReader(f, t.offset, min(max, end-t.offset)))
	t.offset += n
	if err != nil {
		return false, fmt.Errorf("reading the metrics file: %w", err)
	}
	return t.offset < end && n > 0, nil
}

// openRegular opens a file that a worker wrote. It waits for nobody, as opening
// a pipe would, and refuses what is no regular file.
func openRegular(root *os.Root, name string) (*os.File, os.FileInfo, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// progressed writes what the metrics file said.
func progressed(w *world, p *plan) {
	s := w.progress
	if s == nil || s.Lines == 0 {
		return
	}
	next := &v1alpha1.Progress{
		Epoch: s.Epoch, Epochs: s.Epochs, Step: s.Step,
		Loss: s.Loss, Metrics: s.Metrics, ResumedFrom: s.ResumedFrom,
	}
	if !s.Time.IsZero() {
		next.Time = &metav1.Time{Time: s.Time}
	}
	p.status.Progress = next
}

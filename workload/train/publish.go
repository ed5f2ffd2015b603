package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/workload/train/metric"
)

// Publication is what a Publisher makes a model artifact of.
type Publication struct {
	// Namespace and Name of the Model.
	Namespace, Name string
	// Root is the output directory. What is in it was written by the job: it may
	// hold links and special files. It is closed when Publish has returned.
	Root *os.Root
	// MetricsFile is the job's metrics file, a regular file at its beginning; nil
	// when there is none. It is closed when Publish has returned.
	MetricsFile *os.File
	// Framework and Version of it that the weights are for; may be empty.
	Framework, Version string
	// Licence as an SPDX expression; may be empty.
	Licence string
	// Lineage of the model.
	Lineage v1alpha1.Lineage
	// Metrics at the end of training, by name, in decimal notation.
	Metrics map[string]string
}

// Publisher makes a model artifact of a directory and stores it. The same
// Publication always gets the same digest, so that publishing twice is
// publishing once. It returns the manifest's digest, the reference to pull it
// by, and the size of all layers in bytes. An error that is ErrNoModel ends the
// job; after any other it is asked again later.
type Publisher interface {
	Publish(ctx context.Context, p Publication) (digest, reference string, sizeBytes int64, err error)
}

// ErrNoModel says that an output directory holds nothing to make a model of.
var ErrNoModel = errors.New("no model")

// final reports whether publishing can never succeed.
func final(err error) bool { return errors.Is(err, ErrNoModel) }

// Limits of what is read from the output directory.
const (
	aboutBytesMax = 1 << 20
	entriesMax    = 100_000
)

// aboutFile, in the output directory, is where a program may say what its model
// is; docs/formats/training.md.
const aboutFile = "model.json"

// about is the content of aboutFile.
type about struct {
	Framework string                     `json:"framework"`
	Version   string                     `json:"frameworkVersion"`
	Metrics   map[string]json.RawMessage `json:"metrics"`
}

// publish makes a Model of the job's output. It may be run again at any time:
// the artifact is content-addressed and the Model is written by name.
func (r *Reconciler) publish(ctx context.Context, w *world) *outcome {
	ref, err := r.tryPublish(ctx, w)
	return &outcome{model: ref, err: err}
}

func (r *Reconciler) tryPublish(ctx context.Context, w *world) (*v1alpha1.ModelReference, error) {
	if w.claim == nil || !owned(w.job, w.claim) {
		return nil, fmt.Errorf("%w: volume claim %s is gone, and the output with it", ErrNoModel, VolumeName(w.job.Name))
	}
	root, err := r.volumes.Root(ctx, w.claim)
	if err != nil {
		return nil, fmt.Errorf("opening the job's volume: %w", err)
	}
	defer root.Close()
	out, err := root.OpenRoot(subOutput)
	if err != nil {
		return nil, fmt.Errorf("%w: the job left no output directory: %w", ErrNoModel, err)
	}
	defer out.Close()
	if err := holdsModel(out); err != nil {
		return nil, err
	}
	p := publication(w, root, out)
	if p.MetricsFile != nil {
		defer p.MetricsFile.Close()
	}
	digest, reference, size, err := r.publisher.Publish(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("publishing model %s: %w", p.Name, err)
	}
	m := &v1alpha1.Model{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, Labels: jobLabels(w.job)},
		Spec: v1alpha1.ModelSpec{
			Reference: reference, Digest: digest, SizeBytes: size,
			Framework: strings.TrimSpace(p.Framework + " " + p.Version),
			Licence:   p.Licence, Metrics: p.Metrics, Lineage: p.Lineage,
		},
	}
	if err := r.writeModel(ctx, m); err != nil {
		return nil, err
	}
	return &v1alpha1.ModelReference{Name: m.Name, Digest: digest, Reference: reference}, nil
}

// writeModel creates the Model or makes the one of its name mean this. What persons
// say there, of aliases, gates and classification, stays.
func (r *Reconciler) writeModel(ctx context.Context, m *v1alpha1.Model) error {
	err := r.client.Create(ctx, m.DeepCopy())
	if !apierrors.IsAlreadyExists(err) {
		if err != nil {
			return fmt.Errorf("creating model %s: %w", m.Name, err)
		}
		return nil
	}
	var have v1alpha1.Model
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(m), &have); err != nil {
		return fmt.Errorf("reading model %s: %w", m.Name, err)
	}
	if have.DeletionTimestamp != nil {
		return fmt.Errorf("creating model %s: the one of this name is being removed; it is made when that is gone", m.Name)
	}
	want := m.Spec
	want.Classification, want.Aliases, want.Gates = have.Spec.Classification, have.Spec.Aliases, have.Spec.Gates // a person's words
	if apiequality.Semantic.DeepEqual(have.Spec, want) {
		return nil
	}
	if have.Spec.Digest != want.Digest && !recorded(&have) {
		return fmt.Errorf("updating model %s: its version %s is not recorded in status.versions yet, and is not replaced before", m.Name, have.Spec.Digest)
	}
	have.Spec = want
	if have.Labels == nil {
		have.Labels = make(map[string]string)
	}
	maps.Copy(have.Labels, m.Labels)
	if err := r.client.Update(ctx, &have); err != nil {
		return fmt.Errorf("updating model %s: %w", m.Name, err)
	}
	return nil
}

// recorded reports whether the version that spec holds is among those that the
// controller of Models keeps.
func recorded(m *v1alpha1.Model) bool {
	return slices.ContainsFunc(m.Status.Versions, func(v v1alpha1.ModelVersion) bool { return v.Digest == m.Spec.Digest })
}

// publication gathers what is known about the model.
func publication(w *world, root, out *os.Root) Publication {
	p := Publication{
		Namespace: w.job.Namespace,
		Name:      modelName(w.job),
		Root:      out,
		Licence:   w.job.Spec.Output.Licence,
		Lineage:   lineage(w),
		Metrics:   make(map[string]string),
	}
	if w.runtime != nil {
		p.Framework, p.Version = w.runtime.Spec.Framework, w.runtime.Spec.Version
	}
	sum := readMetrics(root)
	maps.Copy(p.Metrics, sum.Metrics)
	if _, named := p.Metrics["loss"]; !named && sum.Loss != "" {
		p.Metrics["loss"] = sum.Loss
	}
	readAbout(out, &p)
	if f, _, err := openRegular(root, path.Join(subMetrics, metricsFile)); err == nil {
		p.MetricsFile = f
	}
	return p
}

// readMetrics reads the whole metrics file. One that cannot be read says nothing.
func readMetrics(root *os.Root) metric.Summary {
	var t tail
	for {
		if more, err := t.read(root, tailBytesMax); !more || err != nil {
			return t.log.Summary()
		}
	}
}

// readAbout lets the program's own words about its model come first. The file
// is for show: one that cannot be read does not cost a trained model.
func readAbout(out *os.Root, p *Publication) {
	f, _, err := openRegular(out, aboutFile)
	if err != nil {
		return
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, aboutBytesMax))
	var a about
	if err != nil || metric.Unmarshal(text, &a) != nil {
		return
	}
	if a.Framework != "" {
		p.Framework, p.Version = clip(a.Framework, 60), clip(a.Version, 60)
	}
	maps.Copy(p.Metrics, metric.Values(a.Metrics))
}

// modelName is the name of the Model that the job makes.
func modelName(job *v1alpha1.TrainJob) string {
	if job.Spec.Output.Model != "" {
		return job.Spec.Output.Model
	}
	return job.Name
}

// lineage is everything that went into the model, by digest where it is known:
// from the reference if that pins one, else from what the kubelet mounted.
func lineage(w *world) v1alpha1.Lineage {
	pods := w.workers()
	l := v1alpha1.Lineage{
		Job: w.job.Name, JobUID: string(w.job.UID),
		Runtime: w.job.Spec.Runtime, RuntimeDigest: digestOf(w.job.Status.Image),
		CodeDigest: pinned(w.job.Spec.Code.Image, volumeCode, pods),
		Parameters: maps.Clone(w.job.Spec.Parameters),
		Workers:    workers(w.job), Restarts: w.job.Status.Restarts,
	}
	l.Parents, _ = parents(w.job) // a job with others was not accepted
	for i, d := range w.job.Spec.Data {
		if l.Data == nil {
			l.Data = make(map[string]string)
		}
		if d.Image == "" {
			l.Data[d.Name] = copiedFrom(w.current(), path.Join(dirData, d.Name))
			continue
		}
		l.Data[d.Name] = pinned(d.Image, fmt.Sprintf("%s%d", volumeData, i), pods)
	}
	return l
}

// parentsMax is how many parents a model may have.
const parentsMax = 16

// parentShape and digestShape are what a parent was for, and what it is.
var (
	parentShape = regexp.MustCompile(`^[a-z][-a-z0-9]{0,62}$`)
	digestShape = regexp.MustCompile(`^sha256:[a-f0-9]{64}$`)
)

// parents are the models that the job says its own is made of.
func parents(job *v1alpha1.TrainJob) (map[string]string, error) {
	text, ok := job.Annotations[v1alpha1.AnnotationParents]
	if !ok {
		return nil, nil
	}
	var out map[string]string
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, fmt.Errorf("annotation %s is no object of digests in JSON: write it as {\"teacher\": \"sha256:DIGEST\"}", v1alpha1.AnnotationParents)
	}
	if len(out) > parentsMax {
		return nil, fmt.Errorf("annotation %s names %d parents: a model has at most %d", v1alpha1.AnnotationParents, len(out), parentsMax)
	}
	for _, k := range slices.Sorted(maps.Keys(out)) {
		if !parentShape.MatchString(k) || !digestShape.MatchString(out[k]) {
			return nil, fmt.Errorf("annotation %s: %q: %q is no parent: write it as \"teacher\": \"sha256:DIGEST\"", v1alpha1.AnnotationParents, k, out[k])
		}
	}
	return out, nil
}

// pinned is the digest of an image volume.
func pinned(image, volume string, pods []corev1.Pod) string {
	if d := digestOf(image); d != "" {
		return d
	}
	for _, p := range pods {
		for _, c := range p.Status.ContainerStatuses {
			for _, m := range c.VolumeMounts {
				if m.Name == volume && m.VolumeStatus != nil && m.VolumeStatus.Image != nil && digestOf(m.VolumeStatus.Image.ImageRef) != "" {
					return digestOf(m.VolumeStatus.Image.ImageRef)
				}
			}
		}
	}
	return ""
}

// beside are the kinds of file that come beside a model: papers, pictures and
// descriptions. Anything else may be one. model/pack tells them apart alike.
var beside = []string{
	".md", ".txt", ".rst", ".html", ".pdf", ".png", ".jpg", ".jpeg", ".svg", ".gif", ".csv", ".log", ".jsonl", ".yaml", ".yml", ".toml",
	".py", ".ipynb", ".sh",
}

// holdsModel returns ErrNoModel unless the directory holds at least one file
// that can be a model: a regular file, not empty, and not one that only comes
// beside a model.
func holdsModel(out *os.Root) error {
	files, entries := 0, 0
	found := errors.New("found")
	err := fs.WalkDir(out.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entries++; entries > entriesMax {
			return fmt.Errorf("%w: the output directory holds more than %d files: pack them", ErrNoModel, entriesMax)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		files++
		info, err := d.Info()
		if err != nil {
			return err
		}
		base := strings.ToLower(path.Base(name))
		if info.Size() == 0 || base == aboutFile || base == "config.json" || slices.Contains(beside, path.Ext(base)) {
			return nil
		}
		return found
	})
	switch {
	case errors.Is(err, found):
		return nil
	case err != nil:
		return fmt.Errorf("looking through the output directory: %w", err)
	case files == 0:
		return fmt.Errorf("%w: the output directory is empty: write the weights to $POLDER_OUTPUT_DIR before the program ends", ErrNoModel)
	}
	return fmt.Errorf("%w: the output directory holds %d files, but none with weights (*.pt, *.safetensors, *.onnx, *.bin or alike): write them to $POLDER_OUTPUT_DIR before the program ends", ErrNoModel, files)
}

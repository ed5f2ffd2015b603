package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/image"
	"polder.dev/polder/model/registry"
)

// jobFile is the name of the job's file in a directory.
const jobFile = "job.yaml"

// submission is what `polder train` was asked to do.
type submission struct {
	path       string
	name       string
	parameters map[string]string
	replace    bool
	follow     bool
}

func (o *options) train() *cobra.Command {
	var s submission
	cmd := &cobra.Command{
		Use:   "train FILE|DIR",
		Short: "Start a training job",
		Long: `Start a training job from a file of kind TrainJob, or from a directory with a
file job.yaml in it. A job that does not name an image of its code gets the
directory of its file, packed and pushed to the cloud's registry.`,
		Example: "  polder train examples/ocr-digits --follow\n  polder train job.yaml --param epochs=30",
		Args:    exactly("FILE or DIR"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s.path = args[0]
		job, dir, err := s.read(cmd.InOrStdin())
		if err != nil {
			return err
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		if err := o.submit(cmd, c, &s, job, dir); err != nil {
			return err
		}
		if !s.follow {
			if o.json() {
				return printJSON(cmd.OutOrStdout(), job)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Job %s is submitted; `polder logs %s -f` shows what it says.\n", job.Name, job.Name)
			return nil
		}
		return o.follow(cmd, c, job)
	}
	cmd.Flags().StringVar(&s.name, "name", "", "name of the job, instead of the file's")
	cmd.Flags().StringToStringVar(&s.parameters, "param", nil, "parameter of the job, as name=value; may be repeated")
	cmd.Flags().BoolVar(&s.replace, "replace", false, "remove an earlier job of this name that has ended")
	cmd.Flags().BoolVarP(&s.follow, "follow", "f", false, "show progress until the end; the exit code is 0 when the job succeeds")
	return o.flags(cmd, "json")
}

// submit creates the job, whose code is in dir, in the namespace that the command
// or else the job names.
func (o *options) submit(cmd *cobra.Command, c *kube.Client, s *submission, job *v1alpha1.TrainJob, dir string) error {
	if o.namespace != "" || job.Namespace == "" {
		job.Namespace = c.Namespace
	}
	c.Namespace = job.Namespace
	images, err := store(cmd.Context(), c)
	if err != nil {
		return err
	}
	return s.create(cmd.Context(), cmd.ErrOrStderr(), c, images, job, dir)
}

// create pushes the job's code and creates the job. Everything is checked before
// anything is written or removed.
func (s *submission) create(ctx context.Context, w io.Writer, c *kube.Client, images *registry.Client, job *v1alpha1.TrainJob, dir string) error {
	if err := s.check(ctx, c, images, job); err != nil {
		return err
	}
	try := job.DeepCopy()
	try.Spec.Code.Image = or(try.Spec.Code.Image, codeOf(job)+":latest")
	if err := c.Create(ctx, try, kube.DryRun()); err != nil && !apierrors.IsAlreadyExists(err) { // clear removes it
		return s.refused(job, err)
	}
	if job.Spec.Code.Image == "" {
		if err := pushCode(ctx, w, images, dir, job); err != nil {
			return err
		}
	}
	if err := s.clear(ctx, c, job); err != nil {
		return err
	}
	if err := c.Create(ctx, job); err != nil {
		return s.refused(job, err)
	}
	return nil
}

// refused says why the API server did not take the job.
func (s *submission) refused(job *v1alpha1.TrainJob, err error) error {
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return usage.Errorf("%s: %w", s.path, err)
	}
	return fmt.Errorf("creating job %s: %w", or(job.Name, job.GenerateName), err)
}

// read reads the job's file; dir is where its code is.
func (s *submission) read(stdin io.Reader) (job *v1alpha1.TrainJob, dir string, err error) {
	file := s.path
	var text []byte
	if file == "-" {
		dir = "."
		text, err = io.ReadAll(stdin)
	} else {
		info, serr := os.Stat(file)
		if serr != nil {
			return nil, "", usage.Errorf("%s: %w; name a file of kind TrainJob, or a directory with %s in it", file, errors.Unwrap(serr), jobFile)
		}
		if info.IsDir() {
			file = filepath.Join(file, jobFile)
		}
		dir = filepath.Dir(file)
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, "", usage.Errorf("reading job: %w", err)
	}
	s.path = file
	job, err = parseJob(text)
	if err != nil {
		return nil, "", usage.Errorf("%s: %w", file, err)
	}
	if s.name != "" {
		job.Name, job.GenerateName = s.name, ""
	}
	if job.Name == "" && job.GenerateName == "" {
		return nil, "", usage.Errorf("%s: metadata.name is missing; give the job a name there, or with --name", file)
	}
	for k, v := range s.parameters {
		if job.Spec.Parameters == nil {
			job.Spec.Parameters = map[string]string{}
		}
		job.Spec.Parameters[k] = v
	}
	return job, dir, nil
}

// parseJob reads exactly one TrainJob and refuses fields that no TrainJob has.
func parseJob(text []byte) (*v1alpha1.TrainJob, error) {
	var job v1alpha1.TrainJob
	if err := readObject(text, "TrainJob", &job); err != nil {
		return nil, err
	}
	if job.Spec.Runtime == "" {
		return nil, errors.New("spec.runtime is missing; `polder runtime ls` lists those there are")
	}
	if len(job.Spec.Command) == 0 {
		return nil, errors.New("spec.command is missing; write what to run, such as [python3, train.py]")
	}
	job.Status = v1alpha1.TrainJobStatus{}
	return &job, nil
}

// readObject reads the only document of a file into o, an object of a kind of ours, and
// refuses another kind before it looks at fields.
func readObject(text []byte, kind string, o any) error {
	text, err := oneDocument(text)
	if err != nil {
		return err
	}
	var is metav1.TypeMeta
	if err := yaml.Unmarshal(text, &is); err != nil {
		return usage.Line(err)
	}
	if is.APIVersion != v1alpha1.GroupVersion.String() || is.Kind != kind {
		return fmt.Errorf("it is %s %s; write a file that begins with apiVersion: %s and kind: %s", or(is.APIVersion, "without apiVersion,"), or(is.Kind, "without kind"), v1alpha1.GroupVersion, kind)
	}
	if err := yaml.UnmarshalStrict(text, o); err != nil {
		return usage.Line(err)
	}
	return nil
}

// oneDocument returns the only document of a YAML stream that says anything:
// files often begin with a comment and a separator, or end with one.
func oneDocument(text []byte) ([]byte, error) {
	var found []byte
	says := false // what is read now
	var now []byte
	end := func() error {
		if says && found != nil {
			return errors.New("the file holds more than one document; put each object into a file of its own")
		}
		if says {
			found = now
		}
		says, now = false, nil
		return nil
	}
	for line := range bytes.Lines(text) {
		rest, separator := bytes.CutPrefix(line, []byte("---"))
		if separator = separator && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n")); separator {
			if err := end(); err != nil {
				return nil, err
			}
			line = rest // a document may begin beside its separator
		}
		now = append(now, line...)
		bare := bytes.TrimSpace(line)
		says = says || len(bare) > 0 && bare[0] != '#'
	}
	if err := end(); err != nil {
		return nil, err
	}
	return found, nil
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// check looks up what the job names.
func (s *submission) check(ctx context.Context, c *kube.Client, images *registry.Client, job *v1alpha1.TrainJob) error {
	var runtimes v1alpha1.RuntimeList
	if err := c.List(ctx, &runtimes); err != nil {
		return fmt.Errorf("listing runtimes: %w", err)
	}
	var known []string
	found := false
	for _, r := range runtimes.Items {
		known = append(known, r.Name)
		found = found || r.Name == job.Spec.Runtime
	}
	if !found {
		return usage.Errorf("%s: spec.runtime %q is not there; known are %s; `polder runtime build NAME` makes one", s.path, job.Spec.Runtime, or(strings.Join(known, ", "), "none"))
	}
	type named struct{ field, image string }
	all := []named{{"spec.code.image", job.Spec.Code.Image}}
	for i, d := range job.Spec.Data {
		all = append(all, named{fmt.Sprintf("spec.data[%d].image", i), d.Image})
	}
	for _, n := range all {
		if n.image == "" {
			continue
		}
		_, err := registry.Parse(n.image)
		if errors.Is(err, registry.ErrElsewhere) {
			continue // the node will tell
		}
		if err != nil {
			return usage.Errorf("%s: %s: %w", s.path, n.field, err)
		}
		if _, err := images.Digest(ctx, n.image); err != nil {
			if errors.Is(err, registry.ErrNotFound) {
				return usage.Errorf("%s: %s %s: %w", s.path, n.field, n.image, registry.ErrNotFound)
			}
			return fmt.Errorf("looking for %s: %w", n.image, err)
		}
	}
	return s.mayReplace(ctx, c, job)
}

// mayReplace refuses a name that is taken.
func (s *submission) mayReplace(ctx context.Context, c *kube.Client, job *v1alpha1.TrainJob) error {
	var have v1alpha1.TrainJob
	err := c.Get(ctx, kube.Key(job.Namespace, job.Name), &have)
	if job.Name == "" || apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for an earlier job: %w", err)
	}
	if !have.Status.State.Done() {
		return usage.Errorf("%s: job %s is there and has not ended; cancel it with `polder cancel %s`, or choose another name with --name", s.path, job.Name, job.Name)
	}
	if !s.replace {
		return usage.Errorf("%s: job %s is there and has ended; give --replace to remove it first, or another name with --name", s.path, job.Name)
	}
	return nil
}

// clear removes the earlier job of this name and waits until it is gone.
func (s *submission) clear(ctx context.Context, c *kube.Client, job *v1alpha1.TrainJob) error {
	if !s.replace || job.Name == "" {
		return nil
	}
	old := &v1alpha1.TrainJob{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name}}
	err := c.Delete(ctx, old, kube.InForeground)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing the earlier job %s: %w", job.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := c.Get(ctx, kube.Key(job.Namespace, job.Name), old)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("waiting until the earlier job %s is gone: %w", job.Name, err)
		}
		if err := pause(ctx, lookEvery); err != nil {
			return fmt.Errorf("waiting until the earlier job %s is gone: %w", job.Name, err)
		}
	}
}

// codeOf is the repository of the job's code.
func codeOf(job *v1alpha1.TrainJob) string {
	return "code/" + job.Namespace + "/" + or(job.Name, image.Name(job.GenerateName))
}

// pushCode packs dir and makes it the job's code.
func pushCode(ctx context.Context, w io.Writer, images *registry.Client, dir string, job *v1alpha1.TrainJob) error {
	img, done, err := image.OfDir(dir)
	if err != nil {
		return usage.Error(err)
	}
	defer done()
	progress, end := meter(w, "code")
	digest, err := images.Push(ctx, codeOf(job)+":latest", img, progress)
	end()
	if err != nil {
		return err
	}
	job.Spec.Code.Image = codeOf(job) + "@" + digest.String()
	return nil
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

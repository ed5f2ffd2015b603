package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/random"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/kubetest"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/registry"
	"polder.dev/polder/model/registry/registrytest"
)

const jobText = `apiVersion: polder.dev/v1alpha1
kind: TrainJob
metadata: {name: digits}
spec: {runtime: pytorch-cpu, command: [python3, train.py]}
`

func TestParseJob(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want string // of the error; empty for a job
	}{
		"a job":                        {jobText, ""},
		"after a separator":            {"---\n" + jobText, ""},
		"after a comment":              {"# Copyright\n\n---\n" + jobText, ""},
		"before a separator":           {jobText + "---\n", ""},
		"before an empty document":     {jobText + "---\n# the end\n---\n", ""},
		"with a comment at its side":   {"--- # a job\n" + jobText, ""},
		"with Windows' line ends":      {strings.ReplaceAll("---\n"+jobText, "\n", "\r\n"), ""},
		"as JSON":                      {`{"apiVersion":"polder.dev/v1alpha1","kind":"TrainJob","metadata":{"name":"a"},"spec":{"runtime":"r","command":["a"]}}`, ""},
		"dashes within":                {strings.Replace(jobText, "[python3, train.py]", "[sh, -c, \"\n  ---\n  x\"]", 1), ""},
		"two jobs":                     {jobText + "---\n" + jobText, "more than one document"},
		"nothing":                      {"", "apiVersion: polder.dev/v1alpha1"},
		"comments only":                {"# x\n---\n# y\n", "apiVersion: polder.dev/v1alpha1"},
		"malformed":                    {"spec: [", "yaml"},
		"no mapping":                   {"- a", "a list where fields"},
		"a field that is not known":    {strings.Replace(jobText, "runtime:", "runtimes: x, runtime:", 1), "runtimes"},
		"a field twice":                {jobText + "kind: TrainJob\n", "kind"},
		"another kind":                 {strings.Replace(jobText, "TrainJob", "Pod", 1), "Pod"},
		"another version":              {strings.Replace(jobText, "v1alpha1", "v2", 1), "polder.dev/v2"},
		"no runtime":                   {strings.Replace(jobText, "runtime: pytorch-cpu, ", "", 1), "spec.runtime"},
		"no command":                   {strings.Replace(jobText, ", command: [python3, train.py]", "", 1), "spec.command"},
		"a number that is text":        {strings.Replace(jobText, "spec: {", "spec: {workers: two, ", 1), "workers"},
		"a quantity that is none":      {strings.Replace(jobText, "spec: {", "spec: {resources: {cpu: lots}, ", 1), "quantities"},
		"a status that somebody wrote": {jobText + "status: {state: Succeeded}\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			job, err := parseJob([]byte(tc.text))
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v must say %s", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if job.Name == "" || job.Status.State != "" {
				t.Errorf("%+v", job)
			}
		})
	}
}

func FuzzParseJob(f *testing.F) {
	f.Add([]byte(jobText))
	f.Add([]byte("---\n" + jobText + "---\n"))
	f.Add([]byte("--- {a: b}\n--- c\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		job, err := parseJob(b)
		if err == nil && (job.Kind != "TrainJob" || job.Spec.Runtime == "" || len(job.Spec.Command) == 0) {
			t.Errorf("%+v was taken", job)
		}
	})
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "job.yaml")
	if err := os.WriteFile(file, []byte(jobText), 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none")
	unnamed := filepath.Join(dir, "unnamed.yaml")
	if err := os.WriteFile(unnamed, []byte(strings.Replace(jobText, "name: digits", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		s     submission
		stdin string
		dir   string
		job   string // its name
		want  string // of the error
	}{
		"a file":                       {submission{path: file}, "", dir, "digits", ""},
		"a directory":                  {submission{path: dir}, "", dir, "digits", ""},
		"the standard input":           {submission{path: "-"}, jobText, ".", "digits", ""},
		"another name":                 {submission{path: file, name: "x"}, "", dir, "x", ""},
		"a name for what has none":     {submission{path: unnamed, name: "x"}, "", dir, "x", ""},
		"nothing there":                {submission{path: none}, "", "", "", none + ": no such file"},
		"a directory without a job":    {submission{path: t.TempDir()}, "", "", "", "job.yaml"},
		"no name":                      {submission{path: unnamed}, "", "", "", "metadata.name"},
		"what is wrong names the file": {submission{path: "-"}, "kind: Pod", "", "", "-: it is"},
		"a parameter of the command":   {submission{path: file, parameters: map[string]string{"epochs": "3"}}, "", dir, "digits", ""},
	} {
		t.Run(name, func(t *testing.T) {
			job, at, err := tc.s.read(strings.NewReader(tc.stdin))
			if tc.want != "" {
				if err == nil || !usage.Is(err) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v must say %s, and be one of usage", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if job.Name != tc.job || at != tc.dir || !cmp.Equal(job.Spec.Parameters, tc.s.parameters) {
				t.Errorf("job %s with %v, code in %s; want %s, %s", job.Name, job.Spec.Parameters, at, tc.job, tc.dir)
			}
		})
	}
}

// cloud is what a submission meets.
type cloud struct {
	c      *kube.Client
	images *registry.Client
	digest string // of data/there
}

// newCloud has a runtime, a data set, and the jobs given; refuse is of the API.
func newCloud(t *testing.T, refuse kubetest.Refuse, jobs ...*v1alpha1.TrainJob) cloud {
	t.Helper()
	s := registrytest.New(t)
	images, err := registry.New(s.URL, s.Writer)
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(10, 1)
	if err != nil {
		t.Fatal(err)
	}
	d, err := images.Push(t.Context(), "data/there", img, nil)
	if err != nil {
		t.Fatal(err)
	}
	api := kubetest.New(t, refuse, &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "pytorch-cpu"}})
	for _, j := range jobs {
		if err := api.Create(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		if err := api.Status().Update(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	return cloud{&kube.Client{WithWatch: api, Namespace: "team"}, images, d.String()}
}

func (c cloud) submit(t *testing.T, s *submission, job *v1alpha1.TrainJob) error {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "train.py"), []byte("pass"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.path = "job.yaml"
	return s.create(t.Context(), io.Discard, c.c, c.images, job, dir)
}

// code reports whether code of the job was pushed.
func (c cloud) code(t *testing.T, name string) bool {
	t.Helper()
	ok, err := c.images.Exists(t.Context(), "code/team/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// TestATenantTrains: the role edit is enough to push one's code, and what one may
// not use is said in the registry's words, before anything is made.
func TestATenantTrains(t *testing.T) {
	s := registrytest.New(t)
	images, err := registry.New(s.URL, s.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	c := cloud{&kube.Client{WithWatch: kubetest.New(t, nil, &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "pytorch-cpu"}}), Namespace: "team-a"}, images, ""}
	job := newJob()
	job.Namespace = "team-a"
	if err := c.submit(t, &submission{}, job); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*v1alpha1.TrainJob)
		want   string
	}{
		"another's code": {func(j *v1alpha1.TrainJob) { j.Spec.Code.Image = "code/team-b/x" }, `denied: user "ana" may not pull code/team-b/x`},
		"another's data": {func(j *v1alpha1.TrainJob) { j.Spec.Data = []v1alpha1.DataSource{{Name: "d", Image: "data/team-b/x"}} }, `denied: user "ana" may not pull data/team-b/x`},
		"another's name": {func(j *v1alpha1.TrainJob) { j.Namespace = "team-b" }, `denied: user "ana" may not push code/team-b/other`},
	} {
		other := newJob()
		other.Namespace, other.Name = "team-a", "other"
		tc.change(other)
		err := c.submit(t, &submission{}, other)
		if !errors.Is(err, registry.ErrDenied) || !strings.Contains(err.Error(), tc.want) || usage.Is(err) {
			t.Errorf("%s: error %v must say %s, and is none of usage", name, err, tc.want)
		}
		if err := c.c.Get(t.Context(), kube.Key(other.Namespace, other.Name), other); !apierrors.IsNotFound(err) {
			t.Errorf("%s: the job is there: %v", name, err)
		}
	}
}

func newJob() *v1alpha1.TrainJob {
	return &v1alpha1.TrainJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "digits"},
		Spec:       v1alpha1.TrainJobSpec{Runtime: "pytorch-cpu", Command: []string{"python3"}},
	}
}

func earlier(state v1alpha1.State) *v1alpha1.TrainJob {
	j := newJob()
	j.UID, j.Status.State = "old", state
	return j
}

func TestSubmitPushesTheCodeAndCreatesTheJob(t *testing.T) {
	c := newCloud(t, nil)
	job := newJob()
	job.Spec.Data = []v1alpha1.DataSource{{Name: "d", Image: "data/there@" + c.digest}, {Name: "e", Image: "docker.io/library/x"}}
	if err := c.submit(t, &submission{}, job); err != nil {
		t.Fatal(err)
	}
	var have v1alpha1.TrainJob
	if err := c.c.Get(t.Context(), kube.Key("team", "digits"), &have); err != nil {
		t.Fatal(err)
	}
	d, err := c.images.Digest(t.Context(), "code/team/digits")
	if err != nil || have.Spec.Code.Image != "code/team/digits@"+d.String() {
		t.Errorf("code %s; the registry has %s, %v", have.Spec.Code.Image, d, err)
	}
}

func TestSubmitLeavesCodeThatIsNamed(t *testing.T) {
	c := newCloud(t, nil)
	job := newJob()
	job.Spec.Code.Image = "data/there"
	if err := c.submit(t, &submission{}, job); err != nil {
		t.Fatal(err)
	}
	if c.code(t, "digits") || job.Spec.Code.Image != "data/there" {
		t.Errorf("code %s was pushed, or is another", job.Spec.Code.Image)
	}
}

// TestSubmitRefuses: the error names the field, and nothing was made or removed.
func TestSubmitRefuses(t *testing.T) {
	kind := schema.GroupKind{Group: v1alpha1.Group, Kind: "TrainJob"}
	invalid := func(any) error { return apierrors.NewInvalid(kind, "digits", nil) }
	for name, tc := range map[string]struct {
		change func(*v1alpha1.TrainJob)
		s      submission
		refuse kubetest.Refuse
		there  *v1alpha1.TrainJob
		want   string
		plain  bool // not one of usage
	}{
		"a runtime that is not there": {change: func(j *v1alpha1.TrainJob) { j.Spec.Runtime = "x" }, want: `spec.runtime "x" is not there; known are pytorch-cpu`},
		"code that is not there":      {change: func(j *v1alpha1.TrainJob) { j.Spec.Code.Image = "code/none" }, want: "spec.code.image code/none: not found"},
		"data that is not there": {change: func(j *v1alpha1.TrainJob) {
			j.Spec.Data = []v1alpha1.DataSource{{Name: "a", Image: "docker.io/x/y"}, {Name: "b", Image: "data/none"}}
		}, want: "spec.data[1].image data/none: not found"},
		"data that is no reference": {change: func(j *v1alpha1.TrainJob) { j.Spec.Data = []v1alpha1.DataSource{{Name: "a", Image: "A b"}} }, want: "spec.data[0].image"},
		"a job that runs":           {there: earlier(v1alpha1.StateRunning), s: submission{replace: true}, want: "has not ended; cancel it"},
		"a job that ended":          {there: earlier(v1alpha1.StateFailed), want: "--replace"},
		"what the API refuses":      {refuse: invalid, want: "invalid"},
		"what the API cannot do":    {refuse: func(any) error { return errors.New("etcd is away") }, want: "creating job digits: etcd is away", plain: true},
	} {
		t.Run(name, func(t *testing.T) {
			var jobs []*v1alpha1.TrainJob
			if tc.there != nil {
				jobs = append(jobs, tc.there)
			}
			c := newCloud(t, tc.refuse, jobs...)
			job := newJob()
			if tc.change != nil {
				tc.change(job)
			}
			err := c.submit(t, &tc.s, job)
			if err == nil || !strings.Contains(err.Error(), tc.want) || usage.Is(err) == tc.plain {
				t.Errorf("error %v must say %q; of usage: %v", err, tc.want, usage.Is(err))
			}
			if !tc.plain && !strings.HasPrefix(err.Error(), "job.yaml: ") {
				t.Errorf("error %v must name the file", err)
			}
			if c.code(t, "digits") {
				t.Error("code was pushed all the same")
			}
			var list v1alpha1.TrainJobList
			if err := c.c.List(t.Context(), &list); err != nil || len(list.Items) != len(jobs) {
				t.Errorf("there are %d jobs, %v", len(list.Items), err)
			}
		})
	}
}

func TestReplace(t *testing.T) {
	c := newCloud(t, nil, earlier(v1alpha1.StateSucceeded))
	if err := c.submit(t, &submission{replace: true}, newJob()); err != nil {
		t.Fatal(err)
	}
	var have v1alpha1.TrainJob
	if err := c.c.Get(t.Context(), kube.Key("team", "digits"), &have); err != nil || have.UID == "old" {
		t.Errorf("the earlier job is there still: %v", err)
	}
}

// TestAnInvalidJobReplacesNothing: the earlier job is removed only when the new
// one will be taken.
func TestAnInvalidJobReplacesNothing(t *testing.T) {
	old := earlier(v1alpha1.StateSucceeded)
	made := false
	c := newCloud(t, func(any) error {
		if !made {
			made = true // the earlier one
			return nil
		}
		return apierrors.NewInvalid(schema.GroupKind{Kind: "TrainJob"}, "digits", nil)
	}, old)
	if err := c.submit(t, &submission{replace: true}, newJob()); !usage.Is(err) {
		t.Fatalf("%v", err)
	}
	var have v1alpha1.TrainJob
	if err := c.c.Get(t.Context(), kube.Key("team", "digits"), &have); err != nil || have.UID != "old" {
		t.Errorf("the earlier job is gone: %v", err)
	}
	if c.code(t, "digits") {
		t.Error("code was pushed all the same")
	}
}

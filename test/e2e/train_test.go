//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image/png"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/model/registry"
)

const accuracyMin = 0.96

// trained is the undisturbed run of the example, which several tests look at.
type trained struct {
	job      *v1alpha1.TrainJob
	model    *v1alpha1.Model
	progress []progress
	accuracy string
}

// progress is a line of `polder train --follow` where no person looks.
type progress struct {
	Job, State, Message string
	Workers, Ready      int32
	Restarts            int32
	Progress            *v1alpha1.Progress
}

var exampleRun struct {
	once sync.Once
	run  *trained
}

// pytorch sees to it that the shared cloud has the runtime pytorch-cpu.
func (c *cloud) pytorch(t testing.TB) {
	t.Helper()
	out := c.must(t, "runtime", "build", "pytorch-cpu")
	t.Log(strings.TrimSpace(out))
}

// trainExample trains the example once, with nobody disturbing it.
func trainExample(t testing.TB) *trained {
	t.Helper()
	c := shared(t)
	exampleRun.once.Do(func() {
		c.pytorch(t)
		c.digits(t)
		out := c.must(t, "train", example, "--follow", "-o", "json")
		r := &trained{}
		for line := range strings.Lines(out) {
			var p progress
			if err := json.Unmarshal([]byte(line), &p); err != nil {
				t.Fatalf("polder train --follow printed %q: %v", line, err)
			}
			r.progress = append(r.progress, p)
		}
		var err error
		if r.job, err = c.job(brief(t), t, "ocr-digits"); err != nil {
			t.Fatal(err)
		}
		r.model = &v1alpha1.Model{}
		if err := c.api(t).Get(brief(t), kube.Key("default", "ocr-digits"), r.model); err != nil {
			t.Fatal(err)
		}
		r.accuracy = r.model.Spec.Metrics["test_accuracy"]
		exampleRun.run = r
	})
	if exampleRun.run == nil {
		t.Fatal("the example was not trained; an earlier test says why")
	}
	return exampleRun.run
}

// TestTrainExample trains the example as a stranger would and looks at everything
// that comes out.
func TestTrainExample(t *testing.T) {
	c := shared(t)
	r := trainExample(t)
	if err := atLeast(r.accuracy, accuracyMin); err != nil {
		t.Errorf("test_accuracy of the model: %v", err)
	}
	t.Run("progress", func(t *testing.T) { checkProgress(t, r) })
	t.Run("lineage", func(t *testing.T) { checkLineage(t, c, r) })
	t.Run("show", func(t *testing.T) { checkShown(t, c, r) })
	t.Run("digest", func(t *testing.T) { checkDigests(t, c, r) })
	t.Run("files", func(t *testing.T) { checkFiles(t, c, r) })
	t.Run("bill of materials", func(t *testing.T) { checkBill(t, c) })
}

func atLeast(number string, least float64) error {
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return err
	}
	if n < least {
		return fmt.Errorf("%s is below %v", number, least)
	}
	return nil
}

// progressLimit is how long epochs may go by of which nothing is told: the controller looks
// once a second, and times are whole seconds. The first epoch is not counted: it begins
// with what is done once.
const progressLimit = 3 * time.Second

func checkProgress(t *testing.T, r *trained) {
	last := int64(-1)
	var before *v1alpha1.Progress
	epochs := map[int64]bool{}
	for _, p := range r.progress {
		if p.Job != "ocr-digits" || p.Workers != 2 {
			t.Fatalf("a line of progress is not about the job: %+v", p)
		}
		if p.Progress != nil {
			if p.Progress.Epoch < last {
				t.Errorf("epoch %d was told after epoch %d", p.Progress.Epoch, last)
			}
			if b := before; b != nil && b.Epoch > 0 && b.Time != nil && p.Progress.Time != nil && p.Progress.Epoch > b.Epoch+1 && p.Progress.Time.Sub(b.Time.Time) > progressLimit {
				t.Errorf("nothing was told from epoch %d, at %s, to epoch %d, at %s", b.Epoch, b.Time, p.Progress.Epoch, p.Progress.Time)
			}
			last, before = p.Progress.Epoch, p.Progress
			epochs[last] = true
		}
	}
	if last != 15 || len(epochs) < 3 { // the controller looks once a second, and 15 epochs are over in four
		t.Errorf("progress told of %d epochs, up to %d; want at least 3, up to 15", len(epochs), last)
	}
	end := r.progress[len(r.progress)-1]
	if end.State != string(v1alpha1.StateSucceeded) || end.Restarts != 0 {
		t.Errorf("the last line says %s with %d restarts", end.State, end.Restarts)
	}
}

func checkLineage(t *testing.T, c *cloud, r *trained) {
	var rt v1alpha1.Runtime
	if err := c.api(t).Get(brief(t), kube.Key("", "pytorch-cpu"), &rt); err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(r.job.Spec.Code.Image, "@")
	l := r.model.Spec.Lineage
	for _, f := range []struct{ name, have, want string }{
		{"job", l.Job, "ocr-digits"},
		{"jobUID", l.JobUID, string(r.job.UID)},
		{"runtime", l.Runtime, "pytorch-cpu"},
		{"runtimeDigest", l.RuntimeDigest, rt.Spec.Variants[0].Digest},
		{"codeDigest", l.CodeDigest, code},
		{"parameters.epochs", l.Parameters["epochs"], "15"},
		{"workers", fmt.Sprint(l.Workers), "2"},
		{"restarts", fmt.Sprint(l.Restarts), "0"},
		{"licence of the model", r.model.Spec.Licence, "Apache-2.0"},
		{"digest of the job's model", r.job.Status.Model.Digest, r.model.Spec.Digest},
	} {
		if f.have == "" || f.have != f.want {
			t.Errorf("%s is %q, want %q", f.name, f.have, f.want)
		}
	}
	for _, m := range []string{"loss", "val_accuracy", "test_accuracy"} {
		if r.model.Spec.Metrics[m] == "" {
			t.Errorf("the model has no metric %s: %v", m, r.model.Spec.Metrics)
		}
	}
	if !strings.HasPrefix(r.model.Spec.Framework, "pytorch 1.13") {
		t.Errorf("framework is %q", r.model.Spec.Framework)
	}
}

// checkShown looks at what people see.
func checkShown(t *testing.T, c *cloud, r *trained) {
	for _, v := range []struct {
		args []string
		want []string
	}{
		{[]string{"model", "show", "ocr-digits"}, []string{r.model.Spec.Digest, "test_accuracy = " + r.accuracy, string(r.job.UID), "Loss by epoch", "confusion.png", "model.safetensors"}},
		{[]string{"model", "ls"}, []string{"ocr-digits", "test_accuracy=", r.model.Spec.Digest}},
		{[]string{"jobs"}, []string{"ocr-digits", "Succeeded", "15/15"}},
		{[]string{"jobs", "-A", "-o", "json"}, []string{`"uid": "` + string(r.job.UID) + `"`}},
		{[]string{"logs", "ocr-digits"}, []string{"[0] epoch 15/15", "[0] held-out accuracy"}},
		{[]string{"logs", "ocr-digits", "--worker", "0", "--tail", "1"}, []string{"held-out accuracy"}},
		{[]string{"image", "ls"}, []string{"runtimes/pytorch-cpu", "code/default/ocr-digits", "models/default/ocr-digits"}},
		{[]string{"runtime", "ls"}, []string{"pytorch-cpu", "1.13"}},
	} {
		out := c.must(t, v.args...)
		for _, w := range v.want {
			if !strings.Contains(out, w) {
				t.Errorf("polder %s does not show %q:\n%s", strings.Join(v.args, " "), w, out)
			}
		}
	}
}

// fetch reads from the cloud's registry with nothing but HTTP.
func (c *cloud) fetch(t testing.TB, path string) []byte {
	t.Helper()
	trust, err := c.api(t).Trust()
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: trust}, Timeout: callLimit}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.RegistryURL()+"/v2/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v: %.200s", path, resp.Status, err, b)
	}
	return b
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// manifest is the part of an OCI manifest that these tests read.
type manifest struct {
	ArtifactType string
	Config       struct{ MediaType, Digest string }
	Layers       []struct {
		MediaType, Digest string
		Annotations       map[string]string
	}
	Subject *struct{ Digest string }
}

// checkDigests hashes what the registry serves, trusting none of Polder's code.
func checkDigests(t *testing.T, c *cloud, r *trained) {
	const repository = "models/default/ocr-digits"
	text := c.fetch(t, repository+"/manifests/"+r.model.Spec.Digest)
	if have := sha(text); have != r.model.Spec.Digest {
		t.Errorf("the manifest of %s hashes to %s", r.model.Spec.Digest, have)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if m.ArtifactType != "application/vnd.cncf.model.manifest.v1+json" || m.Config.MediaType != "application/vnd.cncf.model.config.v1+json" {
		t.Errorf("the model is %s with configuration %s, not a ModelPack artifact", m.ArtifactType, m.Config.MediaType)
	}
	types := map[string]string{}
	for _, l := range m.Layers {
		types[l.Annotations["org.cncf.model.filepath"]] = l.MediaType
		if have := sha(c.fetch(t, repository+"/blobs/"+l.Digest)); have != l.Digest {
			t.Errorf("blob %s hashes to %s", l.Digest, have)
		}
	}
	if types["model.safetensors"] != "application/vnd.cncf.model.weight.v1.raw" || types["confusion.png"] != "application/vnd.cncf.model.doc.v1.raw" {
		t.Errorf("files have types %v", types)
	}
}

// checkFiles pulls the model by digest and has it checked by a program that
// shares nothing with the trainer, in a sandbox and on this machine.
func checkFiles(t *testing.T, c *cloud, r *trained) {
	dir := t.TempDir()
	out := c.must(t, "model", "pull", "ocr-digits@"+r.model.Spec.Digest, dir)
	if !strings.Contains(out, r.model.Spec.Digest) {
		t.Errorf("polder model pull does not name the digest: %s", out)
	}
	picture, err := os.ReadFile(filepath.Join(dir, "confusion.png"))
	if err != nil {
		t.Fatal(err)
	}
	if img, err := png.Decode(bytes.NewReader(picture)); err != nil {
		t.Errorf("confusion.png: %v", err)
	} else if b := img.Bounds(); b.Dx() < 100 || b.Dy() < 100 {
		t.Errorf("confusion.png is %v", b)
	}
	ends := events(metricLines(t, filepath.Join(dir, "metrics.jsonl")), "end")
	if len(ends) != 1 || !near(ends[0].Metrics["test_accuracy"].String(), r.accuracy) {
		t.Errorf("metrics.jsonl ends with %v, the model says %s", ends, r.accuracy)
	}
	t.Run("checked in a sandbox", func(t *testing.T) {
		c.must(t, "image", "push", dir, "data/default/ocr-digits-model")
		if err := accuracyOf(c.output(t, checker(c, t))); err != nil {
			t.Error(err)
		}
	})
	t.Run("checked on this machine", func(t *testing.T) {
		python, err := exec.LookPath("python3")
		if err != nil {
			t.Skip("this machine has no python3; the check in a sandbox stands alone")
		}
		b, err := exec.Command(python, filepath.Join(example, "check.py"), dir).CombinedOutput()
		if err != nil {
			t.Fatalf("check.py: %v\n%s", err, b)
		}
		if err := accuracyOf(string(b)); err != nil {
			t.Error(err)
		}
	})
}

// near reports whether two numbers are the same but for rounding.
func near(a, b string) bool {
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err == nil && err2 == nil && math.Abs(x-y) < 1e-5
}

// checker is a pod that runs the example's checker on the pulled model, in the
// namespace whose code and data it needs.
func checker(c *cloud, t testing.TB) *corev1.Pod {
	p := probePod("default", "check")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		if err := c.api(t).Delete(ctx, p); err != nil && !apierrors.IsNotFound(err) {
			t.Logf("removing pod %s: %v", p.Name, err)
		}
	})
	main := &p.Spec.Containers[0]
	main.Image, main.Command = v1alpha1.RegistryHost+"/runtimes/pytorch-cpu:latest", []string{"python3", "/code/check.py", "/model"}
	for name, image := range map[string]string{"code": "code/default/ocr-digits:latest", "model": "data/default/ocr-digits-model:latest"} {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			Image: &corev1.ImageVolumeSource{Reference: v1alpha1.RegistryHost + "/" + image},
		}})
		main.VolumeMounts = append(main.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: "/" + name, ReadOnly: true})
	}
	return p
}

// accuracyOf reads what check.py printed.
func accuracyOf(text string) error {
	_, number, ok := strings.Cut(strings.TrimSpace(text), "accuracy ")
	if !ok {
		return fmt.Errorf("check.py printed %q", text)
	}
	return atLeast(number, accuracyMin)
}

// checkBill reads the bill of materials that refers to the runtime's image.
func checkBill(t *testing.T, c *cloud) {
	address, err := c.api(t).Registry(brief(t))
	if err != nil {
		t.Fatal(err)
	}
	trust, err := c.api(t).Trust()
	if err != nil {
		t.Fatal(err)
	}
	images, err := registry.New(address, trust)
	if err != nil {
		t.Fatal(err)
	}
	const repository = "runtimes/pytorch-cpu"
	ctx, cancel := context.WithTimeout(t.Context(), callLimit)
	defer cancel()
	found, err := images.Referrers(ctx, repository, "application/vnd.cyclonedx+json")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("nothing of type application/vnd.cyclonedx+json refers to the runtime's image")
	}
	image, err := images.Digest(ctx, repository)
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal(c.fetch(t, repository+"/manifests/"+found[0].Digest.String()), &m); err != nil {
		t.Fatal(err)
	}
	if m.Subject == nil || m.Subject.Digest != image.String() || len(m.Layers) != 1 {
		t.Fatalf("the bill of materials refers to %+v, not to %s, or has not one layer", m.Subject, image)
	}
	var bill bom
	if err := json.Unmarshal(c.fetch(t, repository+"/blobs/"+m.Layers[0].Digest), &bill); err != nil {
		t.Fatal(err)
	}
	if err := bill.names("python3-torch", "python3-sklearn", "python3-numpy", "libc6"); err != nil {
		t.Error(err)
	}
}

// bom is the part of a CycloneDX bill of materials that these tests read.
type bom struct {
	BOMFormat   string `json:"bomFormat"`
	SpecVersion string `json:"specVersion"`
	Components  []struct{ Name, Version, PURL string }
}

// names checks that b names each of components, with version and package URL.
func (b *bom) names(components ...string) error {
	if b.BOMFormat != "CycloneDX" || b.SpecVersion == "" {
		return fmt.Errorf("it is %s %s, not CycloneDX", b.BOMFormat, b.SpecVersion)
	}
	for _, name := range components {
		i := slices.IndexFunc(b.Components, func(c struct{ Name, Version, PURL string }) bool { return c.Name == name })
		if i < 0 || b.Components[i].Version == "" || b.Components[i].PURL == "" {
			return fmt.Errorf("of %d components none is %s with a version and a package URL", len(b.Components), name)
		}
	}
	return nil
}

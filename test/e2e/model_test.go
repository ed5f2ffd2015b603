//go:build e2e

package e2e

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/model/pack"
	"polder.dev/polder/model/registry"
)

// weights writes a model in safetensors whose one tensor holds n, and a card.
func weights(t *testing.T, n uint64, licence string) string {
	t.Helper()
	dir := t.TempDir()
	header := `{"a":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}}`
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = binary.LittleEndian.AppendUint64(append(b, header...), n)
	write(t, filepath.Join(dir, "model.safetensors"), string(b))
	write(t, filepath.Join(dir, "README.md"), "---\nlicense: "+licence+"\ntags: [ocr]\n---\n# A model\n")
	return dir
}

// imports pushes a model and returns its digest.
func (c *cloud) imports(t *testing.T, dir, name string) string {
	t.Helper()
	var made struct {
		Digest string
		New    bool
	}
	if err := json.Unmarshal([]byte(c.must(t, "model", "push", dir, name, "-o", "json")), &made); err != nil || !made.New {
		t.Fatalf("%+v, %v", made, err)
	}
	return made.Digest
}

// says runs a command that has to fail with the code, and to say all of it.
func (c *cloud) says(t *testing.T, want int, says []string, args ...string) {
	t.Helper()
	_, errs, code := c.run(args...)
	if code != want {
		t.Errorf("%s: exit code %d, want %d: %s", args, code, want, errs)
	}
	for _, s := range says {
		if !strings.Contains(errs, s) {
			t.Errorf("%s: it does not say %q: %s", args, s, errs)
		}
	}
}

// judged makes an evaluation that a version has passed, as its controller leaves one.
func (c *cloud) judged(t *testing.T, name string, digests ...string) {
	t.Helper()
	e := &v1alpha1.Evaluation{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	e.Spec.Data.Image, e.Spec.Runtime = "data/nowhere", "nowhere" // nothing runs
	for i, d := range digests {
		e.Spec.Models = append(e.Spec.Models, v1alpha1.EvaluatedModel{Name: fmt.Sprintf("m%d", i), Model: "ocr@" + d})
	}
	api := c.api(t)
	if err := api.Create(brief(t), e); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Delete(context.Background(), e) })
	waitFor(t, time.Minute, "the verdict", func(ctx context.Context) error {
		if err := api.Get(ctx, kube.Key("default", name), e); err != nil {
			return err
		}
		e.Status = v1alpha1.EvaluationStatus{State: v1alpha1.StateSucceeded, Passed: true, Verdict: "The candidate is better.", Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue, Reason: "Test", LastTransitionTime: metav1.Now()},
		}}
		for i, d := range digests {
			e.Status.Models = append(e.Status.Models, v1alpha1.EvaluatedResult{Name: fmt.Sprintf("m%d", i), Model: &v1alpha1.ModelReference{Name: "ocr", Digest: d, Reference: "models/default/ocr@" + d}})
		}
		return api.Status().Update(ctx, e)
	})
}

// means checks what an alias of the Model ocr means, and that nothing else is wanted.
func (c *cloud) means(t *testing.T, digest, evaluation string) {
	t.Helper()
	var m v1alpha1.Model
	if err := c.api(t).Get(brief(t), kube.Key("default", "ocr"), &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Status.Aliases) != 1 || m.Status.Aliases[0].Digest != digest || m.Status.Aliases[0].Evaluation != evaluation {
		t.Errorf("production is %+v, want %s by %q", m.Status.Aliases, digest, evaluation)
	}
	if len(m.Spec.Aliases) != 1 || m.Spec.Aliases[0].Digest != digest {
		t.Errorf("what is wanted is %+v", m.Spec.Aliases)
	}
}

// TestModelLife imports versions of a model, promotes them through a gate and back, and
// removes what nobody uses.
func TestModelLife(t *testing.T) {
	c := shared(t)
	broken := t.TempDir()
	write(t, filepath.Join(broken, "model.safetensors"), "garbage that is long enough")
	c.says(t, 2, []string{"model.safetensors", "cut off"}, "model", "push", broken, "ocr")
	c.says(t, 2, []string{"there is no model ocr"}, "model", "show", "ocr")

	dir := weights(t, 1, "apache-2.0")
	first := c.imports(t, dir, "ocr")
	if out := c.must(t, "model", "push", dir, "ocr"); !strings.Contains(out, "already") {
		t.Errorf("the same again: %s", out)
	}
	c.must(t, "model", "promote", "ocr", "production", "--reason", "the first")
	c.means(t, first, "")
	c.must(t, "model", "gate", "ocr", "production", "--evaluation", "--against", "--licence", "Apache-2.0,MIT")

	second := c.imports(t, weights(t, 2, "mit"), "ocr")
	c.says(t, 1, []string{"polder evaluate ocr@" + second + " --against ocr@production"}, "model", "promote", "ocr", "production")
	c.means(t, first, "")
	c.judged(t, "better", second, first)
	c.must(t, "model", "promote", "ocr@"+second[:20], "production")
	c.means(t, second, "better")
	c.must(t, "model", "rollback", "ocr@production", "--reason", "misreads sevens")
	c.means(t, first, "")
	c.must(t, "model", "rollback", "ocr@production")
	c.means(t, second, "better")

	third := c.imports(t, weights(t, 3, "cc-by-nc-4.0"), "ocr")
	c.says(t, 1, []string{"the version has CC-BY-NC-4.0"}, "model", "promote", "ocr", "production")
	for _, tc := range []struct{ args, want []string }{
		{[]string{"versions", "ocr"}, []string{first, second, third, "production", "CC-BY-NC-4.0"}},
		{[]string{"show", "ocr@production"}, []string{second, "production since", "by evaluation better", "lineage", "model.safetensors", "by admin"}},
		{[]string{"lineage", "ocr@production"}, []string{"ocr " + second + "  @production", "imported: safetensors, by admin", "evaluation better: passed. The candidate is better.", "licence MIT"}},
		{[]string{"diff", "ocr@production", "ocr"}, []string{"licence", "MIT", "CC-BY-NC-4.0", "model.safetensors"}},
		{[]string{"card", "ocr@production", "--attach"}, []string{"# ocr", "## Evaluation better", "Its licence", "MIT"}[:2]},
		{[]string{"show", "ocr@production"}, []string{"model card"}},
	} {
		out := c.must(t, append([]string{"model"}, tc.args...)...)
		for _, w := range tc.want {
			if !strings.Contains(out, w) {
				t.Errorf("%s does not say %q:\n%s", tc.args, w, out)
			}
		}
	}
	c.modelStays(t, second)
	c.modelsOfPersons(t)
	c.modelGoes(t, first, second, third)
}

// modelStays: while a service names it.
func (c *cloud) modelStays(t *testing.T, digest string) {
	api := c.api(t)
	s := &v1alpha1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "reader"}}
	s.Spec.Model, s.Spec.Runtime = "ocr@production", "nowhere"
	if err := api.Create(brief(t), s); err != nil {
		t.Fatal(err)
	}
	c.says(t, 2, []string{"used by service reader"}, "model", "rm", "ocr")
	c.says(t, 2, []string{"used by service reader"}, "model", "rm", "ocr@production")
	c.says(t, 2, []string{"ocr@production means"}, "model", "rm", "ocr@"+digest)
	m := &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "ocr"}}
	waitFor(t, time.Minute, "the API server refusing it too", func(ctx context.Context) error { // it hears of services a moment later
		err := api.Delete(ctx, m, client.DryRunAll)
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "used by InferenceService reader") {
			return fmt.Errorf("removing it gives %v", err)
		}
		return nil
	})
	if err := api.Delete(brief(t), s); err != nil {
		t.Fatal(err)
	}
}

// modelsOfPersons: whoever edits a namespace imports and promotes there, and makes
// nothing up.
func (c *cloud) modelsOfPersons(t *testing.T) {
	who, file := c.user(t, "ana", "default")
	dir := weights(t, 4, "mit")
	for _, args := range [][]string{{"model", "push", dir, "anas"}, {"model", "promote", "anas", "staging"}} {
		if _, errs, code := c.run(append(args, "--kubeconfig", file)...); code != 0 {
			t.Fatalf("%s: %d %s", args, code, errs)
		}
	}
	if out := c.must(t, "model", "show", "anas"); !strings.Contains(out, "safetensors, by ana") {
		t.Errorf("it does not say who imported it:\n%s", out)
	}
	var m v1alpha1.Model
	if err := who.Get(brief(t), kube.Key("default", "anas"), &m); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*v1alpha1.Model){
		"lineage": func(m *v1alpha1.Model) { m.Spec.Lineage.Job = "j" },
		"licence": func(m *v1alpha1.Model) { m.Spec.Licence = "Apache-2.0" },
		"metrics": func(m *v1alpha1.Model) { m.Spec.Metrics = map[string]string{"accuracy": "1"} },
		"version": func(m *v1alpha1.Model) { m.Spec.Digest = "sha256:" + strings.Repeat("0", 64) },
	} {
		forged := m.DeepCopy()
		change(forged)
		if err := who.Update(brief(t), forged); !apierrors.IsForbidden(err) {
			t.Errorf("a person writes the %s: %v", what, err)
		}
	}
	forged := m.DeepCopy()
	forged.Status.Aliases[0].Digest = "sha256:" + strings.Repeat("0", 64)
	if err := who.Status().Update(brief(t), forged); !apierrors.IsForbidden(err) {
		t.Errorf("a person writes the status: %v", err)
	}
	c.must(t, "model", "rm", "anas")
}

// modelGoes: one version, and then all, with what refers to them.
func (c *cloud) modelGoes(t *testing.T, first, second, third string) {
	fourth := c.imports(t, weights(t, 5, "mit"), "ocr")
	c.must(t, "model", "rm", "ocr@"+third)
	c.says(t, 2, []string{third}, "model", "pull", "ocr@"+third, t.TempDir())
	if out := c.must(t, "model", "versions", "ocr"); strings.Contains(out, third) || !strings.Contains(out, first) {
		t.Errorf("the versions are\n%s", out)
	}
	dir := filepath.Join(t.TempDir(), "out")
	c.must(t, "model", "pull", "ocr@production", dir)
	if b, err := os.ReadFile(filepath.Join(dir, "model.safetensors")); err != nil || b[len(b)-8] != 2 {
		t.Errorf("production holds %v, %v", b, err)
	}
	trust, err := c.api(t).Trust()
	if err != nil {
		t.Fatal(err)
	}
	images, err := registry.New(c.RegistryURL(), trust)
	if err != nil {
		t.Fatal(err)
	}
	const repository = "models/default/ocr"
	if there, err := images.Exists(brief(t), repository+"@"+second); err != nil || !there {
		t.Errorf("what production means is there: %v, %v", there, err)
	}
	attached, err := pack.Referrers(brief(t), images, repository, digest.Digest(second), "")
	if err != nil || len(attached) != 2 {
		t.Fatalf("what refers to it: %+v, %v", attached, err)
	}
	m := &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "ocr"}}
	if err := c.api(t).Delete(brief(t), m); err != nil { // as kubectl does
		t.Fatal(err)
	}
	c.isGone(t, m)
	for _, d := range []string{first, second, third, fourth, attached[0].Digest.String(), attached[1].Digest.String()} {
		if there, err := images.Exists(brief(t), repository+"@"+d); err != nil || there {
			t.Errorf("%s is there after the model was removed: %v, %v", d, there, err)
		}
	}
	c.says(t, 2, []string{"there is no model ocr"}, "model", "rm", "ocr")
	c.namespaceGoes(t, images)
}

// namespaceGoes with its models and their artifacts.
func (c *cloud) namespaceGoes(t *testing.T, images *registry.Client) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "leaving"}}
	if err := c.api(t).Create(brief(t), ns); err != nil {
		t.Fatal(err)
	}
	c.must(t, "model", "push", weights(t, 6, "mit"), "ocr", "--namespace", ns.Name)
	var m v1alpha1.Model
	if err := c.api(t).Get(brief(t), kube.Key(ns.Name, "ocr"), &m); err != nil {
		t.Fatal(err)
	}
	if there, err := images.Exists(brief(t), m.Spec.Reference); err != nil || !there {
		t.Fatalf("%s is there: %v, %v", m.Spec.Reference, there, err)
	}
	if err := c.api(t).Delete(brief(t), ns); err != nil {
		t.Fatal(err)
	}
	c.isGone(t, ns)
	if there, err := images.Exists(brief(t), m.Spec.Reference); err != nil || there {
		t.Errorf("%s is there after its namespace was removed: %v, %v", m.Spec.Reference, there, err)
	}
}

// isGone waits until an object that was removed is not there any more.
func (c *cloud) isGone(t *testing.T, o client.Object) {
	t.Helper()
	waitFor(t, podLimit, fmt.Sprintf("the end of %T %s", o, o.GetName()), func(ctx context.Context) error {
		err := c.api(t).Get(ctx, client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if m, ok := o.(*v1alpha1.Model); ok {
			return fmt.Errorf("it is there: %+v", m.Status.Conditions)
		}
		return errors.New("it is there")
	})
}

// TestModelsChangeAfterARestart: an API server that has just started lets clients that know
// nothing of Polder change and remove models, as soon as it answers them. What it knows by
// then is a matter of chance, hence more than one start.
func TestModelsChangeAfterARestart(t *testing.T) {
	const starts = 3
	c := shared(t)
	c.imports(t, weights(t, 7, "mit"), "restarted")
	m := &v1alpha1.Model{}
	for i := range starts {
		c.serverKilled(t)
		waitFor(t, time.Minute, "an answer of the next API server", func(ctx context.Context) error {
			return c.api(t).Get(ctx, kube.Key("default", "restarted"), m)
		})
		before := m.DeepCopy()
		metav1.SetMetaDataLabel(&m.ObjectMeta, "start", fmt.Sprint(i))
		if err := c.api(t).Patch(brief(t), m, kube.Changes(before)); err != nil {
			t.Errorf("a change that was asked for at once is refused: %v", err)
		}
	}
	if err := c.api(t).Delete(brief(t), m); err != nil {
		t.Errorf("a removal is refused: %v", err)
	}
	c.isGone(t, m)
}

// serverKilled kills the API server with SIGKILL.
func (c *cloud) serverKilled(t *testing.T) {
	t.Helper()
	s, err := c.status()
	if err != nil {
		t.Fatal(err)
	}
	server, err := s.component("kube-apiserver")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(server.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, time.Minute, "the death of the API server", func(context.Context) error {
		if err := syscall.Kill(server.PID, 0); err != syscall.ESRCH {
			return fmt.Errorf("process %d is there: %v", server.PID, err)
		}
		return nil
	})
}

// TestPromoteUnderLoad: a service follows an alias from version to version and back, and
// clients that never rest see the one or the other and no failure.
func TestPromoteUnderLoad(t *testing.T) {
	c := shared(t)
	image := probeRepository + "@" + c.probe(t)
	ns := c.namespace(t, "promoting", nil)
	for i, text := range []string{"one", "two"} {
		dir := weights(t, uint64(i), "mit")
		write(t, filepath.Join(dir, "name.txt"), text)
		c.must(t, "model", "push", dir, "words", "--namespace", ns)
		if i == 0 {
			c.must(t, "model", "promote", "words", "production", "--namespace", ns)
		}
	}
	c.must(t, "serve", "words@production", "--image", image, "--name", "words", "--protocol", "http", "--min", "2", "--cpu", "20m", "--memory", "64Mi", "--request-timeout", "10s",
		"--namespace", ns, "--timeout", "3m", "--", "/probe", "serve", "8080", "@/polder/model/name.txt", "50ms")
	d := c.door(t)
	if got, err := d.get(t.Context(), ns, "words", ""); err != nil || got != "one" {
		t.Fatalf("it answers %q, %v", got, err)
	}
	l := d.load(t, 8, ns, "words")
	await := func(text string) {
		t.Helper()
		c.awaitRoles(t, ns, "words", "stable 100% 2/2", 2*time.Minute)
		before := l.count(text)
		waitFor(t, time.Minute, "answers of version "+text, func(context.Context) error {
			if l.count(text) < before+20 {
				return fmt.Errorf("%d answers", l.count(text))
			}
			return nil
		})
	}
	await("one")
	for _, step := range []struct {
		args []string
		text string
	}{
		{[]string{"model", "promote", "words", "production"}, "two"},
		{[]string{"model", "rollback", "words@production"}, "one"},
		{[]string{"model", "rollback", "words@production"}, "two"},
	} {
		c.must(t, append(step.args, "--namespace", ns)...)
		waitFor(t, 2*time.Minute, "the first answer of version "+step.text, func(ctx context.Context) error {
			if got, err := d.get(ctx, ns, "words", ""); err != nil || got != step.text {
				return fmt.Errorf("it answers %q, %v", got, err)
			}
			return nil
		})
		await(step.text)
	}
	answers, failed := l.end()
	t.Logf("answers: %v", answers)
	if len(failed) > 0 || len(answers) != 2 {
		t.Errorf("answers %v; %d requests failed, the first with: %v", answers, len(failed), failed[:min(len(failed), 1)])
	}
	c.says(t, 2, []string{"used by service words"}, "model", "rm", "words", "--namespace", ns)
	c.must(t, "service", "rm", "words", "--namespace", ns)
}

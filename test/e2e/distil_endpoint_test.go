//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// largeWriter speaks OpenAI's API. After 30 prompts it is overloaded, until the file
// /tmp/ok is there. Who does not bear the key is refused.
const largeWriter = `
import http.server, json, os
seen = set()
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt, code = body["messages"][-1]["content"], 200
        if self.headers.get("Authorization") != "Bearer not-to-be-told":
            code = 401
        elif len(seen) >= 30 and prompt not in seen and not os.path.exists("/tmp/ok"):
            code = 503
        else:
            seen.add(prompt)
        text = json.dumps({"choices": [{"message": {"content": "the word " + prompt + " has a colour"}}]}).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
http.server.ThreadingHTTPServer(("", 8000), H).serve_forever()
`

// TestDistilFromAnEndpoint: a teacher that is overloaded in the middle. What it had
// answered is kept, over jobs that die, and its key is told to nobody.
func TestDistilFromAnEndpoint(t *testing.T) {
	c := shared(t)
	c.pytorch(t)
	c.must(t, "runtime", "build", "onnx-cpu")
	const key = "not-to-be-told"
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "teacher-key"}, StringData: map[string]string{"token": key}}
	if err := c.api(t).Create(brief(t), secret); err != nil {
		t.Fatal(err)
	}
	p := probePod("default", "large-writer")
	p.Spec.Containers[0].Image = v1alpha1.RegistryHost + "/runtimes/pytorch-cpu:latest"
	p.Spec.Containers[0].Command = []string{"python3", "-c", largeWriter}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		if err := c.api(t).Delete(ctx, p); err != nil && !apierrors.IsNotFound(err) {
			t.Logf("removing pod %s: %v", p.Name, err)
		}
	})
	p = c.start(t, p)
	file := filepath.Join(t.TempDir(), "words.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, wordsFile, p.Status.PodIP), 0o600); err != nil {
		t.Fatal(err)
	}
	c.words(t)
	c.must(t, "distil", "run", file)
	waitFor(t, distilLimit, "a teacher that is overloaded", func(ctx context.Context) error {
		d, err := c.distillation(ctx, t, "words")
		if err != nil {
			return err
		}
		if d.Status.State.Done() {
			return hopeless{fmt.Errorf("it ended, %s: %s", d.Status.State, d.Status.Message)}
		}
		if len(d.Status.Stages) == 0 || d.Status.Stages[0].State != v1alpha1.StateRestarting {
			return fmt.Errorf("it is %s: %+v", d.Status.State, d.Status.Stages)
		}
		return nil
	})
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), podLimit) // python takes a while to start
	defer cancel()
	if err := c.api(t).Exec(ctx, p.Namespace, p.Name, &corev1.PodExecOptions{
		Container: "main", Command: []string{"python3", "-c", "open('/tmp/ok', 'w')"},
	}, &out, &errs); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	d := c.distilled(t, "words", v1alpha1.StateSucceeded, "")
	c.checkWords(t, d, key)
}

// wordsFile is a distillation of the writer at an address.
const wordsFile = `apiVersion: polder.dev/v1alpha1
kind: Distillation
metadata: {name: words}
spec:
  method: sequence
  teacher:
    endpoint:
      url: http://%s:8000/v1
      model: large
      key: {name: teacher-key, key: token}
      requestTimeoutSeconds: 5
  student:
    recipe: sequence
    parameters: {epochs: "8", tries: "2", at_once: "2"}
    resources: {cpu: 900m, memory: 1Gi}
  data: {bucket: {name: prompts}}
  cacheBucket: {name: prompts-answers}
  requirements:
  - {metric: accuracy, min: "0.6"}
  budget: {acceleratorHours: "0.5"}
`

// words puts prompts into the store.
func (c *cloud) words(t testing.TB) {
	t.Helper()
	var b strings.Builder
	for _, a := range []string{"ba", "ke", "li", "mo", "nu", "ra", "so", "ti"} {
		for _, z := range []string{"den", "fal", "gon", "her", "kin", "lum", "mos", "net", "por", "ras"} {
			b.WriteString(a + z + "\n")
		}
	}
	file := filepath.Join(t.TempDir(), "prompts.txt")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must(t, "bucket", "create", "prompts")
	c.must(t, "bucket", "create", "prompts-answers")
	c.must(t, "cp", file, "s3://prompts/prompts.txt")
}

// checkWords looks at what came of it.
func (c *cloud) checkWords(t *testing.T, d *v1alpha1.Distillation, key string) {
	t.Helper()
	j, err := c.job(brief(t), t, d.Status.Stages[0].Job)
	if err != nil {
		t.Fatal(err)
	}
	if m := j.Status.Progress.Metrics; m["answers"] != "80" || m["answers_kept"] == "0" || j.Status.Restarts == 0 {
		t.Errorf("after %d restarts the teacher's figures are %v", j.Status.Restarts, m)
	}
	if out := c.must(t, "ls", "-r", "s3://prompts-answers/"); !strings.Contains(out, ".ndjson") {
		t.Errorf("the bucket of answers has:\n%s", out)
	}
	dir := filepath.Join(t.TempDir(), "answers")
	c.must(t, "model", "pull", j.Status.Model.Name, dir)
	b, err := os.ReadFile(filepath.Join(dir, "answers.ndjson"))
	if err != nil || bytes.Count(b, []byte("\n")) != 80 || !bytes.Contains(b, []byte("has a colour")) {
		t.Errorf("the answers are %.200s, %v", b, err)
	}
	text := c.must(t, "distil", "show", "words", "-o", "json") + c.must(t, "jobs", "-o", "json") + c.must(t, "logs", j.Name) + string(b)
	if strings.Contains(text, key) {
		t.Error("the teacher's key is told")
	}
	var m v1alpha1.Model
	if err := c.api(t).Get(brief(t), kube.Key("default", "words"), &m); err != nil {
		t.Fatal(err)
	}
	if err := atLeast(m.Spec.Metrics["test_accuracy"], 0.6); err != nil {
		t.Errorf("the writer's figures are %v: %v", m.Spec.Metrics, err)
	}
}

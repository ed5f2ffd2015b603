//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/model/infer"
	"polder.dev/polder/model/infer/infertest"
)

// onnx builds the runtime and imports a model of it.
func (c *cloud) onnx(t *testing.T, name string, model []byte, description string) {
	t.Helper()
	t.Log(strings.TrimSpace(c.must(t, "runtime", "build", "onnx-cpu")))
	dir := t.TempDir()
	write(t, filepath.Join(dir, infer.ModelFile), string(model))
	write(t, filepath.Join(dir, infer.DescriptionFile), description)
	c.imports(t, dir, name)
	t.Cleanup(func() { c.run("model", "rm", name) })
}

// infer asks a service over the Open Inference Protocol. Header is the length of the JSON
// of a body that has binary data, or 0.
func (d *door) infer(t *testing.T, ns, service string, body []byte, header int) (int, int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url+"/"+ns+"/v2/models/"+service+"/infer", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if header > 0 {
		req.Header.Set(infer.HeaderLength, strconv.Itoa(header))
	}
	resp, err := d.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	length, err := infer.ParseHeaderLength(resp.Header.Get(infer.HeaderLength), len(text))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, length, text
}

// TestONNX serves a model in ONNX as a stranger would: its answers are those that the
// network must give, what does not fit is refused with what was expected, and the server
// has no right that it does not need.
func TestONNX(t *testing.T) {
	c := shared(t)
	net := infertest.Random(1, 64, 32, 10)
	c.onnx(t, "onnx-net", net.Bytes(), `{"serving":{"task":"classification"}}`)
	t.Cleanup(func() { c.run("service", "rm", "onnx-net") })
	c.must(t, "serve", "onnx-net")
	d := c.door(t)
	row := make([]float32, 64)
	for i := range row {
		row[i] = float32(math.Sin(float64(i)))
	}
	for _, binary := range []bool{false, true} {
		x := infer.New(infertest.Input, row, 1, 64)
		x.Binary = binary
		q := infer.Request{Inputs: []infer.Tensor{x}}
		if binary {
			q.AskBinary()
		}
		body, header, err := q.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		code, length, text := d.infer(t, "default", "onnx-net", body, header)
		if code != http.StatusOK {
			t.Fatalf("answered %d: %s", code, text)
		}
		res, err := infer.DecodeResponse(text, length, infer.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		y := res.Output(infer.OutputProbabilities)
		if y == nil || y.Binary != binary || !strings.HasPrefix(res.ModelVersion, "sha256:") {
			t.Fatalf("answered %+v", res)
		}
		for i, want := range net.Answer(row) {
			if got := float64(y.Data.([]float32)[i]); math.Abs(got-want) > 1e-5 {
				t.Errorf("binary %v: class %d has probability %v, want %v", binary, i, got, want)
			}
		}
	}
	for _, bad := range []struct {
		body []byte
		want string
	}{
		{[]byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}`), "input x has shape [1 3]; expected [-1 64]"},
		{bytes.Repeat([]byte{0xa5}, 10<<20), "malformed"},
	} {
		if code, _, text := d.infer(t, "default", "onnx-net", bad.body, 0); code != http.StatusBadRequest || !strings.Contains(string(text), bad.want) {
			t.Errorf("answered %d %s; want 400 with %s", code, text, bad.want)
		}
	}
	if out := c.must(t, "predict", "onnx-net", rowsFile(t, row), "-o", "json"); !strings.Contains(out, infer.OutputProbabilities) {
		t.Errorf("polder predict says %s", out)
	}
	c.onnxConfined(t)
	t.Run("corrupt", c.onnxCorrupt)
}

// rowsFile writes a row as CSV.
func rowsFile(t *testing.T, row []float32) string {
	t.Helper()
	var words []string
	for _, v := range row {
		words = append(words, fmt.Sprint(v))
	}
	return write(t, filepath.Join(t.TempDir(), "rows.csv"), strings.Join(words, ",")+"\n")
}

// onnxConfined looks at the pod of the server.
func (c *cloud) onnxConfined(t *testing.T) {
	var pods corev1.PodList
	if err := c.api(t).List(brief(t), &pods, kube.InNamespace("default"), kube.Labelled(map[string]string{v1alpha1.LabelService: "onnx-net"})); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 1 {
		t.Fatalf("there are %d pods", len(pods.Items))
	}
	p := &pods.Items[0]
	s := p.Spec.Containers[0].SecurityContext
	if p.Spec.RuntimeClassName == nil || *p.Spec.RuntimeClassName != "gvisor" || s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
		t.Errorf("class %v, security %+v", p.Spec.RuntimeClassName, s)
	}
}

// onnxCorrupt: a file that has the form of a model and is none costs a sentence.
func (c *cloud) onnxCorrupt(t *testing.T) {
	none := infertest.Graph{
		Inputs:  []infertest.Value{{Name: "x", Type: infertest.Float, Shape: []int64{-1, 2}}},
		Outputs: []infertest.Value{{Name: "y", Type: infertest.Float, Shape: []int64{-1, 2}}},
		Nodes:   []infertest.Node{{Op: "Nonsense", Inputs: []string{"x"}, Outputs: []string{"y"}}},
	}
	c.onnx(t, "onnx-none", none.Bytes(), `{}`)
	t.Cleanup(func() { c.run("service", "rm", "onnx-none") })
	c.must(t, "serve", "onnx-none", "--no-wait")
	waitFor(t, 2*time.Minute, "the reason why onnx-none does not start", func(ctx context.Context) error {
		s, err := c.served(ctx, t, "default", "onnx-none")
		if err != nil {
			return err
		}
		ready := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || !strings.Contains(ready.Message, "is no model that onnxruntime") {
			return fmt.Errorf("it is %+v", ready)
		}
		return nil
	})
}

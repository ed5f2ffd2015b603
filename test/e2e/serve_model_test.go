//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/model/infer"
	"polder.dev/polder/model/infer/infertest"
)

// sure writes a model that says one class of two, whatever it is asked.
func sure(t *testing.T, class int) string {
	t.Helper()
	bias := []float32{0, 0}
	bias[class] = 3
	n := infertest.Net{Output: infer.OutputProbabilities, Layers: []infertest.Layer{{Weights: [][]float32{{0, 0}, {0, 0}}, Bias: bias}}}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "model.onnx"), string(n.Bytes()))
	write(t, filepath.Join(dir, "model.json"), `{"framework":"onnx","serving":{"task":"classification","features":["a","b"],"labels":["no","yes"]}}`)
	return dir
}

// class asks a service by the Open Inference Protocol, and returns "class N".
func (d *door) class(ctx context.Context, ns, service string) (string, error) {
	const body = `{"inputs":[{"name":"` + infertest.Input + `","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/"+ns+"/v2/models/"+service+"/infer", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", infer.ContentJSON)
	resp, err := d.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %s", resp.StatusCode, b)
	}
	r, err := infer.DecodeResponse(b, len(b), infer.Limits{})
	if err != nil {
		return "", err
	}
	rows, err := infer.Rows(r.Scores())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("class %d", rows[0].Class), nil
}

// TestServeModel serves a model in ONNX by its alias: promotions and rollbacks are rolled
// out under load without a request that fails, a canary gets its part, and a version that
// is corrupt, or no model, changes nothing for those who ask.
func TestServeModel(t *testing.T) {
	c := shared(t)
	began := time.Now()
	t.Log(strings.TrimSpace(c.must(t, "runtime", "build", "onnx-cpu")))
	t.Logf("the runtime took %.1f s", time.Since(began).Seconds())
	no, yes := c.imports(t, sure(t, 0), "verdict"), c.imports(t, sure(t, 1), "verdict")
	c.must(t, "model", "promote", "verdict@"+no, "production")
	began = time.Now()
	c.must(t, "serve", "verdict@production", "--cpu", "100m", "--memory", "256Mi", "--batch-max", "16", "--request-timeout", "20s")
	t.Logf("served after %.1f s", time.Since(began).Seconds())
	d := c.door(t)

	rows := write(t, filepath.Join(t.TempDir(), "rows.csv"), "a,b\n1,2\n3,4\n")
	if out := c.must(t, "predict", "verdict", rows); !strings.Contains(out, "0    no     0.95") || !strings.Contains(out, "1    no     0.95") {
		t.Errorf("it predicts\n%s", out)
	}
	wrong := write(t, filepath.Join(t.TempDir(), "wrong.json"), `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}`)
	c.says(t, 2, []string{"400", "has shape [1 3]"}, "predict", "verdict", wrong)
	var meta infer.ModelMetadata
	if text, code, err := ask(t.Context(), d.url+"/default/v2/models/verdict", c.trust(t, true)); err != nil || code != http.StatusOK || json.Unmarshal([]byte(text), &meta) != nil || meta.Name != "verdict" {
		t.Errorf("it says of itself %d %s, %v", code, text, err)
	}

	asks := func(n int) *load {
		return loaded(t, n, func(ctx context.Context) (string, error) { return d.class(ctx, "default", "verdict") })
	}
	settle := func(t *testing.T, l *load, text string) {
		t.Helper()
		c.awaitRoles(t, "default", "verdict", "stable 100% 1/1", podLimit)
		before := l.count(text)
		waitFor(t, time.Minute, "answers "+text, func(context.Context) error {
			if got := l.count(text); got < before+50 {
				return fmt.Errorf("%d more", got-before)
			}
			return nil
		})
	}
	t.Run("promoted and rolled back under load", func(t *testing.T) {
		l := asks(4)
		settle(t, l, "class 0")
		for range 2 {
			c.must(t, "model", "promote", "verdict@"+yes, "production")
			c.awaitServed(t, "verdict", yes)
			settle(t, l, "class 1")
			c.must(t, "model", "rollback", "verdict@production")
			c.awaitServed(t, "verdict", no)
			settle(t, l, "class 0")
		}
		answers, failed := l.end()
		t.Logf("answers: %v", answers)
		if len(failed) > 0 {
			t.Errorf("%d requests failed, the first with: %v", len(failed), failed[0])
		}
	})

	t.Run("a canary gets its part", func(t *testing.T) {
		c.must(t, "service", "canary", "verdict", "verdict@"+yes, "--percent", "50")
		l := asks(4)
		waitFor(t, time.Minute, "answers of both", func(context.Context) error {
			if a, b := l.count("class 0"), l.count("class 1"); a < 50 || b < 50 {
				return fmt.Errorf("%d and %d", a, b)
			}
			return nil
		})
		c.must(t, "service", "canary", "verdict", "--end")
		settle(t, l, "class 0")
		if answers, failed := l.end(); len(failed) > 0 {
			t.Errorf("of %v %d requests failed, the first with: %v", answers, len(failed), failed[0])
		}
	})

	t.Run("no model", func(t *testing.T) {
		none := infertest.Graph{
			Inputs:  []infertest.Value{{Name: "x", Type: infertest.Float, Shape: []int64{-1, 2}}},
			Outputs: []infertest.Value{{Name: "y", Type: infertest.Float, Shape: []int64{-1, 2}}},
			Nodes:   []infertest.Node{{Op: "Nonsense", Inputs: []string{"x"}, Outputs: []string{"y"}}},
		}
		dir := t.TempDir()
		write(t, filepath.Join(dir, "model.onnx"), string(none.Bytes()))
		broken := c.imports(t, dir, "verdict")
		l := asks(2)
		update := []string{"service", "update", "verdict", "--model", "verdict@" + broken}
		c.must(t, append(update, "--no-wait")...)
		const reason = "is no model that onnxruntime"
		c.awaitTrouble(t, "default", "verdict", reason)
		c.says(t, 1, []string{reason}, append(update, "--timeout", "5s")...)
		c.must(t, "service", "update", "verdict", "--model", "verdict@production")
		settle(t, l, "class 0")
		if answers, failed := l.end(); len(failed) > 0 || len(answers) != 1 {
			t.Errorf("of %v %d requests failed: %v", answers, len(failed), failed)
		}
	})

	c.says(t, 2, []string{"verdict"}, "model", "rm", "verdict")
	c.must(t, "service", "rm", "verdict")
	c.must(t, "model", "rm", "verdict")
}

// awaitServed waits until the stable revision of a service serves a digest.
func (c *cloud) awaitServed(t testing.TB, name, digest string) {
	t.Helper()
	waitFor(t, podLimit, "service "+name+" with "+digest, func(ctx context.Context) error {
		s, err := c.served(ctx, t, "default", name)
		if err != nil {
			return err
		}
		for _, r := range s.Status.Revisions {
			if r.Role == "stable" && r.Model != nil && r.Model.Digest == digest {
				return nil
			}
		}
		return fmt.Errorf("it has %s; conditions %+v", roles(s), s.Status.Conditions)
	})
}

//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/system/layout"
)

// TestKillEachComponent kills the components of a cloud one by one, under a job of
// two workers that goes on all the while and ends well.
func TestKillEachComponent(t *testing.T) {
	c := shared(t)
	c.tiny(t)
	const name = "undying"
	c.submit(t, tinyJob(name, 2, map[string]string{"epochs": "1000000", "pace": "100ms"}))
	c.awaitJob(t, name, "a first epoch", jobLimit, pastEpoch(1))
	first, err := c.workers(brief(t), t, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.status()
	if err != nil {
		t.Fatal(err)
	}
	killed := 0
	for _, comp := range s.Components {
		if comp.PID == 0 {
			continue // runs once, or is no process
		}
		killed++
		t.Run(comp.Name, func(t *testing.T) { c.killComponent(t, comp.Name, name) })
	}
	if killed < 9 {
		t.Errorf("only %d components have processes: %+v", killed, s.Components)
	}
	c.finish(t, name)
	j := c.awaitJob(t, name, "its end", jobLimit, inState(v1alpha1.StateSucceeded))
	if j.Status.Restarts != 0 {
		t.Errorf("the job was restarted %d times", j.Status.Restarts)
	}
	last, err := c.workers(brief(t), t, name)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != 2 || len(last) != 2 {
		t.Fatalf("the job had %d workers, and has %d", len(first), len(last))
	}
	for i := range last {
		a, b := first[i], last[i]
		if a.UID != b.UID || a.Status.ContainerStatuses[0].ContainerID != b.Status.ContainerStatuses[0].ContainerID {
			t.Errorf("worker %d is not the one of the beginning", i)
		}
	}
	dir := t.TempDir()
	c.must(t, "model", "pull", name, dir)
	if starts := events(metricLines(t, filepath.Join(dir, "metrics.jsonl")), "start"); len(starts) != 1 {
		t.Errorf("the program started %d times", len(starts))
	}
}

// killComponent kills one component, waits until it serves again, and then until
// the job's progress has reached its status.
func (c *cloud) killComponent(t *testing.T, component, job string) {
	s, err := c.status()
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.component(component)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatalf("killing %s, process %d: %v", component, before.PID, err)
	}
	waitFor(t, 2*time.Minute, component+" serving again", func(context.Context) error {
		s, err := c.status()
		if err != nil {
			return err
		}
		for _, other := range s.Components { // all must serve: none may be dragged along
			now := other
			if now.Name == component && (now.Restarts <= before.Restarts || now.PID == before.PID) {
				return fmt.Errorf("%+v, was %+v", now, before)
			}
			if now.State != "Ready" && now.State != "Done" {
				return fmt.Errorf("%+v", now)
			}
		}
		return nil
	})
	t.Logf("%s serves again %.1f s after kill -9", component, time.Since(began).Seconds())
	epoch := int64(0)
	waitFor(t, time.Minute, "the job's epoch in its status", func(ctx context.Context) error {
		j, err := c.job(ctx, t, job)
		if err == nil && j.Status.Progress != nil {
			epoch = j.Status.Progress.Epoch
		}
		return err
	})
	c.awaitJob(t, job, "an epoch after "+component+" was killed", time.Minute, pastEpoch(epoch+1))
}

// TestKillShims kills the small programs that hold containers: what they held must
// end, before the same pod gets others, or two would write to one volume.
func TestKillShims(t *testing.T) {
	c := shared(t)
	c.probe(t)
	for name, labels := range map[string]map[string]string{"held-boxed": nil, "held-plain": {v1alpha1.LabelSandbox: "runc"}} {
		t.Run(name, func(t *testing.T) {
			p := probePod(c.namespace(t, name, labels), "server", "serve", "8080", "x")
			p.Spec.RestartPolicy = corev1.RestartPolicyAlways
			before := c.start(t, p)
			held := c.inPod(before)
			shims := 0
			for _, p := range processes() {
				parent := slices.ContainsFunc(held, func(h process) bool { return h.parent == p.pid })
				if !parent || !strings.HasPrefix(filepath.Base(p.exe), "containerd-shim-") {
					continue
				}
				shims++
				if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			if shims == 0 || len(held) < 2 {
				t.Fatalf("found %d shims and %d processes of the pod", shims, len(held))
			}
			waitFor(t, podLimit, "the pod with other containers, and the end of the old", func(ctx context.Context) error {
				var now corev1.Pod
				if err := c.api(t).Get(ctx, kube.Key(p.Namespace, p.Name), &now); err != nil {
					return err
				}
				cs := now.Status.ContainerStatuses[0]
				if !cs.Ready || cs.ContainerID == before.Status.ContainerStatuses[0].ContainerID {
					return c.seen(ctx, t, &now)
				}
				for _, h := range held {
					if h.lives() {
						return fmt.Errorf("process %d lives: %.100s", h.pid, h.args)
					}
				}
				return nil
			})
		})
	}
}

// TestMetrics reads what Polder's controllers export, as a monitoring system
// with a certificate does.
func TestMetrics(t *testing.T) {
	c := shared(t)
	c.tiny(t)
	const name = "measured"
	c.submit(t, tinyJob(name, 1, map[string]string{"epochs": "1000000", "pace": "100ms"}))
	c.awaitJob(t, name, "five epochs", jobLimit, pastEpoch(5))
	want := regexp.MustCompile(`(?m)^polder_train_epoch\{job="` + name + `",namespace="default"\} (\d+)$`)
	waitFor(t, time.Minute, "the job's epoch among the metrics", func(ctx context.Context) error {
		text, code, err := ask(ctx, "https://"+c.At(layout.PortControl)+"/metrics", c.trust(t, true))
		if err != nil {
			return err
		}
		m := want.FindStringSubmatch(text)
		if code != http.StatusOK || m == nil {
			return fmt.Errorf("status %d, %.300q", code, text)
		}
		if n, err := strconv.Atoi(m[1]); err != nil || n < 5 {
			return fmt.Errorf("epoch %s", m[1])
		}
		return nil
	})
	c.finish(t, name)
	c.awaitJob(t, name, "its end", jobLimit, inState(v1alpha1.StateSucceeded))
}

// trust is the administrator's certificate, or none, and the cloud's authority.
func (c *cloud) trust(t testing.TB, certificate bool) *tls.Config {
	t.Helper()
	trust, err := c.api(t).Trust()
	if err != nil {
		t.Fatal(err)
	}
	if !certificate {
		trust.Certificates, trust.GetClientCertificate = nil, nil
	}
	return trust
}

// ask sends a request over a connection of its own.
func ask(ctx context.Context, url string, trust *tls.Config) (text string, code int, err error) {
	client := http.Client{Transport: &http.Transport{TLSClientConfig: trust}, Timeout: callLimit}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), resp.StatusCode, err
}

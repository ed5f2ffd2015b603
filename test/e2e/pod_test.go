//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// probeRepository is where the probe's image lies in a cloud's registry.
const probeRepository = "tests/probe"

// probeDir builds the probe once for all tests and returns the directory that becomes its image.
var probeDir = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("polder-e2e-probe-%d", os.Getpid()))
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(dir, "probe"), "./probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the probe: %w\n%s", err, out)
	}
	return dir, nil
})

// probe sees to it that the cloud has the probe's image, and returns its digest.
func (c *cloud) probe(t testing.TB) string {
	t.Helper()
	dir, err := probeDir()
	if err != nil {
		t.Fatal(err)
	}
	_, digest, ok := strings.Cut(strings.TrimSpace(c.must(t, "image", "push", dir, probeRepository)), "@")
	if !ok {
		t.Fatal("polder image push printed no digest")
	}
	return digest
}

// namespace makes a namespace that goes at the end of t, and returns when pods
// can be made in it.
func (c *cloud) namespace(t testing.TB, name string, labels map[string]string) string {
	t.Helper()
	api := c.api(t)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	waitFor(t, podLimit, "namespace "+name+", of which an earlier test may have had one", func(ctx context.Context) error {
		err := api.Create(ctx, ns)
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return hopeless{err}
		}
		return err
	})
	t.Cleanup(func() {
		if _, err := os.Stat(c.Dir); err != nil {
			return // the cloud is gone, and all namespaces with it
		}
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		if err := api.Delete(ctx, ns); err != nil && !apierrors.IsNotFound(err) {
			t.Logf("removing namespace %s: %v", name, err)
		}
	})
	c.account(t, name)
	return name
}

// account waits until a new namespace has its service account, which pods need.
func (c *cloud) account(t testing.TB, ns string) {
	t.Helper()
	waitFor(t, time.Minute, "the service account of namespace "+ns, func(ctx context.Context) error {
		return c.api(t).Get(ctx, kube.Key(ns, "default"), &corev1.ServiceAccount{})
	})
}

// probePod is a pod that runs the probe and obeys the restricted profile.
func probePod(ns, name string, args ...string) *corev1.Pod {
	quantities := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: ptr.To[int64](1),
			AutomountServiceAccountToken: ptr.To(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](65532), FSGroup: ptr.To[int64](65532),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "main", Image: v1alpha1.RegistryHost + "/" + probeRepository, ImagePullPolicy: corev1.PullIfNotPresent,
				Command:   append([]string{"/probe"}, args...),
				Resources: corev1.ResourceRequirements{Requests: quantities("20m", "32Mi"), Limits: quantities("1", "256Mi")},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

// start creates a pod and returns it when it runs.
func (c *cloud) start(t testing.TB, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	if err := c.api(t).Create(brief(t), pod); err != nil {
		t.Fatal(err)
	}
	return c.running(t, pod.Namespace, pod.Name)
}

// running returns a pod when it runs and is ready.
func (c *cloud) running(t testing.TB, ns, name string) *corev1.Pod {
	t.Helper()
	var p corev1.Pod
	waitFor(t, podLimit, fmt.Sprintf("running pod %s/%s", ns, name), func(ctx context.Context) error {
		p = corev1.Pod{}
		if err := c.api(t).Get(ctx, kube.Key(ns, name), &p); err != nil {
			return err
		}
		for _, cond := range p.Status.Conditions {
			if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue && p.Status.Phase == corev1.PodRunning {
				return nil
			}
		}
		err := c.seen(ctx, t, &p)
		if p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
			return hopeless{err}
		}
		return err
	})
	return &p
}

// output creates a pod, waits until it has ended well, and returns what it wrote.
func (c *cloud) output(t testing.TB, pod *corev1.Pod) string {
	t.Helper()
	if err := c.api(t).Create(brief(t), pod); err != nil {
		t.Fatal(err)
	}
	waitFor(t, podLimit, fmt.Sprintf("the end of pod %s/%s", pod.Namespace, pod.Name), func(ctx context.Context) error {
		var p corev1.Pod
		if err := c.api(t).Get(ctx, kube.Key(pod.Namespace, pod.Name), &p); err != nil {
			return err
		}
		switch p.Status.Phase {
		case corev1.PodSucceeded:
			return nil
		case corev1.PodFailed:
			text, _ := c.log(ctx, t, &p)
			return hopeless{fmt.Errorf("it failed; its log: %s", text)}
		}
		return c.seen(ctx, t, &p)
	})
	text, err := c.log(brief(t), t, pod)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// seen tells how far a pod is, as an error.
func (c *cloud) seen(ctx context.Context, t testing.TB, p *corev1.Pod) error {
	text := string(p.Status.Phase)
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			text += fmt.Sprintf(", %s waits: %s %s", s.Name, w.Reason, w.Message)
		}
		if e := s.State.Terminated; e != nil {
			text += fmt.Sprintf(", %s ended with %d: %s %s", s.Name, e.ExitCode, e.Reason, e.Message)
		}
	}
	var events corev1.EventList
	if err := c.api(t).List(ctx, &events, kube.InNamespace(p.Namespace)); err == nil {
		for _, e := range events.Items {
			if e.InvolvedObject.UID == p.UID && e.Type == corev1.EventTypeWarning {
				text += fmt.Sprintf("; %s: %s", e.Reason, e.Message)
			}
		}
	}
	return errors.New(text)
}

func (c *cloud) log(ctx context.Context, t testing.TB, p *corev1.Pod) (string, error) {
	r, err := c.api(t).Logs(ctx, p.Namespace, p.Name, &corev1.PodLogOptions{})
	if err != nil {
		return "", fmt.Errorf("log of %s: %w", p.Name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// exec runs the probe in a running pod and returns what it printed.
func (c *cloud) exec(ctx context.Context, t testing.TB, p *corev1.Pod, args ...string) (string, error) {
	var out, errs bytes.Buffer
	err := c.api(t).Exec(ctx, p.Namespace, p.Name, &corev1.PodExecOptions{
		Container: p.Spec.Containers[0].Name, Command: append([]string{"/probe"}, args...),
	}, &out, &errs)
	if err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

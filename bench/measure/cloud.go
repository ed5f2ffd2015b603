package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/internal/kube"
)

// namespace of everything that is measured in a sandbox; plain is one whose pods
// may do without.
const (
	namespace = "bench"
	plain     = "bench-runc"
)

// cloud is the one that is measured.
type cloud struct{ program, dir string }

// do runs a verb of polder and returns what it prints.
func (c *cloud) do(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.program, append(args, "--data-dir="+c.dir)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("polder %s: %w: %s%s", strings.Join(args, " "), err, errs.String(), out.String())
	}
	return out.String(), nil
}

func (c *cloud) reset(ctx context.Context) error {
	_, err := c.do(ctx, "reset", "--yes")
	return err
}

func (c *cloud) up(ctx context.Context, args ...string) error {
	_, err := c.do(ctx, append([]string{"up"}, args...)...)
	return err
}

func (c *cloud) client() (*kube.Client, error) {
	return kube.Open(filepath.Join(c.dir, "admin.kubeconfig"))
}

// prepare brings the cloud up and makes both namespaces.
func (c *cloud) prepare(ctx context.Context) (*kube.Client, error) {
	if err := c.up(ctx); err != nil {
		return nil, err
	}
	k, err := c.client()
	if err != nil {
		return nil, err
	}
	for name, labels := range map[string]map[string]string{namespace: nil, plain: {"polder.dev/sandbox": "runc"}} {
		err := k.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, err
		}
	}
	return k, nil
}

// status is the part of `polder status -o json` that is read here.
type status struct {
	PID        int
	Components []struct {
		Name string
		PID  int
	}
}

func (c *cloud) status(ctx context.Context) (status, error) {
	var s status
	out, err := c.do(ctx, "status", "-o", "json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// pod is one container of image in namespace ns, as a tenant has to write it.
func pod(ns, name, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken:  ptr.To(false),
			TerminationGracePeriodSeconds: ptr.To[int64](1),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](65532), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "main", Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

// create creates o; it tries again while a fresh cloud has no service account for
// pods yet.
func create(ctx context.Context, k *kube.Client, o client.Object) error {
	for {
		err := k.Create(ctx, o)
		if err == nil || !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "serviceaccount") {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// running waits until the pod's container runs.
func running(ctx context.Context, k *kube.Client, p *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if err := k.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return fmt.Errorf("waiting for pod %s: %w", p.Name, err)
		}
		if len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Running != nil {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("pod %s does not run: %w: %+v", p.Name, err, p.Status.ContainerStatuses)
		}
	}
}

// gone deletes o and waits until it is no more.
func gone(ctx context.Context, k *kube.Client, o client.Object) error {
	if err := k.Delete(ctx, o); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := k.Get(ctx, client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("%s does not go: %w", o.GetName(), err)
		}
	}
}

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

// machine says what the numbers were measured on.
func machine() string {
	model, memory := "unknown processor", ""
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
			}
		}
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int64
		if _, err := fmt.Sscanf(string(b), "MemTotal: %d", &kib); err == nil {
			memory = fmt.Sprintf(", %.0f GiB", float64(kib)/(1<<20))
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores of %s%s, Linux %s, %s", runtime.NumCPU(), model, memory, strings.TrimSpace(string(kernel)), runtime.Version())
}

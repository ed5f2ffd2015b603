package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// measurePod: from the pod's creation to its first line, as a client that follows
// the log sees it. Sandboxed and plain pods take turns.
func measurePod(ctx context.Context, b *bench) error {
	k, err := b.cloud.prepare(ctx)
	if err != nil {
		return err
	}
	image, err := hello(ctx, b)
	if err != nil {
		return err
	}
	found := map[string][]float64{}
	for i := range b.runs + 1 {
		for _, ns := range []string{namespace, plain} {
			took, err := b.firstLine(ctx, k, pod(ns, fmt.Sprintf("hello-%d", i), image))
			if err != nil {
				return err
			}
			if i > 0 { // the first one pulled the image
				found[ns] = append(found[ns], took.Seconds())
			}
		}
	}
	b.add("pod create to first log line, gVisor, image present", "s", found[namespace], "")
	b.add("the same, runc", "s", found[plain], "")
	b.add("gVisor in proportion to runc", "x", []float64{median(found[namespace]) / median(found[plain])}, "")
	return nil
}

// hello builds and pushes the image.
func hello(ctx context.Context, b *bench) (string, error) {
	dir, err := os.MkdirTemp("", "polder-hello-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(dir, "hello"), "./bench/hello")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building hello: %w: %s", err, out)
	}
	if _, err := b.cloud.do(ctx, "image", "push", dir, "bench/hello:1"); err != nil {
		return "", err
	}
	return v1alpha1.RegistryHost + "/bench/hello:1", nil
}

// firstLine creates the pod and returns the time until its first line was read
// through the API. It looks for the line in the node's file first: asking the API
// again and again takes processor time from the pod's start.
func (b *bench) firstLine(ctx context.Context, k *kube.Client, p *corev1.Pod) (time.Duration, error) {
	p.Spec.Containers[0].Command = []string{"/hello"}
	began := time.Now()
	if err := create(ctx, k, p); err != nil {
		return 0, err
	}
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	file := filepath.Join(b.cloud.dir, "logs", "pods", fmt.Sprintf("%s_%s_%s", p.Namespace, p.Name, p.UID), p.Spec.Containers[0].Name, "0.log")
	for {
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			break
		}
		if err := pause(limit, 2*time.Millisecond); err != nil {
			return 0, fmt.Errorf("pod %s says nothing: %w", p.Name, err)
		}
	}
	line, err := readLine(limit, k, p)
	if err != nil {
		return 0, fmt.Errorf("reading the log of pod %s: %w", p.Name, err)
	}
	if line != "hello" {
		return 0, fmt.Errorf("pod %s says %q, not hello", p.Name, line)
	}
	took := time.Since(began)
	return took, gone(ctx, k, p)
}

func readLine(ctx context.Context, k *kube.Client, p *corev1.Pod) (string, error) {
	r, err := k.Logs(ctx, p.Namespace, p.Name, &corev1.PodLogOptions{Follow: true})
	if err != nil {
		return "", err
	}
	defer r.Close()
	s := bufio.NewScanner(r)
	if !s.Scan() {
		return "", errors.Join(s.Err(), errors.New("no line"))
	}
	return s.Text(), nil
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// podFollower copies the logs of pods to one writer, each pod's once for every time that
// its program was started.
type podFollower struct {
	c      *kube.Client
	out    *lineWriter
	follow bool
	tail   int
	shown  map[string]bool

	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error
}

// begin copies the log of a pod that has one, unless that is under way.
func (f *podFollower) begin(ctx context.Context, p *corev1.Pod) {
	for _, s := range p.Status.ContainerStatuses {
		key := fmt.Sprintf("%s/%d", p.UID, s.RestartCount)
		opts := &corev1.PodLogOptions{Follow: f.follow}
		if s.State.Waiting != nil {
			if s.LastTerminationState.Terminated == nil {
				continue
			}
			key, opts.Follow, opts.Previous = key+"/previous", false, true
			if f.shown[fmt.Sprintf("%s/%d", p.UID, s.RestartCount-1)] || f.shown[fmt.Sprintf("%s/%d", p.UID, s.RestartCount)] {
				continue
			}
		}
		if f.shown[key] {
			continue
		}
		f.shown[key] = true
		if f.tail >= 0 {
			n := int64(f.tail)
			opts.TailLines = &n
		}
		f.running.Go(func() { f.note(f.copy(ctx, p, opts)) })
	}
}

func (f *podFollower) copy(ctx context.Context, p *corev1.Pod, opts *corev1.PodLogOptions) error {
	r, err := f.c.Logs(ctx, p.Namespace, p.Name, opts)
	if err != nil {
		return fmt.Errorf("reading log of %s: %w", p.Name, err)
	}
	defer r.Close()
	return copyLines(r, "["+p.Name+"] ", f.out)
}

// note keeps what went wrong; with follow a replica that went away is no error.
func (f *podFollower) note(err error) {
	if err == nil || f.follow {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, err)
}

func (f *podFollower) wait() { f.running.Wait() }

// over waits for all logs, and says so when there are none.
func (f *podFollower) over(s *v1alpha1.InferenceService) error {
	f.wait()
	if err := errors.Join(f.errs...); err != nil {
		return err
	}
	if len(f.shown) == 0 {
		_, message := serviceState(s)
		return fmt.Errorf("service %s has no logs: %s", s.Name, or(message, "none of its replicas has started"))
	}
	return nil
}

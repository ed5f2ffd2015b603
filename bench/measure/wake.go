package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

const (
	// wakes are how often a service is woken, by wakeRequests at once each: a thousand
	// requests in all.
	wakes        = 20
	wakeRequests = 50
)

// measureWake: a service sleeps, and clients ask for it all at once. From then until the
// first is answered; and how many of all are answered with anything but what was asked for.
func measureWake(ctx context.Context, b *bench) error {
	k, err := b.cloud.prepare(ctx)
	if err != nil {
		return err
	}
	image, err := hello(ctx, b)
	if err != nil {
		return err
	}
	found, lost := map[string][]float64{}, 0
	for _, ns := range []string{namespace, plain} {
		svc := sleeper(ns, image)
		if err := k.Create(ctx, svc); err != nil {
			return err
		}
		ask, err := asks(ctx, k, ns, svc.Name)
		if err != nil {
			return err
		}
		n := wakes
		if ns == plain {
			n = b.runs
		}
		for i := range n + 1 {
			if err := asleep(ctx, k, svc); err != nil {
				return err
			}
			took, failed, err := wake(ctx, ask)
			if err != nil {
				b.note("wake: %v", err)
			}
			lost += failed
			if i > 0 {
				found[ns] = append(found[ns], took.Seconds())
			}
		}
		if err := gone(ctx, k, svc); err != nil {
			return err
		}
	}
	b.add("from a request for a service that sleeps to its answer, gVisor, image present", "s", found[namespace], fmt.Sprintf("%d clients ask at once", wakeRequests))
	b.add("the same, runc", "s", found[plain], "")
	b.add("requests of these that were not answered, of more than a thousand", "requests", []float64{float64(lost)}, "")
	return nil
}

// sleeper is a service that sleeps a second after it was asked.
func sleeper(ns, image string) *v1alpha1.InferenceService {
	return &v1alpha1.InferenceService{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "hello"},
		Spec: v1alpha1.InferenceServiceSpec{
			Image: image, Command: []string{"/hello"}, Protocol: v1alpha1.ProtocolHTTP,
			Scale: v1alpha1.Scale{Min: ptr.To[int32](0), Max: 1, Concurrency: 100, IdleSeconds: 1},
		},
	}
}

// asks returns a function that asks the service once.
func asks(ctx context.Context, k *kube.Client, ns, name string) (func(context.Context) error, error) {
	address, err := k.Gateway(ctx)
	if err != nil {
		return nil, err
	}
	trust, err := k.Trust()
	if err != nil {
		return nil, err
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: trust, MaxIdleConnsPerHost: wakeRequests}}
	url := address + "/" + ns + "/http/" + name + "/"
	return func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := c.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != http.StatusOK || string(body) != "hello") {
			err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
		}
		return err
	}, nil
}

// asleep waits until a service has been started, and has no pod any more.
func asleep(ctx context.Context, k *kube.Client, svc *v1alpha1.InferenceService) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	of := kube.Labelled(map[string]string{v1alpha1.LabelService: svc.Name})
	for {
		if err := k.Get(ctx, client.ObjectKeyFromObject(svc), svc); err != nil {
			return fmt.Errorf("waiting until the service sleeps: %w", err)
		}
		var pods corev1.PodList
		if err := k.List(ctx, &pods, kube.InNamespace(svc.Namespace), of); err != nil {
			return fmt.Errorf("waiting until the service sleeps: %w", err)
		}
		var sets appsv1.ReplicaSetList
		if err := k.List(ctx, &sets, kube.InNamespace(svc.Namespace), of); err != nil {
			return fmt.Errorf("waiting until the service sleeps: %w", err)
		}
		stable := len(svc.Status.Revisions) == 1 && svc.Status.Revisions[0].Role == v1alpha1.RevisionStable
		if stable && len(pods.Items) == 0 && len(sets.Items) == 1 && *sets.Items[0].Spec.Replicas == 0 {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("the service does not sleep: %w: %+v", err, svc.Status)
		}
	}
}

// wake asks many times at once, and returns the time to the first answer.
func wake(ctx context.Context, ask func(context.Context) error) (took time.Duration, failed int, err error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	began := time.Now()
	for range wakeRequests {
		all.Go(func() {
			e := ask(ctx)
			mu.Lock()
			defer mu.Unlock()
			if e != nil {
				err = e
				failed++
			} else if took == 0 {
				took = time.Since(began)
			}
		})
	}
	all.Wait()
	return took, failed, err
}

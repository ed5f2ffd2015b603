package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/logs"
	"polder.dev/polder/system/layout"
)

const (
	fieldOwner = "polder"
	// tryLimit bounds how long an object may be refused: just after its start the
	// API server has not yet opened all its doors.
	tryLimit = 60 * time.Second
	tryEvery = 100 * time.Millisecond
)

type applier struct {
	log    *slog.Logger
	client dynamic.Interface
}

func newApplier(log *slog.Logger, c layout.Cloud, leaf string) (*applier, error) {
	client, err := dynamic.NewForConfig(&rest.Config{
		Host: c.APIURL(), QPS: 200, Burst: 400,
		TLSClientConfig: rest.TLSClientConfig{CAFile: c.Cert("ca"), CertFile: c.Cert(leaf), KeyFile: c.Key(leaf)},
	})
	if err != nil {
		return nil, fmt.Errorf("making client: %w", err)
	}
	return &applier{log: log, client: client}, nil
}

// apply writes every object: the kinds first, and those of kinds that are written here
// last, when these are served. It returns when all is there.
func (a *applier) apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	var offers, classes []*unstructured.Unstructured
	for _, u := range objects {
		switch u.GroupVersionKind().Group {
		case v1alpha1.Group:
			offers = append(offers, u)
			continue
		case gw.GroupName:
			classes = append(classes, u)
			continue
		}
		if err := a.try(ctx, u, a.write); err != nil {
			return fmt.Errorf("applying %s %s: %w", u.GetKind(), u.GetName(), err)
		}
	}
	for _, u := range objects {
		if u.GetKind() == "CustomResourceDefinition" {
			if err := a.established(ctx, u); err != nil {
				return fmt.Errorf("waiting until %s is served: %w", u.GetName(), err)
			}
		}
	}
	for _, u := range classes {
		if err := a.try(ctx, u, a.write); err != nil {
			return fmt.Errorf("applying %s %s: %w", u.GetKind(), u.GetName(), err)
		}
	}
	for _, u := range offers {
		if err := a.try(ctx, u, a.offer); err != nil {
			return fmt.Errorf("offering %s %s: %w", u.GetKind(), u.GetName(), err)
		}
	}
	return nil
}

// clusterWide are the kinds of ours that no namespace holds.
var clusterWide = map[string]bool{
	"CustomResourceDefinition": true, "Namespace": true, "ClusterRole": true, "ClusterRoleBinding": true, "RuntimeClass": true, "StorageClass": true,
	"MutatingAdmissionPolicy": true, "MutatingAdmissionPolicyBinding": true, "ValidatingAdmissionPolicy": true,
	"ValidatingAdmissionPolicyBinding": true, "Runtime": true, "DeviceClass": true, "GatewayClass": true,
}

func (a *applier) resource(u *unstructured.Unstructured) dynamic.ResourceInterface {
	gvr, _ := meta.UnsafeGuessKindToResource(u.GroupVersionKind())
	if clusterWide[u.GetKind()] {
		return a.client.Resource(gvr)
	}
	return a.client.Resource(gvr).Namespace(u.GetNamespace())
}

// write makes u what it should be.
func (a *applier) write(ctx context.Context, u *unstructured.Unstructured) error {
	_, err := a.resource(u).Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: fieldOwner, Force: true})
	return err
}

// offer creates u unless there is one, which may have been changed on purpose.
func (a *applier) offer(ctx context.Context, u *unstructured.Unstructured) error {
	_, err := a.resource(u).Create(ctx, u, metav1.CreateOptions{FieldManager: fieldOwner})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// try does it to u, again and again until the time is over.
func (a *applier) try(ctx context.Context, u *unstructured.Unstructured, do func(context.Context, *unstructured.Unstructured) error) error {
	var last error
	for {
		err := do(ctx, u)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(last, err)
		}
		if last == nil || last.Error() != err.Error() {
			a.log.Info("refused for now", logs.Name, u.GetKind()+"/"+u.GetName(), logs.Err, strings.TrimSpace(err.Error()))
		}
		last = err
		if err := wait(ctx); err != nil {
			return errors.Join(last, err)
		}
	}
}

func (a *applier) established(ctx context.Context, u *unstructured.Unstructured) error {
	kinds := a.client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for {
		have, err := kinds.Get(ctx, u.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, err := unstructured.NestedSlice(have.Object, "status", "conditions")
		if err != nil {
			return err
		}
		for _, c := range conditions {
			if m, ok := c.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
				return nil
			}
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(tryEvery):
		return nil
	}
}

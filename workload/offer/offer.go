// Package offer says of each Runtime whether the cloud can keep what it offers: it
// writes the condition Ready, and is the only writer of a Runtime's status. Only
// system imports it. It is named for what a Runtime is to those who train, since a
// package called runtime would hide Go's own.
//
// A Runtime is ready when the devices of at least one of its variants are on some
// node and, if the variant's image is in the cloud's own registry, it is there. What
// other registries hold is not asked: the cloud may not reach out before a job does.
package offer

import (
	"context"
	_ "embed" // the roles beside this file
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/internal/logs"
	"polder.dev/polder/workload"
)

// RBAC is what the controller may do, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

// Name is the controller's name.
const Name = "polder-offer"

// lookEvery is how often the registry is asked again: it tells nobody that an
// image came or went.
const lookEvery = time.Minute

// Reasons of the condition.
const (
	ReasonUsable     = "Usable"
	ReasonNoImage    = "ImageNotFound"
	ReasonNoHardware = "NoHardware"
)

// Registry is the cloud's own.
type Registry interface {
	// Exists reports whether it holds what reference means.
	Exists(ctx context.Context, reference string) (bool, error)
}

// Controller writes the conditions.
type Controller struct {
	log    *slog.Logger
	client client.Client
	images Registry
}

// New returns a Controller; Register hands it to a manager.
func New(log *slog.Logger, c client.Client, images Registry) (*Controller, error) {
	if log == nil || c == nil || images == nil {
		return nil, errors.New("offer controller: a dependency is missing")
	}
	return &Controller{log: log, client: c, images: images}, nil
}

// Name of the controller.
func (c *Controller) Name() string { return Name }

// Register has m run the controller.
func (c *Controller) Register(m manager.Manager) error {
	err := builder.ControllerManagedBy(m).Named(Name).
		For(&v1alpha1.Runtime{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&resourcev1.ResourceSlice{}, handler.EnqueueRequestsFromMapFunc(c.all), builder.WithPredicates(stacksChanged())).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(c.all), builder.WithPredicates(devicesChanged())).
		Complete(reconcile.AsReconciler(c.client, c))
	if err != nil {
		return fmt.Errorf("registering the offer controller: %w", err)
	}
	return nil
}

// devicesChanged passes over what nodes say every few seconds.
func devicesChanged() predicate.Funcs {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*corev1.Node)
		after, ok2 := e.ObjectNew.(*corev1.Node)
		return !ok || !ok2 || slices.ContainsFunc(workload.Stacks(), func(s workload.Stack) bool { return s.On(before) != s.On(after) })
	}}
}

// stacksChanged passes over changes that leave the software of a slice as it is.
func stacksChanged() predicate.Funcs {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*resourcev1.ResourceSlice)
		after, ok2 := e.ObjectNew.(*resourcev1.ResourceSlice)
		return !ok || !ok2 || !maps.Equal(stacksOf(before), stacksOf(after))
	}}
}

// stacksOf is that of one slice, whether its pool is complete or not.
func stacksOf(s *resourcev1.ResourceSlice) map[string]bool {
	out := map[string]bool{}
	for i := range s.Spec.Devices {
		o := claim.Offer{Driver: s.Spec.Driver, Device: &s.Spec.Devices[i]}
		out[o.Software()] = true
	}
	return out
}

// all are the Runtimes: any of them may be for the devices of the node that changed.
func (c *Controller) all(ctx context.Context, _ client.Object) []reconcile.Request {
	var list v1alpha1.RuntimeList
	if err := c.client.List(ctx, &list); err != nil {
		c.log.WarnContext(ctx, "listing runtimes", logs.Err, err)
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return out
}

// Reconcile writes the condition of one Runtime, if it changed.
func (c *Controller) Reconcile(ctx context.Context, rt *v1alpha1.Runtime) (reconcile.Result, error) {
	if rt.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	var nodes corev1.NodeList
	if err := c.client.List(ctx, &nodes); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing nodes: %w", err)
	}
	var published resourcev1.ResourceSliceList
	if err := c.client.List(ctx, &published); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing resource slices: %w", err)
	}
	ready, err := c.judge(ctx, rt, nodes.Items, stacks(published.Items))
	if err != nil {
		return reconcile.Result{}, err
	}
	next := rt.DeepCopy()
	apimeta.SetStatusCondition(&next.Status.Conditions, ready)
	if !apiequality.Semantic.DeepEqual(rt.Status, next.Status) {
		if err := c.client.Status().Patch(ctx, next, client.MergeFrom(rt)); err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("writing the status of runtime %s: %w", rt.Name, err))
		}
	}
	return reconcile.Result{RequeueAfter: lookEvery}, nil
}

// judge returns the condition. It is an error that the registry does not answer
// only when the Runtime is not ready without its answer.
func (c *Controller) judge(ctx context.Context, rt *v1alpha1.Runtime, nodes []corev1.Node, published map[string]bool) (metav1.Condition, error) {
	cond := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: ReasonNoHardware, ObservedGeneration: rt.Generation}
	var lacks []string
	var errs []error
	for _, v := range rt.Spec.Variants {
		if lack := lacking(v.Software, nodes, published); lack != "" {
			lacks = append(lacks, lack)
			continue
		}
		ref := workload.Reference(v.Image, v.Digest)
		there, err := true, error(nil)
		if workload.Own(ref) {
			there, err = c.images.Exists(ctx, ref)
		}
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("looking for image %s of runtime %s: %w", ref, rt.Name, err))
		case there:
			cond.Status, cond.Reason, cond.Message = metav1.ConditionTrue, ReasonUsable, "the variant for "+v.Software+" can be used"
			return cond, nil
		default:
			cond.Reason = ReasonNoImage
			lacks = append(lacks, fmt.Sprintf("%s is not in the cloud's registry: build it with `polder runtime build`, or push it with `polder image push`", ref))
		}
	}
	cond.Message = strings.Join(lacks, "; ")
	return cond, errors.Join(errs...)
}

// stacks are the software of the devices that drivers publish. That a device is
// emulated is no matter: jobs can be planned on it.
func stacks(published []resourcev1.ResourceSlice) map[string]bool {
	out := map[string]bool{}
	for _, o := range claim.Offers(published, nil) {
		out[o.Software()] = true
	}
	return out
}

// lacking says what is not there for a software stack, or "". Devices are published
// by a driver, or offered by a node as an extended resource.
func lacking(software string, nodes []corev1.Node, published map[string]bool) string {
	if software == workload.SoftwareCPU || published[software] {
		return ""
	}
	s, ok := workload.StackOf(software)
	switch {
	case !ok && !claim.Known(software):
		return fmt.Sprintf("software %s is not known to this cloud", software)
	case !ok:
		return fmt.Sprintf("no driver publishes a device for %s", software)
	case !s.OnSome(nodes):
		return fmt.Sprintf("no node has %s, which %s needs", s.Resource, software)
	}
	return ""
}

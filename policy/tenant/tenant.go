// Package tenant keeps tenants apart: it gives every tenant's namespace a
// NetworkPolicy that lets in what comes from the tenant's own namespaces and
// nothing else. Only system imports it.
//
// A tenant is what the namespace's label polder.dev/tenant says; a namespace
// without the label is a tenant of its own. NetworkPolicies add up, so a tenant who
// may write them can open pods to others, and cannot open anybody else's. The
// package writes policies; node/firewall enforces them.
package tenant

import (
	"context"
	_ "embed" // the roles beside this file
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/logs"
)

// RBAC is what the controller may do, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

// PolicyName is the name of the NetworkPolicy in each namespace.
const PolicyName = "polder-default"

// behind is how long the cache is given to see what the API server has.
const behind = 100 * time.Millisecond

// System are the namespaces that belong to no tenant.
var System = []string{metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease, "polder-system"}

// Controller writes the policies.
type Controller struct {
	log    *slog.Logger
	client client.Client
}

// New returns a Controller; Register hands it to a manager.
func New(log *slog.Logger, c client.Client) *Controller { return &Controller{log: log, client: c} }

// Register has m run the controller.
func (c *Controller) Register(m manager.Manager) error {
	ofPolicy := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		if o.GetName() != PolicyName {
			return nil
		}
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: o.GetNamespace()}}}
	})
	err := builder.ControllerManagedBy(m).Named("polder-tenant").For(&corev1.Namespace{}).Watches(&networkingv1.NetworkPolicy{}, ofPolicy).Complete(c)
	if err != nil {
		return fmt.Errorf("registering the tenant controller: %w", err)
	}
	return nil
}

// Reconcile makes the policy of one namespace what it should be.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var ns corev1.Namespace
	if err := c.client.Get(ctx, req.NamespacedName, &ns); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if slices.Contains(System, ns.Name) || ns.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	want := Policy(&ns)
	var have networkingv1.NetworkPolicy
	err := c.client.Get(ctx, client.ObjectKeyFromObject(want), &have)
	switch {
	case apierrors.IsNotFound(err):
		err = c.client.Create(ctx, want)
	case err == nil && !apiequality.Semantic.DeepEqual(have.Spec, want.Spec):
		have.Spec = want.Spec
		err = c.client.Update(ctx, &have)
		c.log.InfoContext(ctx, "put the network policy back", logs.Namespace, ns.Name)
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: behind}, nil // the cache is behind
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("writing network policy of namespace %s: %w", ns.Name, err)
	}
	return reconcile.Result{}, nil
}

// Policy is that of namespace ns.
func Policy(ns *corev1.Namespace) *networkingv1.NetworkPolicy {
	from := map[string]string{corev1.LabelMetadataName: ns.Name}
	if t := ns.Labels[v1alpha1.LabelTenant]; t != "" {
		from = map[string]string{v1alpha1.LabelTenant: t}
	}
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: PolicyName, Labels: map[string]string{"app.kubernetes.io/managed-by": "polder"}},
		Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: from}}},
			}},
		},
	}
}

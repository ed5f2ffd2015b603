package controller

import (
	"context"
	"crypto/subtle"
	_ "embed" // the roles beside this file
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/naming"
)

// RBAC is what the controllers may do, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

// Place is where clients find the store.
type Place struct {
	Endpoint, Region string
	CA               []byte // PEM
}

// Config of the controllers.
type Config struct {
	Space *naming.Space
	Place Place
	// System are the namespaces that belong to no tenant.
	System []string
	// Readers are those of them that get a key to read with: what the cloud keeps in their
	// buckets, who may read Secrets there may look at.
	Readers []string
	// Warm brings what is below a prefix of a bucket, by the store's name, into the fastest
	// tier and keeps it there until release is called. It tells how far it is.
	Warm func(ctx context.Context, bucket, prefix string, tell func(done int64)) (release func(), err error)
	// Jurisdiction that the machine is in; "" is not said.
	Jurisdiction string
	Now          func() time.Time
}

// Controller runs the controllers of the store.
type Controller struct {
	log    *slog.Logger
	client client.Client
	cfg    Config
	keys   *Keys
	warm   heat
	work   sync.WaitGroup // of what is being warmed
}

// New returns a Controller; Register hands it to a manager.
func New(log *slog.Logger, c client.Client, cfg Config) (*Controller, error) {
	if log == nil || c == nil || cfg.Space == nil || cfg.Now == nil {
		return nil, errors.New("storage controller: a dependency is missing")
	}
	return &Controller{log: log, client: c, cfg: cfg, keys: newKeys(log, c, cfg.Now)}, nil
}

// Keys is the directory of the cloud's identities.
func (c *Controller) Keys() *Keys { return c.keys }

// CacheOptions bound what the manager's cache holds: of Secrets, the store's keys alone.
func CacheOptions() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&corev1.Secret{}: {Field: fields.OneTermEqualSelector("type", v1alpha1.SecretStoreKey)},
	}
}

// Register has m run the controllers.
func (c *Controller) Register(ctx context.Context, m manager.Manager) error {
	if err := m.GetFieldIndexer().IndexField(ctx, &corev1.Secret{}, byKey, indexKey); err != nil {
		return fmt.Errorf("indexing keys: %w", err)
	}
	ofSecret := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		if _, ours := roles[o.GetName()]; !ours {
			return nil
		}
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: o.GetNamespace()}}}
	})
	err := errors.Join(
		builder.ControllerManagedBy(m).Named("polder-store-key").For(&corev1.Namespace{}).Watches(&corev1.Secret{}, ofSecret).
			Complete(reconcile.AsReconciler(m.GetClient(), keyReconciler{c})),
		builder.ControllerManagedBy(m).Named("polder-bucket").For(&v1alpha1.Bucket{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
			Complete(reconcile.AsReconciler(m.GetClient(), bucketReconciler{c})),
		builder.ControllerManagedBy(m).Named("polder-dataset").For(&v1alpha1.Dataset{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
			Complete(reconcile.Func(c.dataset)),
	)
	if err != nil {
		return fmt.Errorf("registering the controllers of the store: %w", err)
	}
	return nil
}

type keyReconciler struct{ *Controller }

// Reconcile sees to the keys of one namespace.
func (c keyReconciler) Reconcile(ctx context.Context, ns *corev1.Namespace) (reconcile.Result, error) {
	system := slices.Contains(c.cfg.System, ns.Name)
	switch {
	case ns.DeletionTimestamp != nil, system && !slices.Contains(c.cfg.Readers, ns.Name):
		return reconcile.Result{}, nil
	case system:
		return reconcile.Result{}, c.keys.ensure(ctx, ns, c.cfg.Place, map[string]string{v1alpha1.StoreSecret: string(iam.Reader)})
	}
	return reconcile.Result{}, c.keys.ensure(ctx, ns, c.cfg.Place, roles)
}

// dataset looks at one data set. One that is gone cools down.
func (c *Controller) dataset(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	var o v1alpha1.Dataset
	err := c.client.Get(ctx, r.NamespacedName, &o)
	switch {
	case apierrors.IsNotFound(err):
		datasetReconciler{c}.cool(r.NamespacedName)
		return reconcile.Result{}, nil
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("reading data set %s: %w", r.Name, err)
	}
	return datasetReconciler{c}.Reconcile(ctx, &o)
}

// account of an object's namespace.
func (c *Controller) account(ctx context.Context, namespace string) (string, error) {
	return c.keys.tenant(ctx, namespace)
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

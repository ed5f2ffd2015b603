package controller

import (
	"context"
	_ "embed" // the roles beside this file
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/device"
	"polder.dev/polder/device/emulate"
	"polder.dev/polder/device/profile"
	"polder.dev/polder/internal/logs"
)

// RBAC is what the controller may do, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

// Name is the controller's name.
const Name = "polder-emulate"

// renewEvery is how often a node's lease is renewed. A node without a new one for 50 s
// is taken for lost.
const renewEvery = 20 * time.Second

// Controller keeps emulated nodes.
type Controller struct {
	log    *slog.Logger
	client client.Client
	live   client.Reader

	mu          sync.Mutex
	inventories map[string]device.Inventory // by ConfigMap, which is immutable
}

// New returns a Controller; Register hands it to a manager. live reads what the
// manager's cache does not hold.
func New(log *slog.Logger, c client.Client, live client.Reader) (*Controller, error) {
	if log == nil || c == nil || live == nil {
		return nil, errors.New("emulate controller: a dependency is missing")
	}
	return &Controller{log: log, client: c, live: live, inventories: map[string]device.Inventory{}}, nil
}

// Name of the controller.
func (c *Controller) Name() string { return Name }

// Register has m run the controller, for nodes, their pods and their volumes.
func (c *Controller) Register(m manager.Manager) error {
	err := builder.ControllerManagedBy(m).Named(Name).
		For(&corev1.Node{}, builder.WithPredicates(ours())).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8}).
		Complete(reconcile.AsReconciler(c.client, c))
	if err == nil {
		err = builder.ControllerManagedBy(m).Named(Name+"-pod").
			For(&corev1.Pod{}, builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
				p, ok := o.(*corev1.Pod)
				return ok && p.Spec.NodeName != ""
			}))).
			Complete(reconcile.AsReconciler(c.client, reconcile.ObjectReconciler[*corev1.Pod](podder{c})))
	}
	if err == nil {
		err = builder.ControllerManagedBy(m).Named(Name+"-volume").
			For(&corev1.PersistentVolumeClaim{}, builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
				return o.GetAnnotations()[annotationSelected] != ""
			}))).
			Complete(reconcile.AsReconciler(c.client, reconcile.ObjectReconciler[*corev1.PersistentVolumeClaim](provisioner{c})))
	}
	if err == nil {
		err = m.Add(manager.RunnableFunc(c.others))
	}
	if err != nil {
		return fmt.Errorf("registering the emulate controller: %w", err)
	}
	return nil
}

// ours are emulated nodes, and of their changes those that we did not make.
func ours() predicate.Predicate {
	is := func(o client.Object) bool { n, ok := o.(*corev1.Node); return ok && emulate.Emulated(n) }
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return is(e.Object) },
		DeleteFunc: func(event.DeleteEvent) bool { return false }, // its lease and slices go with it
		UpdateFunc: func(e event.UpdateEvent) bool {
			return is(e.ObjectNew) && (!reflect.DeepEqual(e.ObjectOld.GetAnnotations(), e.ObjectNew.GetAnnotations()) || len(e.ObjectNew.(*corev1.Node).Status.Conditions) == 0)
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// Reconcile publishes the devices of one node and keeps it ready.
func (c *Controller) Reconcile(ctx context.Context, n *corev1.Node) (reconcile.Result, error) {
	if n.DeletionTimestamp != nil || !emulate.Emulated(n) {
		return reconcile.Result{}, nil
	}
	v, err := c.inventory(ctx, n)
	if err != nil {
		return reconcile.Result{}, err
	}
	faults, err := emulate.Faults(n.Annotations[emulate.AnnotationFaults])
	if err != nil { // it is said, and the devices stay well
		c.log.WarnContext(ctx, "emulated faults", logs.Name, n.Name, logs.Err, err)
	}
	if err := c.publish(ctx, n, emulate.Devices(n.Name, v, faults)); err != nil {
		return reconcile.Result{}, err
	}
	if err := c.ready(ctx, n, v); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: renewEvery}, c.renew(ctx, n)
}

func (c *Controller) inventory(ctx context.Context, n *corev1.Node) (device.Inventory, error) {
	name := n.Annotations[emulate.AnnotationInventory]
	c.mu.Lock()
	v, ok := c.inventories[name]
	c.mu.Unlock()
	if ok {
		return v, nil
	}
	var m corev1.ConfigMap
	if err := c.live.Get(ctx, client.ObjectKey{Namespace: emulate.Namespace, Name: name}, &m); err != nil {
		return v, fmt.Errorf("reading the inventory %q of emulated node %s: %w", name, n.Name, err)
	}
	v, err := emulate.Read(&m)
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	c.inventories[name] = v
	c.mu.Unlock()
	return v, nil
}

// publish writes the node's slices, if they are not as they should be. A pool's
// slices change their generation together.
func (c *Controller) publish(ctx context.Context, n *corev1.Node, devices []device.Device) error {
	var have resourcev1.ResourceSliceList
	if err := c.client.List(ctx, &have, client.MatchingLabels{labelNode: n.Name}); err != nil {
		return fmt.Errorf("listing resource slices: %w", err)
	}
	present := map[string]*resourcev1.ResourceSlice{}
	generation := int64(0)
	for i := range have.Items {
		present[have.Items[i].Name] = &have.Items[i]
		generation = max(generation, have.Items[i].Spec.Pool.Generation)
	}
	want := slicesOf(n, devices, generation)
	same := len(want) == len(present)
	for _, s := range want {
		old := present[s.Name]
		same = same && old != nil && alike(&old.Spec, &s.Spec)
	}
	if same {
		return nil
	}
	for _, s := range want {
		s.Spec.Pool.Generation = generation + 1
		old := present[s.Name]
		delete(present, s.Name)
		var err error
		if old == nil {
			err = c.client.Create(ctx, s)
		} else {
			next := old.DeepCopy()
			next.Spec = s.Spec
			err = c.client.Update(ctx, next)
		}
		if err != nil {
			return fmt.Errorf("writing resource slice %s: %w", s.Name, err)
		}
	}
	for _, s := range present {
		if err := c.client.Delete(ctx, s); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing resource slice %s: %w", s.Name, err)
		}
	}
	return nil
}

// labelNode, on a slice, names the emulated node.
const labelNode = "polder.dev/emulated-node"

// alike compares what is published, but for the time at which a taint was added,
// which the API server writes.
func alike(a, b *resourcev1.ResourceSliceSpec) bool {
	x, y := a.DeepCopy(), b.DeepCopy()
	for _, s := range []*resourcev1.ResourceSliceSpec{x, y} {
		for i := range s.Devices {
			for j := range s.Devices[i].Taints {
				s.Devices[i].Taints[j].TimeAdded = nil
			}
		}
	}
	return apiequality.Semantic.DeepEqual(x, y)
}

func slicesOf(n *corev1.Node, devices []device.Device, generation int64) []*resourcev1.ResourceSlice {
	pool := profile.Pool(devices, true)
	var out []*resourcev1.ResourceSlice
	for i, p := range pool {
		out = append(out, &resourcev1.ResourceSlice{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%04x-emulated-%s", i, n.Name), Labels: map[string]string{labelNode: n.Name}, OwnerReferences: owner(n)},
			Spec: resourcev1.ResourceSliceSpec{
				Driver: profile.Domain, NodeName: &n.Name, Devices: p.Devices, SharedCounters: p.Counters,
				Pool: resourcev1.ResourcePool{Name: n.Name, Generation: generation, ResourceSliceCount: int64(len(pool))},
			},
		})
	}
	return out
}

func owner(n *corev1.Node) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID}}
}

// ready writes the node's status once.
func (c *Controller) ready(ctx context.Context, n *corev1.Node, v device.Inventory) error {
	if len(n.Status.Conditions) > 0 && n.Status.NodeInfo.KubeletVersion == version {
		for _, cond := range n.Status.Conditions {
			if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue {
				return nil
			}
		}
	}
	next := n.DeepCopy()
	now := metav1.Now()
	next.Status.Capacity = emulate.Size(v)
	next.Status.Allocatable = emulate.Size(v)
	next.Status.NodeInfo = corev1.NodeSystemInfo{KubeletVersion: version, OSImage: "emulated: this machine does not exist", OperatingSystem: "linux", Architecture: "amd64", ContainerRuntimeVersion: "emulated://0"}
	next.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Emulated", Message: "this node is emulated: nothing runs here", LastHeartbeatTime: now, LastTransitionTime: now}}
	if err := c.client.Status().Patch(ctx, next, client.MergeFrom(n)); err != nil {
		return fmt.Errorf("writing the status of emulated node %s: %w", n.Name, err)
	}
	return nil
}

// version is what an emulated node says that its kubelet is.
const version = "emulated"

// renew renews the node's lease, or makes it.
func (c *Controller) renew(ctx context.Context, n *corev1.Node) error {
	now, seconds := metav1.NowMicro(), int32(40)
	name := n.Name
	l := &coordinationv1.Lease{}
	err := c.live.Get(ctx, client.ObjectKey{Namespace: corev1.NamespaceNodeLease, Name: name}, l)
	if err == nil && l.Spec.RenewTime != nil && now.Sub(l.Spec.RenewTime.Time) < renewEvery/2 {
		return nil
	}
	l.Spec = coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now}
	switch {
	case apierrors.IsNotFound(err):
		l.ObjectMeta = metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: name, OwnerReferences: owner(n)}
		err = c.client.Create(ctx, l)
	case err == nil:
		err = c.client.Update(ctx, l)
	}
	if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("renewing the lease of emulated node %s: %w", name, err)
	}
	return nil
}

package volume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	// Provisioner is the name by which a StorageClass asks for volumes of ours.
	Provisioner = "polder.dev/local"
	// Class is the name of the StorageClass in Manifest.
	Class = "local"
)

// Config says where volumes are kept.
type Config struct {
	// Dir holds one directory per volume. It is made if it is missing.
	Dir string
	// Node is the name of this machine's Node.
	Node string
}

// Local keeps the volumes of this machine.
type Local struct {
	log    *slog.Logger
	client kubernetes.Interface
	dir    string
	node   string
	root   *os.Root
	free   func(dir string) (bytes int64, err error)

	factory informers.SharedInformerFactory
	volumes cache.SharedIndexInformer
}

// New returns a Local. It makes cfg.Dir, and starts nothing before Run.
func New(log *slog.Logger, client kubernetes.Interface, cfg Config) (*Local, error) {
	if log == nil || client == nil || cfg.Node == "" || !filepath.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("local volumes: a log, a client, a node's name and an absolute directory are needed, have %+v", cfg)
	}
	dir := filepath.Clean(cfg.Dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of volumes: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the directory of volumes: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, 15*time.Minute)
	return &Local{
		log: log, client: client, dir: dir, node: cfg.Node, root: root, free: freeBytes,
		factory: factory, volumes: factory.Core().V1().PersistentVolumes().Informer(),
	}, nil
}

// Close releases the directory; after it nothing works.
func (l *Local) Close() error { return l.root.Close() }

// Run provisions and removes volumes until ctx ends, and returns when all of
// its work has stopped.
func (l *Local) Run(ctx context.Context) error {
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(l.log.Handler()))
	if err := l.sweep(ctx); err != nil {
		return err
	}
	var workers sync.WaitGroup
	c := controller.NewProvisionController(ctx, l.client, Provisioner, l,
		controller.LeaderElection(false), // each node's provisioner takes its own claims
		controller.VolumesInformer(l.volumes),
		controller.Threadiness(2),
		controller.RateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[string](time.Second, time.Minute)),
		controller.FailedProvisionThreshold(0),
		controller.FailedDeleteThreshold(0),
		controller.CreateProvisionedPVInterval(time.Second),
	)
	c.ControllerWaitGroup(&workers)
	l.factory.Start(ctx.Done())
	c.Run(ctx)
	workers.Wait()
	l.factory.Shutdown()
	return nil
}

// sweep removes the empty directories that a provisioning left behind which
// never got as far as a PersistentVolume. What holds a file is left alone.
func (l *Local) sweep(ctx context.Context) error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("listing the directory of volumes: %w", err)
	}
	if len(entries) == 0 {
		return nil
	}
	list, err := l.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing persistent volumes: %w", err)
	}
	known := make(map[string]bool, len(list.Items))
	for i := range list.Items {
		known[list.Items[i].Name] = true
	}
	for _, e := range entries {
		if !known[e.Name()] && e.IsDir() {
			if err := l.root.Remove(e.Name()); err == nil {
				l.log.InfoContext(ctx, "removed an empty directory without a volume", "name", e.Name())
			}
		}
	}
	return nil
}

// volume returns a PersistentVolume by name.
func (l *Local) volume(ctx context.Context, name string) (*corev1.PersistentVolume, error) {
	if o, ok, err := l.volumes.GetStore().GetByKey(name); err == nil && ok {
		if pv, ok := o.(*corev1.PersistentVolume); ok {
			return pv, nil
		}
	}
	pv, err := l.client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading persistent volume %s: %w", name, err)
	}
	return pv, nil
}

// ours checks that pv is a volume of this machine that this package made, and
// returns the name of its directory.
func (l *Local) ours(pv *corev1.PersistentVolume) (string, error) {
	switch {
	case pv.Annotations[annotationProvisioner] != Provisioner:
		return "", fmt.Errorf("persistent volume %s was not made by %s", pv.Name, Provisioner)
	case pv.Annotations[annotationNode] != l.node:
		return "", fmt.Errorf("persistent volume %s is on node %q, this is %q", pv.Name, pv.Annotations[annotationNode], l.node)
	case pv.Spec.Local == nil:
		return "", fmt.Errorf("persistent volume %s is not of type local", pv.Name)
	case !element(pv.Name) || filepath.Clean(pv.Spec.Local.Path) != filepath.Join(l.dir, pv.Name):
		return "", fmt.Errorf("persistent volume %s is at %s, not in %s", pv.Name, pv.Spec.Local.Path, l.dir)
	}
	return pv.Name, nil
}

// element reports whether name is one element of a path and nothing special.
func element(name string) bool {
	return name != "" && name != "." && name != ".." && filepath.Base(name) == name && filepath.IsLocal(name)
}

// ErrNotBound says that a claim has no volume yet.
var ErrNotBound = errors.New("not bound to a volume yet")

// Root opens the directory of a bound claim. Nothing outside of the directory
// can be reached through it, whatever links its files hold. The caller closes it.
func (l *Local) Root(ctx context.Context, claim *corev1.PersistentVolumeClaim) (*os.Root, error) {
	if claim.Status.Phase != corev1.ClaimBound || claim.Spec.VolumeName == "" {
		return nil, fmt.Errorf("volume claim %s/%s: %w", claim.Namespace, claim.Name, ErrNotBound)
	}
	pv, err := l.volume(ctx, claim.Spec.VolumeName)
	if err != nil {
		return nil, err
	}
	if r := pv.Spec.ClaimRef; r == nil || r.UID != claim.UID || r.Namespace != claim.Namespace || r.Name != claim.Name {
		return nil, fmt.Errorf("persistent volume %s does not belong to claim %s/%s", pv.Name, claim.Namespace, claim.Name)
	}
	name, err := l.ours(pv)
	if err != nil {
		return nil, err
	}
	info, err := l.root.Lstat(name)
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err != nil {
		return nil, fmt.Errorf("opening the directory of persistent volume %s: %w", name, err)
	}
	root, err := l.root.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("opening the directory of persistent volume %s: %w", name, err)
	}
	return root, nil
}

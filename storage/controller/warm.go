package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/logs"
	"polder.dev/polder/storage"
)

// warmEvery is how often it is told how much of a data set is warm.
const warmEvery = 2 * time.Second

// heat is what is being warmed, or is warm, by the data set's namespace and name. It is lost with the
// program, and found again in the objects.
type heat struct {
	mu  sync.Mutex
	now map[types.NamespacedName]*warming
}

type warming struct {
	uid     types.UID
	cancel  context.CancelFunc
	done    atomic.Int64
	over    atomic.Bool
	ended   chan struct{} // closed when over
	err     error         // once over
	release func()        // once over, and err is nil
}

// temper warms a frozen data set, or lets it cool down.
func (c datasetReconciler) temper(ctx context.Context, o *v1alpha1.Dataset) (reconcile.Result, error) {
	name := client.ObjectKeyFromObject(o)
	c.warm.mu.Lock()
	w := c.warm.now[name]
	c.warm.mu.Unlock()
	if w != nil && w.uid != o.UID { // of another that had the name
		c.cool(name)
		w = nil
	}
	switch {
	case !o.Spec.Warm && w == nil && o.Status.Warmed == 0:
		return reconcile.Result{}, nil
	case !o.Spec.Warm:
		c.cool(name)
		return reconcile.Result{}, c.tell(ctx, o, 0)
	case c.cfg.Warm == nil:
		return reconcile.Result{}, c.tell(ctx, o, o.Status.Bytes) // there is one tier alone
	case w == nil:
		if err := c.heat(ctx, o); err != nil {
			return reconcile.Result{}, err
		}
		return reconcile.Result{RequeueAfter: warmEvery}, nil
	}
	if !w.over.Load() {
		return reconcile.Result{RequeueAfter: warmEvery}, c.tell(ctx, o, min(w.done.Load(), max(o.Status.Bytes-1, 0)))
	}
	if w.err != nil {
		c.cool(name)
		c.log.WarnContext(ctx, "a data set could not be warmed", logs.Namespace, o.Namespace, logs.Name, o.Name, logs.Err, w.err)
		return reconcile.Result{RequeueAfter: lookEvery}, c.tell(ctx, o, 0)
	}
	return reconcile.Result{}, c.tell(ctx, o, o.Status.Bytes)
}

// heat begins to warm. It ends with the program at the latest.
func (c datasetReconciler) heat(ctx context.Context, o *v1alpha1.Dataset) error {
	account, err := c.account(ctx, o.Namespace)
	if err != nil {
		return err
	}
	b, err := c.cfg.Space.Resolve(ctx, account, o.Spec.Bucket)
	if errors.Is(err, storage.ErrNoBucket) {
		return nil // it was removed; there is nothing to warm
	}
	if err != nil {
		return err
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &warming{uid: o.UID, cancel: cancel, ended: make(chan struct{})}
	c.warm.mu.Lock()
	if c.warm.now == nil {
		c.warm.now = map[types.NamespacedName]*warming{}
	}
	c.warm.now[client.ObjectKeyFromObject(o)] = w
	c.warm.mu.Unlock()
	name, prefix := b.Name(), o.Spec.Prefix
	c.work.Go(func() {
		w.release, w.err = c.cfg.Warm(work, name, prefix, func(done int64) { w.done.Store(done) })
		w.over.Store(true)
		close(w.ended)
	})
	return nil
}

// cool lets a data set go to slower tiers again.
func (c datasetReconciler) cool(name types.NamespacedName) {
	c.warm.mu.Lock()
	w := c.warm.now[name]
	delete(c.warm.now, name)
	c.warm.mu.Unlock()
	if w == nil {
		return
	}
	w.cancel()
	c.work.Go(func() {
		<-w.ended
		if w.release != nil {
			w.release()
		}
	})
}

func (c datasetReconciler) tell(ctx context.Context, o *v1alpha1.Dataset, warmed int64) error {
	if o.Status.Warmed == warmed {
		return nil
	}
	before := o.DeepCopy()
	o.Status.Warmed = warmed
	if err := c.client.Status().Patch(ctx, o, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("writing the status of data set %s: %w", o.Name, err)
	}
	return nil
}

// Close ends what is being warmed.
func (c *Controller) Close() {
	c.warm.mu.Lock()
	for _, w := range c.warm.now {
		w.cancel()
	}
	c.warm.mu.Unlock()
	c.work.Wait()
}

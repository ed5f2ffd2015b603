package serve

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/workload"
)

// act does what was decided. Every act may be repeated.
func (r *Reconciler) act(ctx context.Context, w *world, p *plan) error {
	for _, o := range p.create {
		if err := r.mountable(ctx, p, o); err != nil {
			return err
		}
		err := r.client.Create(ctx, o)
		if apierrors.IsAlreadyExists(err) {
			err = r.ours(ctx, w, o)
		}
		if err != nil {
			return fmt.Errorf("creating %T %s: %w", o, o.GetName(), err)
		}
	}
	if len(p.remove) == 0 {
		return nil
	}
	var now v1alpha1.InferenceService
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(w.svc), &now); err != nil {
		return client.IgnoreNotFound(err) // the garbage collector takes what it owned
	}
	for _, o := range p.remove {
		if now.UID != w.svc.UID || has(&now, o.GetName()) {
			continue // it came back since we looked
		}
		if err := r.remove(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// mountable gives the model's volume of a ReplicaSet the image that has the model's files.
func (r *Reconciler) mountable(ctx context.Context, p *plan, o client.Object) error {
	set, ok := o.(*appsv1.ReplicaSet)
	if !ok {
		return nil
	}
	rev := p.revision(set.Name)
	for i := range set.Spec.Template.Spec.Volumes {
		v := &set.Spec.Template.Spec.Volumes[i]
		if v.Name != volumeModel || rev == nil || rev.Model == nil {
			continue
		}
		image, err := r.mounter.Volume(ctx, rev.Model.Reference)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return refuse(ReasonNoArtifact, "model %s, %s, cannot be served: %s", rev.Model.Name, rev.Model.Digest, clip(err.Error(), lastBytesMax))
		}
		v.Image.Reference = workload.Reference(image, "")
	}
	return nil
}

// has reports whether the status of a service has a revision.
func has(svc *v1alpha1.InferenceService, revision string) bool {
	for _, r := range svc.Status.Revisions {
		if r.Name == revision {
			return true
		}
	}
	return false
}

// ours looks whose an object is that bears a revision's name. That of the service is
// merely not in the cache yet.
func (r *Reconciler) ours(ctx context.Context, w *world, o client.Object) error {
	set, ok := o.(*appsv1.ReplicaSet)
	if !ok {
		return nil
	}
	var there appsv1.ReplicaSet
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(set), &there); err != nil {
		return err
	}
	if metav1.IsControlledBy(&there, w.svc) {
		return nil
	}
	if there.Labels[v1alpha1.LabelService] == w.svc.Name {
		return refuse(ReasonNameTaken, "ReplicaSet %s of an earlier service of this name is being removed", there.Name)
	}
	return refuse(ReasonNameTaken, "ReplicaSet %s belongs to something else: delete it, or name the service differently", there.Name)
}

// remove deletes o and what it owns, unless that is under way.
func (r *Reconciler) remove(ctx context.Context, o client.Object) error {
	if o.GetDeletionTimestamp() != nil {
		return nil
	}
	opts := []client.DeleteOption{client.PropagationPolicy(metav1.DeletePropagationBackground)}
	if uid := o.GetUID(); uid != "" { // not one that came after it, of the same name
		opts = append(opts, client.Preconditions{UID: &uid})
	}
	err := r.client.Delete(ctx, o, opts...)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting %T %s: %w", o, o.GetName(), err)
	}
	return nil
}

package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/emulate"
)

// ConditionEmulated, on a pod, says that it is on a node that does not exist.
const ConditionEmulated corev1.PodConditionType = v1alpha1.LabelEmulated

// nodeOf returns the node of that name if it is emulated, or nil.
func (c *Controller) nodeOf(ctx context.Context, name string) (*corev1.Node, error) {
	var n corev1.Node
	err := c.client.Get(ctx, client.ObjectKey{Name: name}, &n)
	if apierrors.IsNotFound(err) || err == nil && !emulate.Emulated(&n) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading node %s: %w", name, err)
	}
	return &n, nil
}

// podder does for pods what a kubelet would, where there is none: it says what
// becomes of them, and lets them go.
type podder struct{ c *Controller }

// Reconcile implements reconcile.ObjectReconciler.
func (p podder) Reconcile(ctx context.Context, pod *corev1.Pod) (reconcile.Result, error) {
	n, err := p.c.nodeOf(ctx, pod.Spec.NodeName)
	if n == nil || err != nil {
		return reconcile.Result{}, err
	}
	if pod.DeletionTimestamp != nil {
		err := p.c.client.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID})
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	for _, cond := range pod.Status.Conditions {
		if cond.Type == ConditionEmulated {
			return reconcile.Result{}, nil
		}
	}
	next := pod.DeepCopy()
	next.Status.Conditions = append(next.Status.Conditions, corev1.PodCondition{Type: ConditionEmulated, Status: corev1.ConditionTrue,
		Reason: "Emulated", Message: "node " + n.Name + " is emulated: nothing runs here", LastTransitionTime: metav1.Now()})
	if err := p.c.client.Status().Patch(ctx, next, client.MergeFrom(pod)); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("writing the status of pod %s: %w", pod.Name, err))
	}
	return reconcile.Result{}, nil
}

// annotationSelected is the scheduler's, on a claim: the node that its volume is to
// be on.
const annotationSelected = "volume.kubernetes.io/selected-node"

// provisioner makes the volumes of emulated nodes, which hold nothing: without one a
// pod would never be placed.
type provisioner struct{ c *Controller }

// Reconcile implements reconcile.ObjectReconciler.
func (p provisioner) Reconcile(ctx context.Context, claim *corev1.PersistentVolumeClaim) (reconcile.Result, error) {
	n, err := p.c.nodeOf(ctx, claim.Annotations[annotationSelected])
	if n == nil || err != nil || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil || claim.Spec.StorageClassName == nil {
		return reconcile.Result{}, err
	}
	var class storagev1.StorageClass
	if err := p.c.live.Get(ctx, client.ObjectKey{Name: *claim.Spec.StorageClassName}, &class); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	v := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "emulated-" + string(claim.UID), Labels: map[string]string{v1alpha1.LabelEmulated: "true"}, OwnerReferences: owner(n)},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]}, AccessModes: claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain, StorageClassName: class.Name, VolumeMode: claim.Spec.VolumeMode,
			ClaimRef:               &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/emulated"}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{n.Name}}},
			}}}},
		},
	}
	if err := p.c.client.Create(ctx, v); err != nil && !apierrors.IsAlreadyExists(err) {
		return reconcile.Result{}, fmt.Errorf("making an emulated volume for %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return reconcile.Result{}, nil
}

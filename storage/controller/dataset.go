package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/storage"
	"polder.dev/polder/storage/dataset"
	"polder.dev/polder/storage/iam"
)

// againEvery is how soon a freeze that met a change is tried again.
const againEvery = 2 * time.Second

type datasetReconciler struct{ *Controller }

// Reconcile freezes one data set, once.
func (c datasetReconciler) Reconcile(ctx context.Context, o *v1alpha1.Dataset) (reconcile.Result, error) {
	if o.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	if apimeta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.ConditionReady) {
		return c.temper(ctx, o)
	}
	before := o.DeepCopy()
	err := c.freeze(ctx, o)
	var no *refusal
	again := reconcile.Result{}
	switch {
	case errors.As(err, &no):
		set(&o.Status.Conditions, o.Generation, metav1.ConditionFalse, no.reason, no.message)
		again.RequeueAfter = lookEvery
	case errors.Is(err, dataset.ErrChanged):
		return reconcile.Result{RequeueAfter: againEvery}, nil
	case err != nil:
		return again, err
	default:
		again.RequeueAfter = time.Second // warm, if that is asked for
		set(&o.Status.Conditions, o.Generation, metav1.ConditionTrue, ReasonFrozen, fmt.Sprintf("%d objects, %d bytes.", o.Status.Objects, o.Status.Bytes))
	}
	if err := c.client.Status().Patch(ctx, o, client.MergeFrom(before)); err != nil {
		return again, fmt.Errorf("writing the status of data set %s: %w", o.Name, err)
	}
	return again, nil
}

func (c datasetReconciler) freeze(ctx context.Context, o *v1alpha1.Dataset) error {
	account, err := c.account(ctx, o.Namespace)
	if err != nil {
		return err
	}
	b, err := c.cfg.Space.Resolve(ctx, account, o.Spec.Bucket)
	if errors.Is(err, storage.ErrNoBucket) {
		return &refusal{ReasonNoBucket, fmt.Sprintf("there is no bucket %s; make it, or name another in a new Dataset", o.Spec.Bucket)}
	}
	if err != nil {
		return err
	}
	info, err := b.Info(ctx)
	if err != nil {
		return err
	}
	rules, err := iam.ParseRules(info.Settings)
	if err != nil {
		return err
	}
	// The manifest lies in the bucket, so who freezes must be able to write there.
	who := iam.Identity{Account: account, Admin: true}
	for _, q := range []iam.Request{
		{Who: who, Action: iam.ListBucket, Context: map[string][]string{"s3:prefix": {o.Spec.Prefix}}},
		{Who: who, Action: iam.PutObject, Key: dataset.Own},
	} {
		q.Bucket = o.Spec.Bucket
		if !rules.Allows(&q) {
			return &refusal{ReasonNoAccess, fmt.Sprintf("tenant %s may not %s in bucket %s, which tenant %s owns", account, q.Action, o.Spec.Bucket, rules.Owner)}
		}
	}
	f, err := dataset.Freeze(ctx, b, o.Spec.Bucket, o.Spec.Prefix)
	if err != nil {
		return err
	}
	if f.Objects == 0 {
		return &refusal{ReasonNoBucket, fmt.Sprintf("bucket %s has no objects below %q yet", o.Spec.Bucket, o.Spec.Prefix)}
	}
	o.Status.Digest, o.Status.Manifest, o.Status.Pinned = f.Digest, f.Key, f.Pinned
	o.Status.Objects, o.Status.Bytes = f.Objects, f.Bytes
	o.Status.Jurisdiction = c.cfg.Jurisdiction
	return nil
}

package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/residency"
	"polder.dev/polder/storage/show"
)

// finalizer keeps a Bucket until its data is dealt with.
const finalizer = v1alpha1.Group + "/bucket"

// lookEvery is how often usage is read, and what could not be done is tried again.
const lookEvery = time.Minute

// labelObject is the label of a bucket that says which object it is of.
const labelObject = "kubernetes"

// Reasons of the condition Ready.
const (
	ReasonMade      = "Made"
	ReasonTaken     = "NameTaken"
	ReasonRefused   = "Refused"
	ReasonNotEmpty  = "NotEmpty"
	ReasonForbidden = "ForbiddenJurisdiction"
	ReasonFrozen    = "Frozen"
	ReasonNoBucket  = "NoBucket"
	ReasonNoAccess  = "NoAccess"
)

// refusal is what a user has to change.
type refusal struct{ reason, message string }

func (r *refusal) Error() string { return r.message }

type bucketReconciler struct{ *Controller }

// Reconcile makes one bucket what its object says.
func (c bucketReconciler) Reconcile(ctx context.Context, o *v1alpha1.Bucket) (reconcile.Result, error) {
	if o.DeletionTimestamp != nil {
		return c.end(ctx, o)
	}
	if controllerutil.AddFinalizer(o, finalizer) {
		if err := c.client.Update(ctx, o); err != nil {
			return reconcile.Result{}, fmt.Errorf("holding bucket %s: %w", o.Name, err)
		}
	}
	status := o.Status.DeepCopy()
	made, err := c.keep(ctx, o, status)
	var no *refusal
	switch {
	case errors.As(err, &no):
		set(&status.Conditions, o.Generation, metav1.ConditionFalse, no.reason, no.message)
	case err != nil:
		return reconcile.Result{}, err
	default:
		set(&status.Conditions, o.Generation, metav1.ConditionTrue, ReasonMade, made)
	}
	return reconcile.Result{RequeueAfter: lookEvery}, c.write(ctx, o, status)
}

func (c bucketReconciler) write(ctx context.Context, o *v1alpha1.Bucket, status *v1alpha1.BucketStatus) error {
	if apiequality.Semantic.DeepEqual(&o.Status, status) {
		return nil
	}
	before := o.DeepCopy()
	o.Status = *status
	if err := c.client.Status().Patch(ctx, o, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("writing the status of bucket %s: %w", o.Name, err)
	}
	return nil
}

func set(conditions *[]metav1.Condition, generation int64, s metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: s, Reason: reason, Message: message, ObservedGeneration: generation,
	})
}

// keep makes or changes the bucket, reads what it holds, and says what it is.
func (c bucketReconciler) keep(ctx context.Context, o *v1alpha1.Bucket, status *v1alpha1.BucketStatus) (string, error) {
	account, err := c.account(ctx, o.Namespace)
	if err != nil {
		return "", err
	}
	if err := c.place(o); err != nil {
		return "", err
	}
	name := bucketName(o)
	b, err := c.cfg.Space.Container(ctx, account, name)
	if errors.Is(err, storage.ErrNoBucket) {
		b, err = c.make(ctx, o, account, name)
	}
	if err != nil {
		return "", err
	}
	err = b.Configure(ctx, func(s *storage.Settings) error {
		if of := s.Labels[labelObject]; of != "" && of != objectName(o) {
			return &refusal{ReasonTaken, fmt.Sprintf("bucket %s is that of Bucket %s; choose another spec.name", name, of)}
		}
		return apply(o, s)
	})
	switch {
	case errors.Is(err, storage.ErrForbiddenPlace):
		return "", &refusal{ReasonForbidden, err.Error()}
	case errors.Is(err, storage.ErrInvalid):
		return "", &refusal{ReasonRefused, err.Error()}
	case err != nil:
		return "", err
	}
	info, err := b.Info(ctx)
	if err != nil {
		return "", err
	}
	status.Name, status.Endpoint = name, c.cfg.Place.Endpoint
	status.Objects, status.Bytes = info.Usage.Objects.Number, info.Usage.Objects.Bytes
	status.OlderBytes = info.Usage.Older.Bytes + info.Usage.Parts.Bytes
	if from := info.Settings.Labels[show.Label]; from != "" {
		return fmt.Sprintf("The bucket is %s, and shows data of another store: %s.", name, from), nil
	}
	return "The bucket is " + name + ".", nil
}

func (c bucketReconciler) make(ctx context.Context, o *v1alpha1.Bucket, account, name string) (storage.Bucket, error) {
	var s storage.Settings
	if err := apply(o, &s); err != nil {
		return nil, err
	}
	if err := naming.CheckS3(name); err != nil {
		return nil, &refusal{ReasonRefused, err.Error()}
	}
	b, err := c.cfg.Space.CreateContainer(ctx, account, name, s)
	switch {
	case errors.Is(err, storage.ErrForbiddenPlace):
		return nil, &refusal{ReasonForbidden, err.Error()}
	case errors.Is(err, storage.ErrInvalid):
		return nil, &refusal{ReasonRefused, err.Error()}
	}
	return b, err
}

// place refuses a bucket that may not lie on this machine.
func (c bucketReconciler) place(o *v1alpha1.Bucket) error {
	if o.Spec.Jurisdiction == "" {
		return nil
	}
	r := residencyOf(o)
	err := residency.Check(r)
	if err == nil {
		err = residency.Admit(bucketName(o), r, residency.Place{Name: "the store", Jurisdiction: c.cfg.Jurisdiction})
	}
	switch {
	case errors.Is(err, storage.ErrForbiddenPlace) && c.cfg.Jurisdiction == "":
		return &refusal{ReasonForbidden, err.Error() + "; storage.jurisdiction of the cloud's configuration says where the store is"}
	case errors.Is(err, storage.ErrForbiddenPlace):
		return &refusal{ReasonForbidden, err.Error()}
	case err != nil:
		return &refusal{ReasonRefused, err.Error()}
	}
	return nil
}

func residencyOf(o *v1alpha1.Bucket) storage.Residency {
	return storage.Residency{Home: o.Spec.Jurisdiction, Allowed: o.Spec.Allowed}
}

func bucketName(o *v1alpha1.Bucket) string {
	if o.Spec.Name != "" {
		return o.Spec.Name
	}
	return o.Name
}

func objectName(o *v1alpha1.Bucket) string { return o.Namespace + "/" + o.Name }

// apply puts what an object says into settings, and leaves what it does not speak of.
func apply(o *v1alpha1.Bucket, s *storage.Settings) error {
	s.Durability = storage.Synced
	if o.Spec.Durability == v1alpha1.BucketWritten {
		s.Durability = storage.Written
	}
	switch {
	case o.Spec.Versioning:
		s.Versioning = storage.Versioned
	case s.Versioning == storage.Versioned:
		s.Versioning = storage.Suspended
	}
	s.Copies = int(max(o.Spec.Copies, 1))
	s.PlainETag = o.Spec.ETag == v1alpha1.BucketETagAny
	s.Residency = residencyOf(o)
	s.Tiers = tiersOf(o, s.Tiers)
	var access []iam.Access
	for _, a := range o.Spec.Access {
		role := iam.Reader
		if a.Role == v1alpha1.BucketWriter {
			role = iam.Writer
		}
		access = append(access, iam.Access{Account: a.Tenant, User: a.User, Role: role, Prefix: a.Prefix})
	}
	labels := maps.Clone(s.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	put := func(name, value string) {
		if value == "" {
			delete(labels, name)
			return
		}
		labels[name] = value
	}
	put(labelObject, objectName(o))
	put(iam.LabelAccess, iam.EncodeAccess(access))
	quota := ""
	if q := o.Spec.Quota.Value(); q > 0 {
		quota = strconv.FormatInt(q, 10)
	}
	put(iam.LabelQuota, quota)
	s.Labels = labels
	return nil
}

// tiersOf is the policy that an object asks for; without one, what was set otherwise.
func tiersOf(o *v1alpha1.Bucket, have storage.Tiers) storage.Tiers {
	t := o.Spec.Tiers
	if t == nil {
		return have
	}
	out := storage.Tiers{
		Lower: t.Lower, DemoteAfter: time.Duration(t.DemoteAfterSeconds) * time.Second, DemoteBytesMin: t.DemoteBytesMin, Pinned: t.Pinned,
		NoHot: t.NoMemory,
	}
	switch t.Write {
	case v1alpha1.BucketWriteBack:
		out.Write = storage.WriteBack
	case v1alpha1.BucketWriteThrough:
		out.Write = storage.WriteThrough
	}
	return out
}

// end deals with the data of a Bucket that is deleted, then lets it go.
func (c bucketReconciler) end(ctx context.Context, o *v1alpha1.Bucket) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(o, finalizer) {
		return reconcile.Result{}, nil
	}
	err := c.dispose(ctx, o)
	var no *refusal
	if errors.As(err, &no) {
		status := o.Status.DeepCopy()
		set(&status.Conditions, o.Generation, metav1.ConditionFalse, no.reason, no.message)
		return reconcile.Result{RequeueAfter: lookEvery}, c.write(ctx, o, status)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	controllerutil.RemoveFinalizer(o, finalizer)
	if err := c.client.Update(ctx, o); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("letting bucket %s go: %w", o.Name, err)
	}
	return reconcile.Result{}, nil
}

func (c bucketReconciler) dispose(ctx context.Context, o *v1alpha1.Bucket) error {
	account, err := c.account(ctx, o.Namespace)
	if err != nil {
		if errors.Is(err, iam.ErrNoIdentity) {
			return nil // the namespace is gone, and with it who could ask for the data
		}
		return err
	}
	name := bucketName(o)
	b, err := c.cfg.Space.Container(ctx, account, name)
	if errors.Is(err, storage.ErrNoBucket) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := b.Info(ctx)
	if err != nil {
		return err
	}
	if info.Settings.Labels[labelObject] != objectName(o) {
		return nil // it never was this object's
	}
	if o.Spec.Deletion == v1alpha1.BucketKeep || info.Settings.Labels[show.Label] != "" { // what another store holds is that one's
		return b.Configure(ctx, func(s *storage.Settings) error {
			s.Labels = maps.Clone(s.Labels)
			delete(s.Labels, labelObject)
			return nil
		})
	}
	if o.Spec.Deletion == v1alpha1.BucketRemove {
		if err := empty(ctx, b); err != nil {
			return fmt.Errorf("emptying bucket %s: %w", name, err)
		}
	}
	if err := c.cfg.Space.Delete(ctx, b); errors.Is(err, storage.ErrNotEmpty) {
		return &refusal{ReasonNotEmpty, fmt.Sprintf("bucket %s holds objects or older versions; remove them, or set spec.deletion to Keep or Remove", name)}
	} else if err != nil {
		return err
	}
	return nil
}

// empty removes all versions of a bucket.
func empty(ctx context.Context, b storage.Bucket) error {
	for {
		page, err := b.Versions(ctx, storage.ListOptions{Limit: 1000})
		if err != nil {
			return err
		}
		for i := range page.Objects {
			if _, err := b.Delete(ctx, page.Objects[i].Key, storage.DeleteOptions{Version: page.Objects[i].Version}); err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
	}
}

package controller

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/show"
)

// world is a controller over a fake API server and a store in memory.
type world struct {
	*Controller
	t     *testing.T
	api   client.Client
	asked int // token reviews
	now   time.Time
}

func start(t *testing.T, jurisdiction string, objects ...client.Object) *world {
	t.Helper()
	w := &world{t: t, now: time.Unix(1e9, 0)}
	store := mem.New(0, time.Now)
	t.Cleanup(func() { _ = store.Close() })
	space, err := naming.Open(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w.api = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.Bucket{}, &v1alpha1.Dataset{}).WithIndex(&corev1.Secret{}, byKey, indexKey).
		WithInterceptorFuncs(interceptor.Funcs{Create: w.create}).Build()
	w.Controller, err = New(slog.New(slog.DiscardHandler), w.api, Config{
		Space: space, Place: Place{Endpoint: "https://store", Region: "here", CA: []byte("pem")}, System: []string{"kube-system"},
		Jurisdiction: jurisdiction, Now: func() time.Time { return w.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// create answers reviews as an API server would that knows two tokens.
func (w *world) create(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
	switch r := o.(type) {
	case *authenticationv1.TokenReview:
		w.asked++
		user := map[string]string{"sa": "system:serviceaccount:red-1:robot", "root": "admin"}[r.Spec.Token]
		r.Status = authenticationv1.TokenReviewStatus{Authenticated: user != "", User: authenticationv1.UserInfo{Username: user}}
		return nil
	case *authorizationv1.SubjectAccessReview:
		a := r.Spec.ResourceAttributes
		r.Status.Allowed = r.Spec.User == "admin" || a.Namespace == "red-1" && a.Verb == "get"
		return nil
	}
	return c.Create(ctx, o, opts...)
}

func namespace(name, tenant string) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if tenant != "" {
		n.Labels = map[string]string{v1alpha1.LabelTenant: tenant}
	}
	return n
}

func (w *world) secretOf(ns, name string) *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: ns, Name: name}, &s); err != nil {
		w.t.Fatal(err)
	}
	return &s
}

func (w *world) keysOf(ns *corev1.Namespace) {
	w.t.Helper()
	if _, err := (keyReconciler{w.Controller}).Reconcile(w.t.Context(), ns); err != nil {
		w.t.Fatal(err)
	}
}

func TestKeys(t *testing.T) {
	red := namespace("red-1", "red")
	w := start(t, "", red, namespace("kube-system", ""))
	w.keysOf(red)
	s := w.secretOf("red-1", v1alpha1.StoreSecret)
	who, secret, err := w.Keys().Key(t.Context(), string(s.Data["accessKey"]))
	if err != nil || who.Account != "red" || !who.Admin || secret != string(s.Data["secretKey"]) {
		t.Errorf("%+v, %v", who, err)
	}
	job := w.secretOf("red-1", v1alpha1.StoreJobSecret)
	if who, _, err := w.Keys().Key(t.Context(), string(job.Data["accessKey"])); err != nil || who.Admin || who.Role != iam.Writer {
		t.Errorf("a job's key is %+v, %v", who, err)
	}
	if string(s.Data["endpoint"]) != "https://store" || string(s.Data["ca.crt"]) != "pem" {
		t.Errorf("the secret says %s", s.Data["endpoint"])
	}
	w.keysOf(red)
	if again := w.secretOf("red-1", v1alpha1.StoreSecret); string(again.Data["secretKey"]) != secret {
		t.Error("a second look made another key")
	}
	if err := w.api.Delete(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Keys().Key(t.Context(), string(s.Data["accessKey"])); !errors.Is(err, iam.ErrNoIdentity) {
		t.Errorf("a key whose secret is gone: %v", err)
	}
	w.keysOf(red)
	if anew := w.secretOf("red-1", v1alpha1.StoreSecret); string(anew.Data["secretKey"]) == secret {
		t.Error("the same key came back")
	}
	w.keysOf(namespace("kube-system", ""))
	if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: "kube-system", Name: v1alpha1.StoreSecret}, &corev1.Secret{}); err == nil {
		t.Error("a namespace of no tenant has a key")
	}
}

// TestReaders: of the cloud's own namespaces, one that is named has a key, to read alone.
func TestReaders(t *testing.T) {
	own, other := namespace("polder-system", ""), namespace("kube-system", "")
	w := start(t, "", own, other)
	w.cfg.System, w.cfg.Readers = []string{"kube-system", "polder-system"}, []string{"polder-system"}
	w.keysOf(own)
	w.keysOf(other)
	who, _, err := w.Keys().Key(t.Context(), string(w.secretOf("polder-system", v1alpha1.StoreSecret).Data["accessKey"]))
	if err != nil || who.Account != "polder-system" || who.Admin || who.Role != iam.Reader {
		t.Errorf("%+v, %v", who, err)
	}
	var all corev1.SecretList
	if err := w.api.List(t.Context(), &all); err != nil || len(all.Items) != 1 {
		t.Errorf("%d secrets, %v", len(all.Items), err)
	}
}

func TestKeyTakenOver(t *testing.T) {
	red, blue := namespace("red-1", "red"), namespace("blue", "")
	w := start(t, "", red, blue)
	w.keysOf(red)
	s := w.secretOf("red-1", v1alpha1.StoreSecret)
	s.CreationTimestamp = metav1.NewTime(time.Unix(1000, 0))
	if err := w.api.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	thief := secret("blue", "thief", "admin", Place{})
	thief.CreationTimestamp = metav1.NewTime(time.Unix(2000, 0))
	thief.Data["accessKey"] = s.Data["accessKey"]
	if err := w.api.Create(t.Context(), thief); err != nil {
		t.Fatal(err)
	}
	who, secret, err := w.Keys().Key(t.Context(), string(s.Data["accessKey"]))
	if err != nil || who.Account != "red" || secret != string(s.Data["secretKey"]) {
		t.Errorf("the key is %+v's, %v", who, err)
	}
}

func TestToken(t *testing.T) {
	w := start(t, "", namespace("red-1", "red"))
	who, err := w.Keys().Token(t.Context(), "sa")
	if err != nil || who.Account != "red" || who.Admin || who.Role != iam.Reader {
		t.Errorf("a service account that may read: %+v, %v", who, err)
	}
	if who, err := w.Keys().Token(t.Context(), "root"); err != nil || !who.Operator {
		t.Errorf("the administrator: %+v, %v", who, err)
	}
	for range 3 {
		if _, err := w.Keys().Token(t.Context(), "other"); !errors.Is(err, iam.ErrNoIdentity) {
			t.Errorf("a token of nobody: %v", err)
		}
	}
	if w.asked != 3 {
		t.Errorf("asked %d times", w.asked)
	}
	w.now = w.now.Add(tokenFor)
	if _, err := w.Keys().Token(t.Context(), "sa"); err != nil || w.asked != 4 {
		t.Errorf("a minute later: asked %d times, %v", w.asked, err)
	}
}

// look reconciles a Bucket and returns what its status says.
func (w *world) look(o *v1alpha1.Bucket) (*v1alpha1.Bucket, metav1.Condition) {
	w.t.Helper()
	key := client.ObjectKeyFromObject(o)
	var have v1alpha1.Bucket
	if err := w.api.Get(w.t.Context(), key, &have); err != nil {
		w.t.Fatal(err)
	}
	if _, err := (bucketReconciler{w.Controller}).Reconcile(w.t.Context(), &have); err != nil {
		w.t.Fatal(err)
	}
	var after v1alpha1.Bucket
	if err := client.IgnoreNotFound(w.api.Get(w.t.Context(), key, &after)); err != nil {
		w.t.Fatal(err)
	}
	if c := apimeta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		return &after, *c
	}
	return &after, metav1.Condition{}
}

func newBucket(ns, name string, spec v1alpha1.BucketSpec) *v1alpha1.Bucket {
	return &v1alpha1.Bucket{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: spec}
}

func TestBucket(t *testing.T) {
	o := newBucket("red-1", "data", v1alpha1.BucketSpec{
		Versioning: true, Durability: v1alpha1.BucketWritten, Quota: resource.MustParse("1Gi"),
		Access: []v1alpha1.BucketAccess{{Tenant: "blue", Role: v1alpha1.BucketReader, Prefix: "pub/"}},
	})
	rival := newBucket("blue", "data", v1alpha1.BucketSpec{})
	again := newBucket("red-1", "again", v1alpha1.BucketSpec{Name: "data"})
	w := start(t, "", namespace("red-1", "red"), namespace("blue", ""), o, rival, again)
	got, c := w.look(o)
	if c.Status != metav1.ConditionTrue || got.Status.Name != "data" || got.Status.Endpoint != "https://store" {
		t.Fatalf("%+v: %+v", c, got.Status)
	}
	b, err := w.cfg.Space.Resolve(t.Context(), "red", "data")
	if err != nil {
		t.Fatal(err)
	}
	info, err := b.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := info.Settings
	if s.Versioning != storage.Versioned || s.Durability != storage.Written || s.Labels[iam.LabelQuota] != "1073741824" || s.Labels[iam.LabelOwner] != "red" {
		t.Errorf("settings: %+v", s)
	}
	rules, err := iam.ParseRules(s)
	if err != nil {
		t.Fatal(err)
	}
	if !rules.Allows(&iam.Request{Who: iam.Identity{Account: "blue"}, Action: iam.GetObject, Key: "pub/x"}) {
		t.Error("a tenant with a role may not read")
	}
	if _, c := w.look(rival); c.Status != metav1.ConditionTrue {
		t.Errorf("a name that another tenant has: %+v", c)
	}
	other, err := w.cfg.Space.Resolve(t.Context(), "blue", "data")
	if err != nil || other.Name() == b.Name() {
		t.Errorf("two tenants share bucket %s, %v", b.Name(), err)
	}
	if _, c := w.look(again); c.Reason != ReasonTaken {
		t.Errorf("a name that another object of the tenant has: %+v", c)
	}
	if _, err := b.Put(t.Context(), "k", strings.NewReader("abc"), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.look(o); got.Status.Objects != 1 || got.Status.Bytes != 3 {
		t.Errorf("usage: %+v", got.Status)
	}
}

func TestBucketEnds(t *testing.T) {
	for _, tc := range []struct {
		deletion   v1alpha1.BucketDeletion
		gone, data bool
	}{{v1alpha1.BucketEmpty, false, true}, {v1alpha1.BucketKeep, true, true}, {v1alpha1.BucketRemove, true, false}} {
		t.Run(string(tc.deletion), func(t *testing.T) {
			o := newBucket("red-1", "data", v1alpha1.BucketSpec{Versioning: true, Deletion: tc.deletion})
			w := start(t, "", namespace("red-1", "red"), o)
			w.look(o)
			b, err := w.cfg.Space.Resolve(t.Context(), "red", "data")
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := b.Put(t.Context(), "k", strings.NewReader("abc"), storage.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.api.Delete(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			got, c := w.look(o)
			if gone := got.Name == ""; gone != tc.gone || !gone && c.Reason != ReasonNotEmpty {
				t.Errorf("gone is %v: %+v", gone, c)
			}
			if _, err := w.cfg.Space.Resolve(t.Context(), "red", "data"); errors.Is(err, storage.ErrNoBucket) == tc.data {
				t.Errorf("the data: %v", err)
			}
		})
	}
}

func TestBucketElsewhere(t *testing.T) {
	nl := newBucket("red-1", "in-nl", v1alpha1.BucketSpec{Jurisdiction: "nl"})
	us := newBucket("red-1", "in-us", v1alpha1.BucketSpec{Jurisdiction: "us"})
	both := newBucket("red-1", "both", v1alpha1.BucketSpec{Jurisdiction: "us", Allowed: []string{"nl"}})
	w := start(t, "nl", namespace("red-1", "red"), nl, us, both)
	for _, o := range []*v1alpha1.Bucket{nl, both} {
		if _, c := w.look(o); c.Status != metav1.ConditionTrue {
			t.Errorf("%s: %+v", o.Name, c)
		}
	}
	if _, c := w.look(us); c.Reason != ReasonForbidden || !strings.Contains(c.Message, "nl") {
		t.Errorf("a bucket of another law: %+v", c)
	}
	if _, err := w.cfg.Space.Resolve(t.Context(), "red", "in-us"); !errors.Is(err, storage.ErrNoBucket) {
		t.Errorf("it was made all the same: %v", err)
	}
}

func TestDataset(t *testing.T) {
	o := newBucket("red-1", "data", v1alpha1.BucketSpec{Versioning: true})
	mine := &v1alpha1.Dataset{ObjectMeta: metav1.ObjectMeta{Namespace: "red-1", Name: "d"}, Spec: v1alpha1.DatasetSpec{Bucket: "data", Prefix: "in/"}}
	theirs := &v1alpha1.Dataset{ObjectMeta: metav1.ObjectMeta{Namespace: "blue", Name: "d"}, Spec: v1alpha1.DatasetSpec{Bucket: "data"}}
	w := start(t, "nl", namespace("red-1", "red"), namespace("blue", ""), o, mine, theirs)
	look := func(d *v1alpha1.Dataset) *v1alpha1.Dataset {
		t.Helper()
		var have v1alpha1.Dataset
		if err := w.api.Get(t.Context(), client.ObjectKeyFromObject(d), &have); err != nil {
			t.Fatal(err)
		}
		if _, err := (datasetReconciler{w.Controller}).Reconcile(t.Context(), &have); err != nil {
			t.Fatal(err)
		}
		return &have
	}
	reason := func(d *v1alpha1.Dataset) string {
		return apimeta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady).Reason
	}
	if r := reason(look(mine)); r != ReasonNoBucket {
		t.Errorf("without a bucket: %s", r)
	}
	w.look(o)
	b, err := w.cfg.Space.Resolve(t.Context(), "red", "data")
	if err != nil {
		t.Fatal(err)
	}
	put := func(k string) {
		t.Helper()
		if _, err := b.Put(t.Context(), k, strings.NewReader("abc"), storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put("in/a")
	put("in/b")
	got := look(mine)
	if s := got.Status; reason(got) != ReasonFrozen || s.Objects != 2 || s.Bytes != 6 || !s.Pinned || s.Jurisdiction != "nl" {
		t.Errorf("%+v", got.Status)
	}
	put("in/c")
	if again := look(mine); again.Status.Digest != got.Status.Digest {
		t.Error("what is frozen has changed")
	}
	if r := reason(look(theirs)); r != ReasonNoAccess {
		t.Errorf("another tenant's bucket: %s", r)
	}
}

func TestWarm(t *testing.T) {
	o := newBucket("red-1", "data", v1alpha1.BucketSpec{})
	d := &v1alpha1.Dataset{ObjectMeta: metav1.ObjectMeta{Namespace: "red-1", Name: "d", UID: "u"}, Spec: v1alpha1.DatasetSpec{Bucket: "data", Prefix: "in/", Warm: true}}
	w := start(t, "", namespace("red-1", "red"), o, d)
	begun, proceed := make(chan string, 1), make(chan struct{})
	released := make(chan struct{}, 1)
	w.cfg.Warm = func(_ context.Context, bucket, prefix string, tell func(int64)) (func(), error) {
		tell(2)
		begun <- bucket + "/" + prefix
		<-proceed
		return func() { released <- struct{}{} }, nil
	}
	look := func() *v1alpha1.Dataset {
		t.Helper()
		var have v1alpha1.Dataset
		if err := w.api.Get(t.Context(), client.ObjectKeyFromObject(d), &have); err != nil {
			t.Fatal(err)
		}
		if _, err := (datasetReconciler{w.Controller}).Reconcile(t.Context(), &have); err != nil {
			t.Fatal(err)
		}
		return &have
	}
	w.look(o)
	b, err := w.cfg.Space.Resolve(t.Context(), "red", "data")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), "in/a", strings.NewReader("abcd"), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	look() // frozen
	look() // begins
	if got := <-begun; got != "data/in/" {
		t.Errorf("warmed %s", got)
	}
	if got := look(); got.Status.Warmed != 2 {
		t.Errorf("on the way: %d bytes", got.Status.Warmed)
	}
	close(proceed)
	w.work.Wait()
	if got := look(); got.Status.Warmed != 4 {
		t.Errorf("at the end: %d bytes", got.Status.Warmed)
	}
	var have v1alpha1.Dataset
	if err := w.api.Get(t.Context(), client.ObjectKeyFromObject(d), &have); err != nil {
		t.Fatal(err)
	}
	have.Spec.Warm = false
	if err := w.api.Update(t.Context(), &have); err != nil {
		t.Fatal(err)
	}
	if got := look(); got.Status.Warmed != 0 {
		t.Errorf("cooled down: %d bytes", got.Status.Warmed)
	}
	<-released
	have = *look()
	have.Spec.Warm = true
	if err := w.api.Update(t.Context(), &have); err != nil {
		t.Fatal(err)
	}
	look()
	<-begun
	if err := w.api.Delete(t.Context(), &have); err != nil {
		t.Fatal(err)
	}
	if _, err := w.dataset(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(d)}); err != nil {
		t.Fatal(err)
	}
	<-released // one that is gone does not stay warm
}

// TestBucketShown: an object about a bucket with data of another store says so, gives
// access to it, and goes without touching the data.
func TestBucketShown(t *testing.T) {
	ctx := t.Context()
	o := newBucket("red-1", "archive", v1alpha1.BucketSpec{
		Deletion: v1alpha1.BucketRemove, Access: []v1alpha1.BucketAccess{{Tenant: "blue", Role: v1alpha1.BucketReader}},
	})
	wrong := newBucket("red-1", "wrong", v1alpha1.BucketSpec{Name: "second", Versioning: true})
	w := start(t, "", namespace("red-1", "red"), o, wrong)
	far := mem.New(0, time.Now)
	theirs, err := far.CreateBucket(ctx, "archive", storage.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Put(ctx, "k", strings.NewReader("theirs"), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := show.New(ctx, show.Config{Below: mem.New(0, time.Now), Sources: []show.Source{
		{Bucket: "archive", Account: "red", Store: far, From: "s3 far", Writable: true}, {Bucket: "second", Account: "red", Store: mem.New(0, time.Now), From: "s3 far"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if w.cfg.Space, err = naming.Open(ctx, s); err != nil {
		t.Fatal(err)
	}
	if _, c := w.look(o); c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, "s3 far") {
		t.Fatalf("%+v", c)
	}
	b, err := w.cfg.Space.Resolve(ctx, "red", "archive")
	if err != nil {
		t.Fatal(err)
	}
	info, err := b.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if rules, err := iam.ParseRules(info.Settings); err != nil || !rules.Allows(&iam.Request{Who: iam.Identity{Account: "blue"}, Action: iam.GetObject, Key: "k"}) {
		t.Errorf("a tenant with a role may not read: %v", err)
	}
	if _, c := w.look(wrong); c.Reason != ReasonRefused || !strings.Contains(c.Message, "versioning") {
		t.Errorf("what the other store would keep: %+v", c)
	}
	if err := w.api.Delete(ctx, o); err != nil {
		t.Fatal(err)
	}
	if got, c := w.look(o); got.Name != "" {
		t.Errorf("the object stays: %+v", c)
	}
	if _, err := theirs.Stat(ctx, "k", storage.ReadOptions{}); err != nil {
		t.Errorf("the other store's data: %v", err)
	}
}

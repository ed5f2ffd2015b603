package alias

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
)

func digest(i int) string { return fmt.Sprintf("sha256:%064x", i) }

// house is a namespace with one Model and its controller.
type house struct {
	t      *testing.T
	client client.Client
	c      *Controller
	clock  *clocktesting.FakePassiveClock
	events *events.FakeRecorder
}

var key = client.ObjectKey{Namespace: "lab", Name: "ocr"}

func newHouse(t *testing.T) *house {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	h := &house{
		t: t, clock: clocktesting.NewFakePassiveClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
		events: events.NewFakeRecorder(100),
	}
	h.client = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.Model{}, &v1alpha1.Evaluation{}).Build()
	h.restart()
	m := &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	m.Spec = v1alpha1.ModelSpec{Reference: "models/lab/ocr@" + digest(1), Digest: digest(1), Licence: "MIT", Lineage: v1alpha1.Lineage{Job: "first"}}
	if err := h.client.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	h.look()
	return h
}

// restart makes a controller that begins with nothing in memory.
func (h *house) restart() {
	h.t.Helper()
	c, err := New(slog.New(slog.NewTextHandler(io.Discard, nil)), Deps{Client: h.client, Events: h.events, Clock: h.clock, Metrics: prometheus.NewRegistry()})
	if err != nil {
		h.t.Fatal(err)
	}
	h.c = c
}

// look has the controller look until nothing changes any more.
func (h *house) look() *v1alpha1.Model {
	h.t.Helper()
	for range 5 {
		m := h.model()
		if _, err := h.c.Reconcile(h.t.Context(), m.DeepCopy()); err != nil {
			h.t.Fatal(err)
		}
		if now := h.model(); now.ResourceVersion == m.ResourceVersion {
			return now
		}
	}
	h.t.Fatal("the controller writes without end")
	return nil
}

func (h *house) model() *v1alpha1.Model {
	h.t.Helper()
	m := &v1alpha1.Model{}
	if err := h.client.Get(h.t.Context(), key, m); err != nil {
		h.t.Fatal(err)
	}
	return m
}

// change writes the Model as a person or a publisher does, and looks.
func (h *house) change(do func(m *v1alpha1.Model)) *v1alpha1.Model {
	h.t.Helper()
	h.clock.SetTime(h.clock.Now().Add(time.Hour))
	m := h.model()
	do(m)
	if err := h.client.Update(h.t.Context(), m); err != nil {
		h.t.Fatal(err)
	}
	return h.look()
}

func (h *house) publish(i int, licence string) *v1alpha1.Model {
	return h.change(func(m *v1alpha1.Model) {
		m.Spec.Digest, m.Spec.Reference, m.Spec.Licence = digest(i), "models/lab/ocr@"+digest(i), licence
	})
}

func (h *house) want(alias string, i int) *v1alpha1.Model {
	return h.change(func(m *v1alpha1.Model) {
		for j := range m.Spec.Aliases {
			if m.Spec.Aliases[j].Name == alias {
				m.Spec.Aliases[j].Digest = digest(i)
				return
			}
		}
		m.Spec.Aliases = append(m.Spec.Aliases, v1alpha1.ModelAlias{Name: alias, Digest: digest(i), Reason: "because"})
	})
}

// evaluate makes an evaluation of version i beside others, and looks.
func (h *house) evaluate(name string, status v1alpha1.EvaluationStatus, models ...int) *v1alpha1.Model {
	h.t.Helper()
	e := &v1alpha1.Evaluation{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name}, Status: status}
	for j, i := range models {
		e.Spec.Models = append(e.Spec.Models, v1alpha1.EvaluatedModel{Name: fmt.Sprintf("m%d", j), Model: "ocr@" + digest(i)})
		if status.State == v1alpha1.StateSucceeded {
			e.Status.Models = append(e.Status.Models, v1alpha1.EvaluatedResult{Name: fmt.Sprintf("m%d", j), Model: &v1alpha1.ModelReference{Name: "ocr", Digest: digest(i)}})
		}
	}
	if err := h.client.Create(h.t.Context(), e); err != nil {
		h.t.Fatal(err)
	}
	if got := candidate(h.t.Context(), e); len(got) != 1 || got[0].NamespacedName != key {
		h.t.Fatalf("evaluation %s has the controller look at %v", name, got)
	}
	return h.look()
}

// expect that an alias means version i, or nothing if that is 0, and that the condition
// says says, or that all holds if that is empty.
func (h *house) expect(m *v1alpha1.Model, alias string, i int, says string) {
	h.t.Helper()
	var got string
	if a := held(m, alias); a != nil {
		got = a.Digest
	}
	if want := digest(i); got != want && (i != 0 || got != "") {
		h.t.Errorf("%s means %q, want %s", alias, got, want)
	}
	c := apimeta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionPromoted)
	if c == nil || (c.Status == metav1.ConditionTrue) != (says == "") || !strings.Contains(c.Message, says) {
		h.t.Errorf("condition %+v, want it to say %q", c, says)
	}
}

func gate(g v1alpha1.ModelGate) func(m *v1alpha1.Model) {
	g.Alias = "production"
	return func(m *v1alpha1.Model) { m.Spec.Gates = []v1alpha1.ModelGate{g} }
}

var (
	passes  = v1alpha1.EvaluationStatus{State: v1alpha1.StateSucceeded, Passed: true}
	fails   = v1alpha1.EvaluationStatus{State: v1alpha1.StateSucceeded, Unmet: []string{"accuracy is 0.5, at least 0.9 is asked for"}}
	running = v1alpha1.EvaluationStatus{State: v1alpha1.StateRunning}
	broken  = v1alpha1.EvaluationStatus{State: v1alpha1.StateFailed, Message: "no data"}
)

func TestVersionsAreKept(t *testing.T) {
	h := newHouse(t)
	m := h.publish(2, "Apache-2.0")
	var got []string
	for _, v := range m.Status.Versions {
		got = append(got, v.Digest+" "+v.Licence+" "+v.Job)
	}
	if d := cmp.Diff([]string{digest(2) + " Apache-2.0 first", digest(1) + " MIT first"}, got); d != "" {
		t.Errorf("versions (-want +got):\n%s", d)
	}
	m = h.change(func(m *v1alpha1.Model) { m.Spec.Licence = "none" })
	if len(m.Status.Versions) != 2 || m.Status.Versions[0].Licence != "Apache-2.0" {
		t.Errorf("a record changed: %+v", m.Status.Versions)
	}
	if m.Status.Conditions != nil {
		t.Errorf("a model without aliases has conditions %v", m.Status.Conditions)
	}
	h.want("production", 1)
	for i := 3; i < 100; i++ {
		m = h.publish(i, "")
	}
	if len(m.Status.Versions) != versionsMax+2 { // the last, which spec has, and what production means
		t.Errorf("%d versions are kept", len(m.Status.Versions))
	}
	if find(m, digest(1)) == nil || find(m, digest(2)) != nil || m.Status.Versions[0].Digest != digest(99) {
		t.Error("the wrong versions were dropped")
	}
}

func TestAnAliasMovesAndComesBack(t *testing.T) {
	h := newHouse(t)
	h.expect(h.want("production", 1), "production", 1, "")
	h.publish(2, "")
	h.expect(h.want("production", 2), "production", 2, "")
	h.restart()
	m := h.want("production", 1)
	h.expect(m, "production", 1, "")
	a := held(m, "production")
	if len(a.History) != 2 || a.History[0].Digest != digest(2) || a.History[1].Digest != digest(1) || a.History[0].To.Time != a.Since.Time || a.Reason != "because" {
		t.Errorf("history %+v", a)
	}
	for i := range 50 {
		m = h.want("production", 1+i%2)
	}
	if n := len(held(m, "production").History); n != historyMax {
		t.Errorf("the history has %d entries", n)
	}
	m = h.change(func(m *v1alpha1.Model) { m.Spec.Aliases = nil })
	if len(m.Status.Aliases) != 0 || len(m.Status.Conditions) != 0 {
		t.Errorf("an alias that is not wanted any more: %+v", m.Status)
	}
}

func TestNoSuchVersion(t *testing.T) {
	h := newHouse(t)
	h.expect(h.want("production", 7), "production", 0, "polder model versions ocr")
	h.expect(h.publish(7, ""), "production", 7, "") // GitOps may write the alias first
}

func TestTheGateAsksForAnEvaluation(t *testing.T) {
	h := newHouse(t)
	h.want("production", 1)
	h.change(gate(v1alpha1.ModelGate{Evaluation: true, Against: true}))
	h.expect(h.publish(2, ""), "production", 1, "")
	h.expect(h.want("production", 2), "production", 1, "`polder evaluate ocr@"+digest(2)+" --against ocr@production` makes one")
	h.expect(h.evaluate("other", passes, 1, 2), "production", 1, "there is none") // the candidate is another
	h.expect(h.evaluate("a", running, 2), "production", 1, "has not ended yet")
	h.expect(h.evaluate("b", broken, 2), "production", 1, "has failed: no data")
	h.expect(h.evaluate("c", fails, 2, 1), "production", 1, "not passed evaluation c: accuracy is 0.5")
	h.expect(h.evaluate("d", passes, 2), "production", 1, "evaluation d did not compare it with "+digest(1))
	m := h.evaluate("e", passes, 2, 1)
	h.expect(m, "production", 2, "")
	if a := held(m, "production"); a.Evaluation != "e" || a.History[0].Evaluation != "" {
		t.Errorf("what let it through: %+v", a)
	}
	if err := h.client.DeleteAllOf(t.Context(), &v1alpha1.Evaluation{}, client.InNamespace(key.Namespace)); err != nil {
		t.Fatal(err)
	}
	h.expect(h.look(), "production", 2, "")                // it goes on
	h.expect(h.want("production", 1), "production", 1, "") // it is taken back at once
	m = h.want("production", 2)
	h.expect(m, "production", 2, "")
	if a := held(m, "production"); a.Evaluation != "e" {
		t.Errorf("what came back has the evaluation %q", a.Evaluation)
	}
	if got := testutil.ToFloat64(h.c.changes.WithLabelValues("lab", resultPromoted)); got != 4 {
		t.Errorf("%v promotions were counted", got)
	}
	if got := testutil.ToFloat64(h.c.changes.WithLabelValues("lab", resultRefused)); got != 5 { // each sentence once
		t.Errorf("%v refusals were counted", got)
	}
}

// A service that was judged is not the version, even where the version has answered for it:
// what it serves can change.
func TestAServiceOpensNoGate(t *testing.T) {
	h := newHouse(t)
	h.want("production", 1)
	h.change(gate(v1alpha1.ModelGate{Evaluation: true, Against: true}))
	h.publish(2, "")
	h.want("production", 2)
	e := &v1alpha1.Evaluation{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "svc"}, Status: passes}
	e.Spec.Models = []v1alpha1.EvaluatedModel{{Name: "m", Service: "ocr"}}
	e.Status.Models = []v1alpha1.EvaluatedResult{{Name: "m", Service: "ocr", By: []v1alpha1.EvaluationOrigin{{Revision: "ocr-2", Digest: digest(2), Rows: 10}}}}
	if err := h.client.Create(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	e.Status = v1alpha1.EvaluationStatus{State: v1alpha1.StateSucceeded, Passed: true, Models: e.Status.Models}
	if err := h.client.Status().Update(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	h.expect(h.look(), "production", 1, "there is none")
}

func TestTheFirstVersionNeedsNoComparison(t *testing.T) {
	h := newHouse(t)
	h.change(gate(v1alpha1.ModelGate{Evaluation: true, Against: true}))
	h.want("production", 1)
	h.expect(h.evaluate("a", passes, 1), "production", 1, "")
}

func TestTheGateAsksForALicence(t *testing.T) {
	h := newHouse(t)
	h.want("production", 1)
	h.change(gate(v1alpha1.ModelGate{Licences: []string{"MIT", "Apache-2.0"}}))
	h.publish(2, "Proprietary")
	h.expect(h.want("production", 2), "production", 1, "lets through the licences MIT, Apache-2.0, and the version has Proprietary")
	h.publish(3, "")
	h.expect(h.want("production", 3), "production", 1, "nothing says which")
	h.publish(4, "mit OR Proprietary")
	h.expect(h.want("production", 4), "production", 4, "")
	h.expect(h.want("staging", 2), "staging", 2, "") // has no gate
	h.change(gate(v1alpha1.ModelGate{Licences: []string{"Apache-2.0"}}))
	h.expect(h.want("production", 1), "production", 4, "the version has MIT") // taken back, but not against the licence
}

func TestAVersionIsForgotten(t *testing.T) {
	h := newHouse(t)
	h.want("production", 1)
	h.publish(2, "")
	h.want("production", 2)
	h.publish(3, "")
	forget := func(i int) *v1alpha1.Model {
		t.Helper()
		m := h.change(func(m *v1alpha1.Model) {
			m.Labels = map[string]string{"a": "b"}
			m.Annotations = map[string]string{v1alpha1.AnnotationForget: digest(i), "c": "d"}
		})
		if d := cmp.Diff(map[string]string{"c": "d"}, m.Annotations); d != "" || m.Labels["a"] != "b" {
			t.Errorf("the wish was not taken away alone:\n%s", d)
		}
		return m
	}
	for i, stays := range map[int]bool{3: true, 2: true, 7: false} {
		if m := forget(i); (find(m, digest(i)) != nil) != stays || len(m.Status.Versions) != 3 {
			t.Errorf("after forgetting %d there are %+v", i, m.Status.Versions)
		}
	}
	if m := forget(1); find(m, digest(1)) != nil || len(m.Status.Versions) != 2 {
		t.Errorf("what an alias has only meant is still there: %+v", m.Status.Versions)
	}
	h.expect(h.want("production", 1), "production", 2, "no such version")
}

// TestADecisionIsOfOneState: what was judged by an older spec is not written.
func TestADecisionIsOfOneState(t *testing.T) {
	h := newHouse(t)
	old := h.want("staging", 1)
	old.Spec.Aliases[0].Digest = digest(1)
	old.Spec.Aliases = append(old.Spec.Aliases, v1alpha1.ModelAlias{Name: "production", Digest: digest(1)})
	h.publish(2, "")
	if _, err := h.c.Reconcile(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if m := h.model(); held(m, "production") != nil {
		t.Error("an alias moved by a spec that is gone")
	}
}

func TestRoles(t *testing.T) {
	for i, text := range strings.Split(string(RBAC), "\n---\n") {
		var role rbacv1.ClusterRole
		var binding rbacv1.ClusterRoleBinding
		var err error
		if i == 0 {
			err = yaml.UnmarshalStrict([]byte(text), &role)
		} else {
			err = yaml.UnmarshalStrict([]byte(text), &binding)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

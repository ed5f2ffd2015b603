package bootstrap

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"polder.dev/polder/api/v1alpha1"
)

// TestGatewayChangesOneAnnotation proves what keeps the gateway's right to patch pods to
// what it needs it for.
func TestGatewayChangesOneAnnotation(t *testing.T) {
	v := policy(t, "polder-gateway")
	front := person{"polder:gateway", nil}
	for _, c := range []struct {
		name   string
		who    person
		change func(*corev1.Pod)
		want   string
	}{
		{"the cost", front, func(p *corev1.Pod) { p.Annotations[corev1.PodDeletionCost] = "-1000" }, ""},
		{"the cost, again", front, func(p *corev1.Pod) { p.Annotations[corev1.PodDeletionCost] = "7" }, ""},
		{"another annotation", front, func(p *corev1.Pod) { p.Annotations["mine"] = "2" }, "what its deletion costs"},
		{"a new annotation", front, func(p *corev1.Pod) { p.Annotations["other"] = "1" }, "what its deletion costs"},
		{"an annotation less", front, func(p *corev1.Pod) { delete(p.Annotations, "mine") }, "what its deletion costs"},
		{"the image", front, func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil" }, "what its deletion costs"},
		{"a label", front, func(p *corev1.Pod) { p.Labels["a"] = "b" }, "what its deletion costs"},
		{"the owner", front, func(p *corev1.Pod) { p.OwnerReferences = []metav1.OwnerReference{{Name: "x"}} }, "what its deletion costs"},
		{"somebody else's pod", front, func(p *corev1.Pod) { p.Labels = nil }, "only pods of InferenceServices"},
		{"somebody else", ana, func(p *corev1.Pod) { p.Spec.Containers[0].Image = "new" }, ""},
	} {
		old := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "lab", Name: "p", Labels: map[string]string{v1alpha1.LabelService: "svc"}, Annotations: map[string]string{"mine": "1"},
			},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "good"}}},
		}
		pod := old.DeepCopy()
		c.change(pod)
		if got := judgeUpdate(t, v, c.who, pod, old); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// judgeUpdate asks a policy about a pod that who changes, and returns the refusal, or "".
func judgeUpdate(t *testing.T, v validating.Validator, who person, pod, old *corev1.Pod) string {
	t.Helper()
	kind, resource := corev1.SchemeGroupVersion.WithKind("Pod"), corev1.SchemeGroupVersion.WithResource("pods")
	record := admission.NewAttributesRecord(pod, old, kind, pod.Namespace, pod.Name, resource, "", admission.Update, nil, false, who)
	attr, err := admission.NewVersionedAttributes(record, kind, objects{})
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: pod.Namespace}}
	got := v.Validate(t.Context(), resource, attr, nil, namespace, celconfig.RuntimeCELCostBudget, nil)
	for _, d := range got.Decisions {
		if d.Evaluation == validating.EvalError {
			t.Fatal(d.Message)
		}
		if d.Action != validating.ActionAdmit {
			return d.Message
		}
	}
	return ""
}

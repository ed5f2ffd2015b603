package plugin

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/preemption"
)

type informed struct {
	fwk.Handle
	factory informers.SharedInformerFactory
}

func (i informed) SharedInformerFactory() informers.SharedInformerFactory { return i.factory }

// TestNobodyWaitsForWhoIsGone: who is known to be gone is not sent, and nothing will tell
// of it.
func TestNobodyWaitsForWhoIsGone(t *testing.T) {
	factory := informers.NewSharedInformerFactory(fake.NewClientset(), 0)
	here, again := pod("here"), pod("again")
	here.UID, again.UID = "1", "3"
	for _, p := range []*corev1.Pod{here, again} {
		if err := factory.Core().V1().Pods().Informer().GetStore().Add(p); err != nil {
			t.Fatal(err)
		}
	}
	before := again.DeepCopy()
	before.UID = "2"
	var sent []string
	send := (&Preemption{handle: informed{factory: factory}}).overtaken(
		func(_ context.Context, _ preemption.Candidate, _ preemption.ExecutorPreemptor, p *corev1.Pod, _ string) (bool, error) {
			sent = append(sent, p.Name)
			return false, nil
		})
	for _, tc := range []struct {
		victim  *corev1.Pod
		quietly bool
	}{{here, false}, {before, true}, {pod("gone"), true}} {
		quietly, err := send(t.Context(), nil, nil, tc.victim, NamePreemption)
		if err != nil || quietly != tc.quietly {
			t.Errorf("%s (%s): %v, %v; want %v", tc.victim.Name, tc.victim.UID, quietly, err, tc.quietly)
		}
	}
	if len(sent) != 1 || sent[0] != "here" {
		t.Errorf("%q were sent, want here", sent)
	}
}

package workload

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestReference(t *testing.T) {
	for _, tc := range []struct {
		image, digest, want string
		own                 bool
	}{
		{"runtimes/pytorch-cpu", "", "registry.polder.internal/runtimes/pytorch-cpu", true},
		{"single", digestA, "registry.polder.internal/single@" + digestA, true},
		{"registry.polder.internal/x:1", digestA, "registry.polder.internal/x:1@" + digestA, true},
		{"docker.io/pytorch/pytorch:2.0", "", "docker.io/pytorch/pytorch:2.0", false},
		{"localhost/x", "", "localhost/x", false},
		{"host:5000/x@" + digestA, digestB, "host:5000/x@" + digestA, false},
	} {
		got := Reference(tc.image, tc.digest)
		if got != tc.want || Own(got) != tc.own {
			t.Errorf("Reference(%q, %q) = %q, own %v; want %q, %v", tc.image, tc.digest, got, Own(got), tc.want, tc.own)
		}
	}
}

func TestStacks(t *testing.T) {
	seen := map[corev1.ResourceName]bool{}
	for _, s := range Stacks() {
		if got, ok := StackOf(s.Software); !ok || got != s || seen[s.Resource] {
			t.Errorf("stack %+v is not found by its name, or shares its resource", s)
		}
		seen[s.Resource] = true
	}
	if _, ok := StackOf(SoftwareCPU); ok {
		t.Error("the CPU is no accelerator")
	}
}

func TestOnSome(t *testing.T) {
	with := func(n string) corev1.Node {
		return corev1.Node{Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{"amd.com/gpu": resource.MustParse(n)}}}
	}
	rocm, _ := StackOf("rocm")
	cuda, _ := StackOf("cuda")
	for name, tc := range map[string]struct {
		stack Stack
		nodes []corev1.Node
		want  bool
	}{
		"no node":                   {rocm, nil, false},
		"a device":                  {rocm, []corev1.Node{{}, with("1")}, true},
		"all devices are unhealthy": {rocm, []corev1.Node{with("0")}, false},
		"another's device":          {cuda, []corev1.Node{with("1")}, false},
	} {
		if got := tc.stack.OnSome(tc.nodes); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestReferenceShape(t *testing.T) {
	for _, good := range []string{
		"runtimes/pytorch-cpu", "single", "docker.io/pytorch/pytorch:2.0", "localhost/x", "host:5000/x@" + digestA,
	} {
		if !IsReference(good) {
			t.Errorf("%q does not pass for a reference", good)
		}
	}
	for _, bad := range []string{"", "A/B", "a b", "a@sha256:12", "/a", "a//b", "a:", "-a", "a/../b", "http://a/b"} {
		if IsReference(bad) {
			t.Errorf("%q passes for a reference", bad)
		}
	}
}

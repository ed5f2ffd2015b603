package scheduler

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func TestManifest(t *testing.T) {
	s := Second{Image: "registry.example.com/polder:1.0", Name: "polder-scheduler", Policy: "polder"}
	b, err := s.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	docs := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(b), 4<<10)
	for {
		var o unstructured.Unstructured
		if err := docs.Decode(&o.Object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		kinds[o.GetKind()]++
		if o.GetKind() == "Deployment" {
			containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
			if err != nil || len(containers) != 1 || containers[0].(map[string]any)["image"] != s.Image {
				t.Errorf("containers are %v, %v", containers, err)
			}
		}
	}
	for _, kind := range []string{"Namespace", "ServiceAccount", "ClusterRoleBinding", "Role", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "Deployment"} {
		if kinds[kind] == 0 {
			t.Errorf("there is no %s", kind)
		}
	}
	for want, change := range map[string]func(*Second){
		"is no reference to an image": func(s *Second) { s.Image = "a b" },
		"there already":               func(s *Second) { s.Name = "default-scheduler" },
		"will not do":                 func(s *Second) { s.Name = "x\n- y" },
		"is not known":                func(s *Second) { s.Policy = "best" },
	} {
		bad := s
		change(&bad)
		if _, err := bad.Manifest(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

package bootstrap

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"polder.dev/polder/system/layout"
)

func gather(t *testing.T, o Options) []*unstructured.Unstructured {
	t.Helper()
	cfg, err := layout.ReadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	c, err := layout.New("/var/lib/polder-test", cfg)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := collect(c, o)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func TestEveryManifestIsAnObject(t *testing.T) {
	objects := gather(t, Options{Kata: true})
	seen := map[string]bool{}
	first := true // kinds come before all else
	for _, u := range objects {
		id := u.GetAPIVersion() + " " + u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
		if u.GetAPIVersion() == "" || u.GetKind() == "" || u.GetName() == "" {
			t.Errorf("an object without apiVersion, kind or name: %v", u.Object)
		}
		if seen[id] {
			t.Errorf("%s is there twice: the second would overwrite the first", id)
		}
		seen[id] = true
		if kind := u.GetKind() == "CustomResourceDefinition"; kind && !first {
			t.Errorf("%s comes after objects that may be of its kind", id)
		} else {
			first = kind
		}
		if (u.GetNamespace() == "") != clusterWide[u.GetKind()] {
			t.Errorf("%s: is it of a namespace or of the cluster? clusterWide says otherwise", id)
		}
		b, err := u.MarshalJSON()
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(string(b), "${") {
			t.Errorf("%s has a value that nobody filled in: %s", id, b)
		}
	}
	for _, want := range []string{
		"rbac.authorization.k8s.io/v1 ClusterRole /polder:train", "rbac.authorization.k8s.io/v1 ClusterRole /polder:offer",
		"rbac.authorization.k8s.io/v1 ClusterRole /polder:queue", "rbac.authorization.k8s.io/v1 ClusterRole /polder:firewall", "rbac.authorization.k8s.io/v1 ClusterRole /polder:tenant",
		"node.k8s.io/v1 RuntimeClass /gvisor", "v1 ConfigMap kube-public/cloud",
	} {
		if !seen[want] {
			t.Errorf("%s is missing", want)
		}
	}
}

// TestEveryRoleIsGiven: a role that nobody has, and a binding to a role that is
// not there, are mistakes the API server takes in silence.
func TestEveryRoleIsGiven(t *testing.T) {
	roles, bound := map[string]bool{}, map[string]bool{}
	for _, u := range gather(t, Options{}) {
		switch u.GetKind() {
		case "ClusterRole", "Role":
			given := false // to whoever has the role it is added to
			for l := range u.GetLabels() {
				given = given || strings.HasPrefix(l, "rbac.authorization.k8s.io/aggregate-to-")
			}
			roles[u.GetKind()+" "+u.GetName()] = given
		case "ClusterRoleBinding", "RoleBinding":
			kind, _, _ := unstructured.NestedString(u.Object, "roleRef", "kind")
			name, _, _ := unstructured.NestedString(u.Object, "roleRef", "name")
			bound[kind+" "+name] = true
		}
	}
	for r, given := range roles {
		if !bound[r] && !given {
			t.Errorf("%s is given to nobody", r)
		}
	}
	for b := range bound {
		if ours := strings.Contains(b, "polder:"); ours && !there(roles, b) {
			t.Errorf("a binding gives %s, which is not there", b)
		}
	}
}

func there(m map[string]bool, key string) bool {
	_, ok := m[key]
	return ok
}

func TestKataIsOfferedWhereItIs(t *testing.T) {
	has := func(o Options) bool {
		return slices.ContainsFunc(gather(t, o), func(u *unstructured.Unstructured) bool { return u.GetKind() == "RuntimeClass" && u.GetName() == "kata" })
	}
	if has(Options{}) || !has(Options{Kata: true}) {
		t.Error("the RuntimeClass kata must be there exactly when Kata is")
	}
}

func TestParse(t *testing.T) {
	got, err := parse([]byte("# nothing\n---\nkind: A\n---\n\n---\nkind: B\n"))
	if err != nil || len(got) != 2 || got[0].GetKind() != "A" || got[1].GetKind() != "B" {
		t.Errorf("%v, %v; want A and B", got, err)
	}
	if _, err := parse([]byte("kind: [")); err == nil {
		t.Error("malformed YAML was taken")
	}
}

package dra

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// objects reads a manifest as strictly as the API server would.
func objects(t *testing.T, manifest []byte) []runtime.Object {
	t.Helper()
	decode := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	docs := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(manifest)))
	var out []runtime.Object
	for {
		buf := make([]byte, 64<<10)
		n, err := docs.Read(buf)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		o, _, err := decode.Decode(buf[:n], nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, buf[:n])
		}
		out = append(out, o)
	}
}

func TestManifestIsWhatAClusterTakes(t *testing.T) {
	b, err := Manifest(Pods{Image: "registry.example.com:5000/polder:1.0", Kubelet: "/var/lib/kubelet", CDI: "/var/run/cdi", State: "/run/x"})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, o := range objects(t, b) {
		kinds[o.GetObjectKind().GroupVersionKind().Kind]++
		switch o := o.(type) {
		case *appsv1.DaemonSet:
			c := o.Spec.Template.Spec.Containers[0]
			if c.Image != "registry.example.com:5000/polder:1.0" || !strings.Contains(strings.Join(c.Args, " "), "--kubelet-dir=/var/lib/kubelet --cdi-dir=/var/run/cdi --state-dir=/run/x") {
				t.Errorf("the container is %+v", c)
			}
			for _, m := range c.VolumeMounts {
				if m.MountPath == "/host" && !m.ReadOnly {
					t.Error("the host's root directory can be written")
				}
			}
		case *rbacv1.ClusterRoleBinding:
			for _, s := range o.Subjects {
				if s.Kind != "ServiceAccount" || s.Namespace != "polder-system" || s.Name != "device-driver" {
					t.Errorf("%s is bound to %+v", o.Name, s)
				}
			}
		}
	}
	for _, k := range []string{"Namespace", "ServiceAccount", "ClusterRole", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "DeviceClass", "DaemonSet"} {
		if kinds[k] != 1 {
			t.Errorf("the manifest has %d of kind %s", kinds[k], k)
		}
	}
}

func TestManifestRefusesWhatIsNoName(t *testing.T) {
	good := Pods{Image: "polder", Kubelet: "/var/lib/kubelet", CDI: "/var/run/cdi", State: "/run/x"}
	for want, spoil := range map[string]func(*Pods){
		"image \"\"":             func(p *Pods) { p.Image = "" },
		"image \"a\\nb: c\"":     func(p *Pods) { p.Image = "a\nb: c" },
		"kubelet directory":      func(p *Pods) { p.Kubelet = "var/lib" },
		"CDI directory":          func(p *Pods) { p.CDI = "/a/../b" },
		"state directory \"/a b": func(p *Pods) { p.State = "/a b" },
	} {
		p := good
		spoil(&p)
		if _, err := Manifest(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// refusals are pods that no tenant may have, and words of the reason.
var refusals = []struct {
	name   string
	spoil  func(*corev1.Pod)
	reason []string
}{
	{"a privileged container", func(p *corev1.Pod) { first(p).SecurityContext.Privileged = ptr.To(true) }, []string{"privileged"}},
	{"a directory of the machine", func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		first(p).VolumeMounts = []corev1.VolumeMount{{Name: "host", MountPath: "/host"}}
	}, []string{"restricted volume types", "hostPath"}},
	{"the machine's network", func(p *corev1.Pod) { p.Spec.HostNetwork = true }, []string{"host namespaces", "hostNetwork"}},
	{"the machine's processes", func(p *corev1.Pod) { p.Spec.HostPID = true }, []string{"host namespaces", "hostPID"}},
	{"the machine's shared memory", func(p *corev1.Pod) { p.Spec.HostIPC = true }, []string{"host namespaces", "hostIPC"}},
	{"a port of the machine", func(p *corev1.Pod) {
		first(p).Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 8080}}
	}, []string{"hostPort"}},
	{"the user root", func(p *corev1.Pod) { p.Spec.SecurityContext.RunAsUser = ptr.To[int64](0) }, []string{"runAsUser=0"}},
	{"a user that may be root", func(p *corev1.Pod) { p.Spec.SecurityContext.RunAsNonRoot = nil }, []string{"runAsNonRoot"}},
	{"a way to gain privileges", func(p *corev1.Pod) { first(p).SecurityContext.AllowPrivilegeEscalation = ptr.To(true) }, []string{"allowPrivilegeEscalation"}},
	{"capabilities", func(p *corev1.Pod) {
		first(p).SecurityContext.Capabilities.Add = []corev1.Capability{"SYS_ADMIN"}
	}, []string{"capabilities", "SYS_ADMIN"}},
	{"no filter of system calls", func(p *corev1.Pod) {
		p.Spec.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
	}, []string{"seccompProfile"}},
	{"an unmasked /proc", func(p *corev1.Pod) {
		first(p).SecurityContext.ProcMount = ptr.To(corev1.UnmaskedProcMount)
	}, []string{"procMount"}},
	{"settings of the kernel", func(p *corev1.Pod) {
		p.Spec.SecurityContext.Sysctls = []corev1.Sysctl{{Name: "kernel.msgmax", Value: "65536"}}
	}, []string{"sysctls"}},
	{"the class runc", func(p *corev1.Pod) { p.Spec.RuntimeClassName = ptr.To("runc") },
		[]string{"spec.runtimeClassName runc is not allowed in namespace", "leave it out to get", "polder.dev/sandbox=runc"}},
	{"the class runc on a node of its choice", func(p *corev1.Pod) {
		p.Spec.RuntimeClassName, p.Spec.NodeName = ptr.To("runc"), "anywhere"
	}, []string{"spec.runtimeClassName runc is not allowed in namespace"}},
	{"a class that is not there", func(p *corev1.Pod) { p.Spec.RuntimeClassName = ptr.To("none") }, []string{"none"}},
}

func first(p *corev1.Pod) *corev1.Container { return &p.Spec.Containers[0] }

// TestRestrictedByDefault tries, in a namespace that nobody has configured, what
// a tenant may not do; and what an administrator may allow.
func TestRestrictedByDefault(t *testing.T) {
	c := shared(t)
	c.probe(t)
	ns := c.namespace(t, "tenant", nil)
	oscar, _ := c.user(t, "oscar", ns)

	for _, r := range refusals {
		t.Run("refused: "+r.name, func(t *testing.T) {
			p := probePod(ns, "refused", "look")
			r.spoil(p)
			err := oscar.Create(brief(t), p)
			if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
				t.Fatalf("want it refused, got %v", err)
			}
			for _, w := range r.reason {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the reason does not say %q: %v", w, err)
				}
			}
			if err := oscar.Get(brief(t), kube.Key(ns, "refused"), &corev1.Pod{}); !apierrors.IsNotFound(err) {
				t.Errorf("the refused pod is there: %v", err)
			}
		})
	}
	t.Run("no class means gvisor", func(t *testing.T) {
		for _, class := range []*string{nil, ptr.To("gvisor")} {
			p := probePod(ns, "class-"+ptr.Deref(class, "none"), "look")
			p.Spec.RuntimeClassName = class
			if err := oscar.Create(brief(t), p); err != nil {
				t.Fatal(err)
			}
			if classOf(p) != "gvisor" {
				t.Errorf("pod %s has class %q", p.Name, classOf(p))
			}
		}
	})
	t.Run("no way out of a running pod", func(t *testing.T) { noEscape(t, c, oscar, ns) })
	t.Run("nor by way of a deployment", func(t *testing.T) { noDeployment(t, c, oscar, ns) })
	t.Run("an administrator may allow runc", func(t *testing.T) {
		open := c.namespace(t, "trusted", map[string]string{v1alpha1.LabelSandbox: "runc"})
		for _, class := range []*string{nil, ptr.To("runc")} {
			p := probePod(open, "class-"+ptr.Deref(class, "none"), "look")
			p.Spec.RuntimeClassName = class
			c.output(t, p)
			if classOf(p) != "runc" {
				t.Errorf("pod %s has class %q", p.Name, classOf(p))
			}
		}
		p := probePod(open, "root", "look")
		p.Spec.SecurityContext.RunAsUser = ptr.To[int64](0)
		refused(t, "root where runc is allowed", c.api(t).Create(brief(t), p))
	})
}

// noEscape tries to change a running pod into one that would be refused.
func noEscape(t *testing.T, c *cloud, who *kube.Client, ns string) {
	p := c.start(t, probePod(ns, "running", "serve", "8080", "x"))
	intruder := first(probePod(ns, "x", "look"))
	intruder.SecurityContext.Privileged = ptr.To(true)
	changed := p.DeepCopy()
	changed.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "intruder", Image: intruder.Image, Command: intruder.Command, SecurityContext: intruder.SecurityContext,
	}}}
	err := who.SubResource("ephemeralcontainers").Update(brief(t), changed)
	refused(t, "adding a privileged ephemeral container", err)

	changed = p.DeepCopy()
	changed.Spec.RuntimeClassName = ptr.To("runc")
	if err := who.Update(brief(t), changed); !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
		t.Errorf("changing the class of a running pod: want it refused, got %v", err)
	}
	mirror := probePod(ns, "mirror", "look")
	mirror.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	mirror.Spec.NodeName, mirror.Spec.HostNetwork = p.Spec.NodeName, true
	refused(t, "a pod that claims to be the kubelet's", who.Create(brief(t), mirror))
	refused(t, "a RuntimeClass of its own", who.Create(brief(t), &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Handler: "runc"}))
	refused(t, "reading nodes", who.List(brief(t), &corev1.NodeList{}))
	refused(t, "a pod in the cloud's own namespace", who.Create(brief(t), probePod("kube-system", "intruder", "look")))
}

// noDeployment checks that a controller's pods are refused as a person's are, and
// that its owner is told.
func noDeployment(t *testing.T, c *cloud, who *kube.Client, ns string) {
	p := probePod(ns, "deployed", "serve", "8080", "x")
	p.Spec.RestartPolicy, p.Spec.RuntimeClassName = corev1.RestartPolicyAlways, ptr.To("runc")
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "deployed"}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: p.Labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: p.Labels}, Spec: p.Spec},
	}}
	if err := who.Create(brief(t), d); err != nil {
		t.Fatal(err)
	}
	waitFor(t, time.Minute, "the deployment telling why it has no pod", func(ctx context.Context) error {
		var now appsv1.Deployment
		if err := c.api(t).Get(ctx, kube.Key(ns, "deployed"), &now); err != nil {
			return err
		}
		for _, cond := range now.Status.Conditions {
			if cond.Type == appsv1.DeploymentReplicaFailure && strings.Contains(cond.Message, "spec.runtimeClassName runc is not allowed") {
				return nil
			}
		}
		return fmt.Errorf("%+v", now.Status.Conditions)
	})
	var pods corev1.PodList
	if err := c.api(t).List(brief(t), &pods, kube.InNamespace(ns), kube.Labelled(p.Labels)); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) > 0 {
		t.Errorf("the deployment has %d pods", len(pods.Items))
	}
}

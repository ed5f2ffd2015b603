package firewall

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

var pods = netip.MustParsePrefix("10.1.0.0/17")

// newPod makes a pod that runs; ports are NAME=NUMBER[/PROTOCOL].
func newPod(namespace, name, ip, app string, ports ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": app}}}
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip}
	c := corev1.Container{}
	for _, s := range ports {
		port := corev1.ContainerPort{}
		name, rest, _ := strings.Cut(s, "=")
		number, protocol, _ := strings.Cut(rest, "/")
		if _, err := fmt.Sscan(number, &port.ContainerPort); err != nil {
			panic(err)
		}
		port.Name, port.Protocol = name, corev1.Protocol(protocol)
		c.Ports = append(c.Ports, port)
	}
	p.Spec.Containers = []corev1.Container{c}
	return p
}

func newNamespace(name, tenant string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"tenant": tenant, corev1.LabelMetadataName: name}}}
}

// newPolicy reads a spec as YAML.
func newPolicy(t *testing.T, namespace, name, spec string) *networkingv1.NetworkPolicy {
	t.Helper()
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	return p
}

// world has two namespaces of tenant red and one of tenant blue.
func world() State {
	return State{
		Namespaces: []*corev1.Namespace{newNamespace("a", "red"), newNamespace("b", "red"), newNamespace("c", "blue")},
		Pods: []*corev1.Pod{
			newPod("a", "web", "10.1.0.1", "web", "http=8080", "dns=53/UDP"),
			newPod("a", "web2", "10.1.0.2", "web", "http=9090/TCP"),
			newPod("a", "db", "10.1.0.3", "db", "sql=5432"),
			newPod("b", "web", "10.1.1.1", "web", "http=80"),
			newPod("c", "web", "10.1.2.1", "web"),
		},
	}
}

const (
	allPods = "{ 10.1.0.1, 10.1.0.2, 10.1.0.3, 10.1.1.1, 10.1.2.1 }"
	webs    = "{ 10.1.0.1, 10.1.0.2 }"
)

// rules returns what a script does in a chain, without the lines all have.
func rules(t *testing.T, script, chain string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(script, "chain "+chain+" {\n")
	body, _, ok2 := strings.Cut(rest, "\n\t}")
	if !ok || !ok2 {
		t.Fatalf("no chain %s in\n%s", chain, script)
	}
	var out []string
	for l := range strings.Lines(body) {
		l = strings.TrimSpace(l)
		if !strings.HasPrefix(l, "type filter hook forward") && l != "ct state established,related accept" {
			out = append(out, l)
		}
	}
	return out
}

func TestCompile(t *testing.T) {
	unknownIn := "ip daddr 10.1.0.0/17 ip daddr != " + allPods + " drop"
	unknownOut := "ip saddr 10.1.0.0/17 ip saddr != " + allPods + " drop"
	locked := "ip daddr " + webs + " drop"
	for name, tc := range map[string]struct {
		spec    string
		in, out []string
	}{
		"a policy that selects nobody does nothing": {
			spec: "podSelector: {matchLabels: {app: none}}",
			in:   []string{unknownIn},
		},
		"ingress is closed by default": {
			spec: "podSelector: {matchLabels: {app: web}}",
			in:   []string{locked, unknownIn},
		},
		"an empty selector selects the namespace": {
			spec: "podSelector: {}",
			in:   []string{"ip daddr { 10.1.0.1, 10.1.0.2, 10.1.0.3 } drop", unknownIn},
		},
		"egress alone leaves ingress open, and the unknown sends nothing": {
			spec: "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}",
			in:   []string{unknownIn},
			out:  []string{"ip saddr " + webs + " drop", unknownOut},
		},
		"egress rules alone mean both directions": {
			spec: "{podSelector: {matchLabels: {app: web}}, egress: [{}]}",
			in:   []string{locked, unknownIn},
			out:  []string{"ip saddr " + webs + " accept", "ip saddr " + webs + " drop", unknownOut},
		},
		"an empty rule lets everybody in": {
			spec: "{podSelector: {matchLabels: {app: web}}, ingress: [{}]}",
			in:   []string{"ip daddr " + webs + " accept", locked, unknownIn},
		},
		"a podSelector alone means the policy's namespace": {
			spec: "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
			in:   []string{"ip daddr { 10.1.0.3 } ip saddr " + webs + " accept", "ip daddr { 10.1.0.3 } drop", unknownIn},
		},
		"a namespaceSelector means all its pods": {
			spec: "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {tenant: blue}}}]}]}",
			in:   []string{"ip daddr { 10.1.0.3 } ip saddr { 10.1.2.1 } accept", "ip daddr { 10.1.0.3 } drop", unknownIn},
		},
		"both selectors in one peer must hold": {
			spec: "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {tenant: red}}, podSelector: {matchLabels: {app: web}}}]}]}",
			in:   []string{"ip daddr { 10.1.0.3 } ip saddr { 10.1.0.1, 10.1.0.2, 10.1.1.1 } accept", "ip daddr { 10.1.0.3 } drop", unknownIn},
		},
		"two peers add up": {
			spec: "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {tenant: blue}}}, {podSelector: {matchLabels: {app: web}}}]}]}",
			in:   []string{"ip daddr { 10.1.0.3 } ip saddr { 10.1.0.1, 10.1.0.2, 10.1.2.1 } accept", "ip daddr { 10.1.0.3 } drop", unknownIn},
		},
		"peers that select nobody let nobody in": {
			spec: "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: none}}}]}]}",
			in:   []string{"ip daddr { 10.1.0.3 } drop", unknownIn},
		},
		"expressions select": {
			spec: "{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}}",
			in:   []string{"ip daddr { 10.1.0.3 } drop", unknownIn},
		},
		"a block, but for parts that overlap": {
			spec: "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 192.168.1.7/16, except: [192.168.1.0/24, 192.168.0.0/23, 192.168.1.0/24]}}]}]}",
			in: []string{
				"ip daddr { 10.1.0.3 } ip saddr 192.168.0.0/16 ip saddr != 192.168.1.0/24 ip saddr != 192.168.0.0/23 accept",
				"ip daddr { 10.1.0.3 } drop", unknownIn,
			},
		},
		"a block of IPv6 matches nothing": {
			spec: "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 'fd00::/8'}}]}]}",
			in:   []string{"ip daddr { 10.1.0.3 } drop", unknownIn},
		},
		"ports: TCP unless said, ranges, and whole protocols": {
			spec: "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 1}, {port: 2, protocol: UDP}, {port: 10, endPort: 20, protocol: SCTP}, {protocol: TCP}]}]}",
			in: []string{
				"ip daddr { 10.1.0.3 } tcp dport 1 accept", "ip daddr { 10.1.0.3 } udp dport 2 accept",
				"ip daddr { 10.1.0.3 } sctp dport 10-20 accept", "ip daddr { 10.1.0.3 } meta l4proto tcp accept",
				"ip daddr { 10.1.0.3 } drop", unknownIn,
			},
		},
		"a named port of ingress is each pod's own": {
			spec: "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: http}]}]}",
			in:   []string{"ip daddr 10.1.0.1 tcp dport 8080 accept", "ip daddr 10.1.0.2 tcp dport 9090 accept", locked, unknownIn},
		},
		"a name of another protocol's port is another name": {
			spec: "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: dns}, {port: dns, protocol: UDP}]}]}",
			in:   []string{"ip daddr 10.1.0.1 udp dport 53 accept", locked, unknownIn},
		},
		"a named port of egress is the destination's": {
			spec: "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {tenant: red}}}], ports: [{port: http}]}]}",
			in:   []string{unknownIn},
			out: []string{
				"ip saddr { 10.1.0.3 } ip daddr 10.1.0.1 tcp dport 8080 accept", "ip saddr { 10.1.0.3 } ip daddr 10.1.0.2 tcp dport 9090 accept",
				"ip saddr { 10.1.0.3 } ip daddr 10.1.1.1 tcp dport 80 accept", "ip saddr { 10.1.0.3 } drop", unknownOut,
			},
		},
		"a named port to anybody means every pod that has one": {
			spec: "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{ports: [{port: sql}]}]}",
			in:   []string{unknownIn},
			out:  []string{"ip saddr { 10.1.0.3 } ip daddr 10.1.0.3 tcp dport 5432 accept", "ip saddr { 10.1.0.3 } drop", unknownOut},
		},
		"a named port in a block is no pod's": {
			spec: "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: http}]}]}",
			in:   []string{unknownIn},
			out:  []string{"ip saddr { 10.1.0.3 } drop", unknownOut},
		},
		"egress to a block and a port": {
			spec: "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}], ports: [{port: 443}]}]}",
			in:   []string{unknownIn},
			out:  []string{"ip saddr { 10.1.0.3 } ip daddr 0.0.0.0/0 ip daddr != 10.0.0.0/8 tcp dport 443 accept", "ip saddr { 10.1.0.3 } drop", unknownOut},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := world()
			s.Policies = []*networkingv1.NetworkPolicy{newPolicy(t, "a", "p", tc.spec)}
			script := Compile(s, pods)
			if d := cmp.Diff(tc.in, rules(t, script, "ingress")); d != "" {
				t.Errorf("ingress (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tc.out, rules(t, script, "egress")); d != "" {
				t.Errorf("egress (-want +got):\n%s", d)
			}
			load(t, script)
		})
	}
}

func TestOnlyPodsWithAnAddressOfTheirOwnAreKnown(t *testing.T) {
	s := world()
	node := newPod("a", "node", "10.1.0.9", "web")
	node.Spec.HostNetwork = true
	done := newPod("a", "done", "10.1.0.8", "web")
	done.Status.Phase = corev1.PodSucceeded
	failed := newPod("a", "failed", "10.1.0.7", "web")
	failed.Status.Phase = corev1.PodFailed
	s.Pods = append(s.Pods, node, done, failed, newPod("a", "waiting", "", "web"), newPod("a", "elsewhere", "192.0.2.1", "web"), newPod("a", "six", "fd00::1", "web"))
	s.Policies = []*networkingv1.NetworkPolicy{newPolicy(t, "a", "p", "podSelector: {matchLabels: {app: web}}")}
	want := []string{"ip daddr " + webs + " drop", "ip daddr 10.1.0.0/17 ip daddr != " + allPods + " drop"}
	if d := cmp.Diff(want, rules(t, Compile(s, pods), "ingress")); d != "" {
		t.Error(d)
	}
}

func TestAnEmptyCloudIsClosed(t *testing.T) {
	script := Compile(State{}, pods)
	if d := cmp.Diff([]string{"ip daddr 10.1.0.0/17 drop"}, rules(t, script, "ingress")); d != "" {
		t.Error(d)
	}
	if got := rules(t, script, "egress"); got != nil {
		t.Errorf("nothing restricts egress, but it has %q", got)
	}
	load(t, script)
}

func TestANamespaceThatIsNotKnownIsNotSelected(t *testing.T) {
	s := world()
	s.Namespaces = nil
	s.Policies = []*networkingv1.NetworkPolicy{newPolicy(t, "a", "p", "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {}}]}]}")}
	if got := rules(t, Compile(s, pods), "ingress"); len(got) != 2 {
		t.Errorf("pods of namespaces that are not known yet are let in: %q", got)
	}
}

// TestTheSameStateIsTheSameScript: listers return objects in any order, and a
// script that differs is loaded into the kernel again.
func TestTheSameStateIsTheSameScript(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s := world()
	s.Policies = []*networkingv1.NetworkPolicy{
		newPolicy(t, "a", "p", "{podSelector: {}, ingress: [{ports: [{port: http}]}], egress: [{ports: [{port: http}]}]}"),
		newPolicy(t, "a", "q", "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}"),
		newPolicy(t, "b", "p", "{podSelector: {}, ingress: [{}]}"),
	}
	want := Compile(s, pods)
	for range 20 {
		r.Shuffle(len(s.Pods), func(i, j int) { s.Pods[i], s.Pods[j] = s.Pods[j], s.Pods[i] })
		r.Shuffle(len(s.Policies), func(i, j int) { s.Policies[i], s.Policies[j] = s.Policies[j], s.Policies[i] })
		r.Shuffle(len(s.Namespaces), func(i, j int) { s.Namespaces[i], s.Namespaces[j] = s.Namespaces[j], s.Namespaces[i] })
		if d := cmp.Diff(want, Compile(s, pods)); d != "" {
			t.Fatalf("the order of what is listed shows in the script:\n%s", d)
		}
	}
}

// load has nftables read the script in a network namespace that goes away again.
func load(t *testing.T, script string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	for _, p := range []string{"nft", "unshare"} {
		if _, err := exec.LookPath(p); err != nil {
			return
		}
	}
	cmd := exec.Command("unshare", "--net", "nft", "--check", "--file", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("nft refuses the script: %v: %s\n%s", err, out, script)
	}
}

// TestTheKernelTakesTheTable loads a table for real, twice: the second load must
// replace the first.
func TestTheKernelTakesTheTable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	for _, p := range []string{"nft", "unshare"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(err)
		}
	}
	s := world()
	s.Policies = []*networkingv1.NetworkPolicy{
		newPolicy(t, "a", "p", "{podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: http}, {port: 1, endPort: 9}]}], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}]}"),
	}
	script := Compile(s, pods)
	cmd := exec.Command("unshare", "--net", "sh", "-ec", `cat >"$1/t"; nft -f "$1/t"; nft -f "$1/t"; nft list table inet `+Table, "sh", t.TempDir())
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, out, script)
	}
	want := len(rules(t, script, "ingress")) + len(rules(t, script, "egress"))
	got := len(rules(t, string(out), "ingress")) + len(rules(t, string(out), "egress"))
	if got != want || want < 6 {
		t.Errorf("the kernel has %d rules, the script %d:\n%s", got, want, out)
	}
}

// FuzzRule compiles rules that nobody has validated: whatever they say, each is
// one rule, and none is open to more than a validated one.
func FuzzRule(f *testing.F) {
	f.Add("http", int32(1), int32(2), "10.0.0.0/8", "10.1.0.0/16")
	f.Add("x accept", int32(-1), int32(1<<30), "::/0", "x drop")
	f.Fuzz(func(t *testing.T, name string, from, to int32, cidr, except string) {
		number, text := intstr.FromInt32(from), intstr.FromString(name)
		s := world()
		p := newPolicy(t, "a", "p", "podSelector: {}")
		p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{
			From:  []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: cidr, Except: []string{except}}}},
			Ports: []networkingv1.NetworkPolicyPort{{Port: &number, EndPort: &to}, {Port: &text}},
		}}
		s.Policies = []*networkingv1.NetworkPolicy{p}
		for _, r := range rules(t, Compile(s, pods), "ingress") {
			if strings.Count(r, " accept")+strings.Count(r, " drop") != 1 || strings.HasSuffix(r, " accept") && !strings.Contains(r, " ip saddr ") {
				t.Errorf("not one rule, or one for everybody: %q", r)
			}
		}
	})
}

func TestWhatMatters(t *testing.T) {
	old := newPod("a", "web", "10.1.0.1", "web")
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"nothing":     {func(*corev1.Pod) {}, false},
		"a condition": {func(p *corev1.Pod) { p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady}} }, false},
		"an address":  {func(p *corev1.Pod) { p.Status.PodIP = "10.1.0.2" }, true},
		"the end":     {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, true},
		"a label":     {func(p *corev1.Pod) { p.Labels["app"] = "db" }, true},
	} {
		p := old.DeepCopy()
		tc.change(p)
		if got := matters(old, p); got != tc.want {
			t.Errorf("%s matters: %v, want %v", name, got, tc.want)
		}
	}
	if !matters(newNamespace("a", "x"), newNamespace("a", "y")) {
		t.Error("a namespace's label does not matter")
	}
}

// TestSlimLosesNoRule: what the cache drops must not show in the script.
func TestSlimLosesNoRule(t *testing.T) {
	s := world()
	s.Policies = []*networkingv1.NetworkPolicy{newPolicy(t, "a", "p", "{podSelector: {}, ingress: [{ports: [{port: http}]}]}")}
	want := Compile(s, pods)
	for i, p := range s.Pods {
		p = p.DeepCopy()
		p.Annotations = map[string]string{"a": "b"}
		p.Spec.Containers[0].Image = "x"
		o, err := slim(p)
		if err != nil {
			t.Fatal(err)
		}
		s.Pods[i] = o.(*corev1.Pod)
		if s.Pods[i].Annotations != nil || s.Pods[i].Spec.Containers[0].Image != "" {
			t.Error("what no rule depends on is kept")
		}
	}
	if d := cmp.Diff(want, Compile(s, pods)); d != "" {
		t.Error(d)
	}
	if o, err := slim(errors.New("x")); o == nil || err != nil {
		t.Error("what is no object is not passed on")
	}
}

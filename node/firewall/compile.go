package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Table is the name of the nftables table, in the cloud's network namespace.
const Table = "polder-policy"

// State is what the API says.
type State struct {
	Pods       []*corev1.Pod
	Namespaces []*corev1.Namespace
	Policies   []*networkingv1.NetworkPolicy
	Guard      Guard
}

// Guard closes the pods of a namespace until the policy that it must have is there,
// so that a pod which is faster than the policy's writer is not open meanwhile.
type Guard struct {
	Policy string   // its name; empty: no namespace must have one
	Exempt []string // namespaces that need none
}

// pod is one with an address.
type pod struct {
	*corev1.Pod
	ip string
}

// compiler turns a State into rules.
type compiler struct {
	pods       []pod
	namespaces map[string]labels.Set
	in, out    []string // rules that accept
	lockedIn   []string // addresses of pods that a policy selects
	lockedOut  []string
}

// Compile returns the nftables script that enforces the policies of s on pods with
// addresses in podCIDR.
func Compile(s State, podCIDR netip.Prefix) string {
	c := &compiler{namespaces: map[string]labels.Set{}}
	for _, n := range s.Namespaces {
		c.namespaces[n.Name] = n.Labels
	}
	pods := slices.SortedFunc(slices.Values(s.Pods), func(a, b *corev1.Pod) int { // listers have no order; the same state is the same script
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	var known []string
	for _, p := range pods {
		if ip, ok := address(p); ok && podCIDR.Contains(ip) {
			c.pods = append(c.pods, pod{p, ip.String()})
			known = append(known, ip.String())
		}
	}
	policies := slices.Clone(s.Policies)
	slices.SortFunc(policies, func(a, b *networkingv1.NetworkPolicy) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	for _, p := range policies {
		c.add(p)
	}
	c.guard(s.Guard, policies)
	return c.table(podCIDR, known)
}

// guard closes the pods of namespaces that do not have their policy yet.
func (c *compiler) guard(g Guard, policies []*networkingv1.NetworkPolicy) {
	if g.Policy == "" {
		return
	}
	guarded := map[string]bool{}
	for _, p := range policies {
		if p.Name == g.Policy {
			guarded[p.Namespace] = true
		}
	}
	for _, p := range c.pods {
		if !guarded[p.Namespace] && !slices.Contains(g.Exempt, p.Namespace) {
			c.lockedIn = append(c.lockedIn, p.ip)
		}
	}
}

// address is that of a pod which has one of its own, now.
func address(p *corev1.Pod) (netip.Addr, bool) {
	if p.Spec.HostNetwork || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(p.Status.PodIP)
	return ip, err == nil && ip.Is4()
}

func (c *compiler) table(podCIDR netip.Prefix, known []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n", Table)
	chain := func(name, direction string, priority int, rules, locked []string, closed bool) {
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype filter hook forward priority %d; policy accept;\n\t\tct state established,related accept\n", name, priority)
		for _, r := range rules {
			fmt.Fprintf(&b, "\t\t%s accept\n", r)
		}
		if len(locked) > 0 {
			fmt.Fprintf(&b, "\t\tip %s %s drop\n", direction, set(locked))
		}
		if closed {
			not := ""
			if len(known) > 0 {
				not = "ip " + direction + " != " + set(known)
			}
			fmt.Fprintf(&b, "\t\t%s drop\n", join("ip "+direction+" "+podCIDR.String(), not))
		}
		b.WriteString("\t}\n")
	}
	chain("egress", "saddr", 10, c.out, c.lockedOut, len(c.lockedOut) > 0)
	chain("ingress", "daddr", 20, c.in, c.lockedIn, true)
	b.WriteString("}\n")
	return b.String()
}

// set is an anonymous set of addresses, sorted, each once.
func set(addresses []string) string {
	a := slices.Clone(addresses)
	slices.Sort(a)
	return "{ " + strings.Join(slices.Compact(a), ", ") + " }"
}

func (c *compiler) add(p *networkingv1.NetworkPolicy) {
	var mine []pod
	for _, one := range c.pods {
		if one.Namespace == p.Namespace && selects(&p.Spec.PodSelector, one.Labels) {
			mine = append(mine, one)
		}
	}
	if len(mine) == 0 {
		return
	}
	own := addresses(mine)
	in, out := directions(p)
	if in {
		c.lockedIn = append(c.lockedIn, own...)
		for _, r := range p.Spec.Ingress {
			for _, from := range c.peers(p.Namespace, r.From, "saddr") {
				for _, port := range compilePorts(r.Ports, mine) {
					c.in = append(c.in, join(port.to(own), from.match, port.match))
				}
			}
		}
	}
	if out {
		c.lockedOut = append(c.lockedOut, own...)
		for _, r := range p.Spec.Egress {
			for _, to := range c.peers(p.Namespace, r.To, "daddr") {
				for _, port := range compilePorts(r.Ports, to.pods) {
					match := to.match
					if port.only != "" {
						match = "ip daddr " + port.only
					}
					c.out = append(c.out, join("ip saddr "+set(own), match, port.match))
				}
			}
		}
	}
}

// directions says what a policy restricts: NetworkPolicySpec.policyTypes.
func directions(p *networkingv1.NetworkPolicy) (in, out bool) {
	if len(p.Spec.PolicyTypes) == 0 {
		return true, len(p.Spec.Egress) > 0
	}
	return slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress), slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

func addresses(pods []pod) []string {
	out := make([]string, 0, len(pods))
	for _, p := range pods {
		out = append(out, p.ip)
	}
	return out
}

// selects reports whether s selects labels. A selector that cannot be read selects
// nothing; the API server admits none.
func selects(s *metav1.LabelSelector, l map[string]string) bool {
	sel, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && sel.Matches(labels.Set(l))
}

// peer is one side of the traffic that a rule allows.
type peer struct {
	match string // empty: anybody
	pods  []pod  // those meant; nil for anybody and for blocks
}

// peers compiles a rule's from or to; field is saddr or daddr.
func (c *compiler) peers(namespace string, all []networkingv1.NetworkPolicyPeer, field string) []peer {
	if len(all) == 0 {
		return []peer{{pods: c.pods}}
	}
	var out []peer
	var meant []pod
	for _, p := range all {
		if p.IPBlock != nil {
			if m, ok := block(p.IPBlock, field); ok {
				out = append(out, peer{match: m})
			}
			continue
		}
		for _, one := range c.pods {
			if c.inNamespace(p.NamespaceSelector, namespace, one) && (p.PodSelector == nil || selects(p.PodSelector, one.Labels)) {
				meant = append(meant, one)
			}
		}
	}
	if len(meant) > 0 {
		out = append(out, peer{match: "ip " + field + " " + set(addresses(meant)), pods: meant})
	}
	return out
}

func (c *compiler) inNamespace(s *metav1.LabelSelector, own string, p pod) bool {
	if s == nil {
		return p.Namespace == own
	}
	l, ok := c.namespaces[p.Namespace]
	return ok && selects(s, l)
}

// block compiles an IPBlock. One of IPv6 matches nothing here.
func block(b *networkingv1.IPBlock, field string) (string, bool) {
	p, err := netip.ParsePrefix(b.CIDR)
	if err != nil || !p.Addr().Is4() {
		return "", false
	}
	m := "ip " + field + " " + p.Masked().String()
	var except []netip.Prefix
	for _, e := range b.Except {
		if x, err := netip.ParsePrefix(e); err == nil && x.Addr().Is4() {
			except = append(except, x.Masked())
		}
	}
	for i, x := range except { // one match each: nftables refuses sets of prefixes that overlap
		if !slices.Contains(except[:i], x) {
			m += " ip " + field + " != " + x.String()
		}
	}
	return m, true
}

// port is a match of ports.
type port struct {
	match string // empty: all
	only  string // the address it holds for, where a name means different ports on different pods
}

// to is the match of the destination: the pods a policy selects, or one of them.
func (p port) to(own []string) string {
	if p.only != "" {
		return "ip daddr " + p.only
	}
	return "ip daddr " + set(own)
}

// compilePorts compiles a rule's ports; names mean those of the destination's
// containers.
func compilePorts(ports []networkingv1.NetworkPolicyPort, destination []pod) []port {
	if len(ports) == 0 {
		return []port{{}}
	}
	var out []port
	for _, p := range ports {
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		proto := strings.ToLower(string(protocol))
		switch {
		case p.Port == nil:
			out = append(out, port{match: "meta l4proto " + proto})
		case p.Port.Type == intstr.Int && p.EndPort != nil:
			out = append(out, port{match: fmt.Sprintf("%s dport %d-%d", proto, p.Port.IntVal, *p.EndPort)})
		case p.Port.Type == intstr.Int:
			out = append(out, port{match: fmt.Sprintf("%s dport %d", proto, p.Port.IntVal)})
		default:
			out = append(out, named(p.Port.StrVal, protocol, destination)...)
		}
	}
	return out
}

func named(name string, protocol corev1.Protocol, pods []pod) []port {
	var out []port
	for _, p := range pods {
		for _, c := range p.Spec.Containers {
			for _, cp := range c.Ports {
				is := cp.Protocol
				if is == "" {
					is = corev1.ProtocolTCP
				}
				if cp.Name == name && is == protocol {
					out = append(out, port{match: fmt.Sprintf("%s dport %d", strings.ToLower(string(protocol)), cp.ContainerPort), only: p.ip})
				}
			}
		}
	}
	return out
}

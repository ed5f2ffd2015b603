// Package dns configures CoreDNS, the name server of the cloud. Only system
// imports it. CoreDNS is a helper binary and runs outside the cloud's network
// namespace, at the host's end of the cable, because the machine's own name
// server, which it forwards to, may be at a loopback address.
package dns

import (
	"fmt"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/system/layout"
)

// Files writes CoreDNS's configuration. A cloud without egress forwards nothing:
// names are a way out, too.
func Files(c layout.Cloud) error {
	forward := ""
	if *c.Config.Network.Egress {
		forward = "    forward . /etc/resolv.conf\n"
	}
	return pki.WriteFile(c.Path("etc", "Corefile"), fmt.Appendf(nil, `.:%[1]d {
    bind %[2]s
    errors
    ready %[2]s:%[3]d
    prometheus %[2]s:%[4]d
    kubernetes cluster.local in-addr.arpa {
        kubeconfig %[5]s
        pods disabled
        ttl 5
    }
%[6]s    cache 30
    loadbalance
}
`, layout.PortDNS, c.HostIP(), layout.PortDNSReady, layout.PortDNSMetrics, c.Kubeconfig("coredns"), forward))
}

package network

import (
	"fmt"
	"os"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/system/layout"
)

// Files writes the CNI configuration: every pod has a cable of its own to the
// node, which routes between them, so that all traffic between pods passes the
// node's packet filter.
func Files(c layout.Cloud) error {
	if err := os.MkdirAll(c.Path("etc", "cni"), 0o700); err != nil {
		return fmt.Errorf("making CNI directory: %w", err)
	}
	return pki.WriteFile(c.Path("etc", "cni", "10-polder.conflist"), fmt.Appendf(nil, `{
  "cniVersion": "1.0.0",
  "name": "polder",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": %q}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": %q
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}, "backend": "nftables", "snat": true}
  ]
}
`, c.PodCIDR(), c.Run("ipam")))
}

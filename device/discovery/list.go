package discovery

import (
	"polder.dev/polder/device"
	"polder.dev/polder/device/tenstorrent"
)

// Adapters lists the vendors. A new one is a room below device and a line here;
// docs/howto/new-vendor.md tells how.
func Adapters() []device.Adapter {
	return []device.Adapter{
		tenstorrent.New(),
	}
}

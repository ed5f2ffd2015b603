package discovery

import (
	"polder.dev/polder/device"
	"polder.dev/polder/device/amd"
	"polder.dev/polder/device/aws"
	"polder.dev/polder/device/google"
	"polder.dev/polder/device/habana"
	"polder.dev/polder/device/huawei"
	"polder.dev/polder/device/hygon"
	"polder.dev/polder/device/intel"
	"polder.dev/polder/device/nvidia"
	"polder.dev/polder/device/tenstorrent"
)

// Adapters lists the vendors. A new one is a room below device and a line here;
// docs/howto/new-vendor.md tells how.
func Adapters() []device.Adapter {
	return []device.Adapter{
		nvidia.New(),
		amd.New(),
		intel.New(),
		habana.New(),
		google.New(),
		aws.New(),
		huawei.New(),
		hygon.New(),
		tenstorrent.New(),
	}
}

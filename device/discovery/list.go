package discovery

import (
	"polder.dev/polder/device"
	"polder.dev/polder/device/amd"
	"polder.dev/polder/device/aws"
	"polder.dev/polder/device/biren"
	"polder.dev/polder/device/cambricon"
	"polder.dev/polder/device/cpu"
	"polder.dev/polder/device/dpu"
	"polder.dev/polder/device/enflame"
	"polder.dev/polder/device/fpga"
	"polder.dev/polder/device/furiosa"
	"polder.dev/polder/device/google"
	"polder.dev/polder/device/habana"
	"polder.dev/polder/device/huawei"
	"polder.dev/polder/device/hygon"
	"polder.dev/polder/device/iluvatar"
	"polder.dev/polder/device/intel"
	"polder.dev/polder/device/kunlunxin"
	"polder.dev/polder/device/metax"
	"polder.dev/polder/device/moorethreads"
	"polder.dev/polder/device/nvidia"
	"polder.dev/polder/device/qualcomm"
	"polder.dev/polder/device/rebellions"
	"polder.dev/polder/device/tenstorrent"
	"polder.dev/polder/device/thead"
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
		cambricon.New(),
		hygon.New(),
		moorethreads.New(),
		metax.New(),
		iluvatar.New(),
		enflame.New(),
		kunlunxin.New(),
		biren.New(),
		thead.New(),
		tenstorrent.New(),
		qualcomm.New(),
		rebellions.New(),
		furiosa.New(),
		dpu.New(),
		fpga.New(),
		cpu.New(),
	}
}

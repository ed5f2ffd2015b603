package pci_test

import (
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

func TestHear(t *testing.T) {
	for message, want := range map[string]device.Heard{
		"pci 0000:3b:00.0: [10de:2330] type 00 class 0x030200 PCIe Endpoint":                                                    {Address: "0000:3b:00.0", Over: true},
		"pci 0000:3b:00.0: [10de:2330] type 00 class 0x030200":                                                                  {Address: "0000:3b:00.0", Over: true},
		"pci 0000:3b:00.0: BAR 0 [mem 0xd8000000-0xd8ffffff 64bit pref]":                                                        {},
		"nvidia 0000:3b:00.0: [10de:2330] type 00 class 0x030200":                                                               {},
		"[drm] Initialized xe 1.1.0 for 0000:03:00.0 on minor 0":                                                                {Address: "0000:03:00.0", Over: true},
		"[drm] Initialized xe 1.1.0 20201103 for 0000:4d:00.0 on minor 1":                                                       {Address: "0000:4d:00.0", Over: true},
		"[drm] Initialized nvidia-drm 0.0.0 20160202 for 0000:03:00.0 on minor 1":                                               {},
		"[drm] Initialized vgem 1.0.0 for vgem on minor 2":                                                                      {},
		"nvme 0000:34:00.0: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Data Link Layer, (Receiver ID)":                {Address: "0000:34:00.0", Fault: device.Fault{Code: "pcie-fatal", State: device.Degraded}},
		"nvidia 0000:3b:00.0: AER: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, id=0008(Requester ID)": {Address: "0000:3b:00.0", Fault: device.Fault{Code: "pcie-fatal", State: device.Degraded}},
		"igb 0000:41:00.0: PCIe Bus Error: severity=Uncorrected (Non-Fatal), type=Transaction Layer, (Requester ID)":            {},
		"pcieport 0000:00:05.0: PCIe Bus Error: severity=Correctable, type=Data Link Layer, (Receiver ID)":                      {},
		"pcieport 0000:00:01.0: AER: Uncorrected (Fatal) error received: id=0008":                                               {},
		"python3[9]: nvidia 0000:3b:00.0: PCIe Bus Error: severity=Uncorrected (Fatal)":                                         {},
		"": {},
	} {
		h, ok := pci.Hear(message)
		h.Fault.Message = ""
		if ok != (want != device.Heard{}) || h != want {
			t.Errorf("%q is %+v, %v", message, h, ok)
		}
	}
}

func FuzzHear(f *testing.F) {
	f.Add("pci 0000:3b:00.0: [10de:2330] type 00 class 0x030200")
	f.Add("[drm] Initialized xe 1.1.0 for 0000:03:00.0 on minor 0")
	f.Add("nvidia 0000:3b:00.0: AER: PCIe Bus Error: severity=Uncorrected (Fatal)")
	f.Fuzz(func(t *testing.T, s string) {
		h, ok := pci.Hear(s)
		if a, is := device.Address(h.Address); ok && (!is || a != h.Address) || !ok && h != (device.Heard{}) {
			t.Errorf("%q gives %+v, %v", s, h, ok)
		}
	})
}

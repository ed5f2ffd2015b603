package nvidia

import (
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// made is a GPU of a made-up machine.
type made struct {
	address, id, model, uuid string
	minor, memory            int
	// more elements of the log; parts of it are MIG instances, as lines of the list.
	more  string
	parts []string
}

var (
	cardA   = made{address: "0000:3b:00.0", id: "10de:2330", model: "NVIDIA H100 80GB HBM3", uuid: "GPU-aaaaaaaa-0000-0000-0000-000000000001", minor: 1, memory: 81559}
	cardB   = made{address: "0000:5e:00.0", id: "10de:2330", model: "NVIDIA H100 80GB HBM3", uuid: "GPU-aaaaaaaa-0000-0000-0000-000000000002", minor: 0, memory: 81559}
	cardMIG = made{address: "0000:af:00.0", id: "10de:20b2", model: "NVIDIA A100-SXM4-80GB", uuid: "GPU-aaaaaaaa-0000-0000-0000-000000000003", minor: 2, memory: 81920,
		more: "<mig_mode><current_mig>Enabled</current_mig><pending_mig>Enabled</pending_mig></mig_mode><mig_devices>" +
			slotXML(0, 1, 0, 42, 40192) + slotXML(1, 5, 0, 14, 9984) + "</mig_devices>",
		parts: []string{
			"  MIG 3g.40gb     Device  0: (UUID: MIG-bbbbbbbb-0000-0000-0000-000000000000)",
			"  MIG 1g.10gb     Device  1: (UUID: MIG-bbbbbbbb-0000-0000-0000-000000000001)"}}
)

func slotXML(index, gi, ci, units, mib int) string {
	return fmt.Sprintf(`<mig_device><index>%d</index><gpu_instance_id>%d</gpu_instance_id><compute_instance_id>%d</compute_instance_id>
<device_attributes><shared><multiprocessor_count>%d</multiprocessor_count></shared></device_attributes>
<ecc_error_count><volatile_count><sram_uncorrectable>0</sram_uncorrectable></volatile_count></ecc_error_count>
<fb_memory_usage><total>%d MiB</total><used>12 MiB</used></fb_memory_usage></mig_device>`, index, gi, ci, units, mib)
}

// xml is the card in the log of nvidia-smi, of the elements that the DTD has had
// since version 11.
func (c made) xml() string {
	return fmt.Sprintf(`<gpu id="0000%s"><product_name>%s</product_name><product_architecture>%s</product_architecture>
%s<serial>165%d</serial><uuid>%s</uuid><minor_number>%d</minor_number><vbios_version>96.00.A5.00.01</vbios_version>
<fb_memory_usage><total>%d MiB</total><reserved>500 MiB</reserved><used>4 MiB</used></fb_memory_usage>
<utilization><gpu_util>25 %%</gpu_util></utilization><temperature><gpu_temp>41 C</gpu_temp></temperature>
<gpu_power_readings><instant_power_draw>99.50 W</instant_power_draw><current_power_limit>700.00 W</current_power_limit></gpu_power_readings>
<processes><process_info><process_name>train <a & b></process_name></process_info></processes></gpu>
`, strings.ToUpper(c.address), c.model, "Hopper", c.more, c.minor, c.uuid, c.minor, c.memory)
}

func logOf(cards ...made) string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM \"nvsmi_device_v13.dtd\">\n<nvidia_smi_log>\n" +
		"<timestamp>Fri Aug 21 11:01:42 2026</timestamp><driver_version>580.95.05</driver_version><cuda_version>13.0</cuda_version>\n")
	for _, c := range cards {
		b.WriteString(c.xml())
	}
	b.WriteString("</nvidia_smi_log>\n")
	return b.String()
}

func listOf(cards ...made) string {
	var b strings.Builder
	for i, c := range cards {
		fmt.Fprintf(&b, "GPU %d: %s (UUID: %s)\n", i, c.model, c.uuid)
		for _, p := range c.parts {
			b.WriteString(p + "\n")
		}
	}
	return b.String()
}

// matrix3 is of three cards, two joined, and a network card.
const matrix3 = "\t\x1b[4mGPU0\tGPU1\tGPU2\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m\n" +
	"GPU0\t X \tNV18\tSYS\tPIX\t0-23\t0\t\tN/A\nGPU1\tNV18\t X \tSYS\tPXB\t0-23\t0\t\tN/A\nGPU2\tSYS\tSYS\t X \tSYS\t24-47\t1\t\tN/A\nNIC0\tPIX\tPXB\tSYS\t X \n" +
	"\nLegend:\n\n  X    = Self\n  NV#  = Connection traversing a bonded set of # NVLinks\n\nNIC Legend:\n\n  NIC0: mlx5_0\n"

// machineOf has cards with driver and nvidia-smi, made from the driver's source and
// the formats of its program.
func machineOf(matrix string, cards ...made) *devicetest.Machine {
	m := devicetest.New()
	m.Write(procDir+"/version", "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@host)  Tue Sep 23 09:55:41 UTC 2025\nGCC version:  gcc version 11.4.0")
	m.Write("sys/module/nvidia/version", "580.95.05")
	for i, c := range cards {
		m.Plug(devicetest.Card{Address: c.address, ID: c.id, Sub: "10de:16c1", Class: "030200", Driver: module, NUMA: fmt.Sprint(i / 2)})
		m.Write(procDir+"/gpus/"+c.address+"/information", fmt.Sprintf("Model: \t\t %s\nIRQ:   \t\t 77\nGPU UUID: \t %s\nVideo BIOS: \t 96.00.a5.00.01\nBus Type: \t PCIe\nDMA Size: \t 52 bits\nDMA Mask: \t 0xfffffffffffff\nBus Location: \t %s\nDevice Minor: \t %d\nGPU Firmware: \t 580.95.05\nGPU Excluded:\t No",
			c.model, c.uuid, c.address, c.minor))
	}
	m.Plug(devicetest.Card{Address: "0000:3c:00.0", ID: "15b3:1021", Class: "020700", Driver: "mlx5_core"})
	m.Plug(devicetest.Card{Address: "0000:3d:00.0", ID: "10de:22a3", Class: "068000", Driver: "nvidia-nvswitch"})
	m.Tool("nvidia-smi -q -x", logOf(cards...)).Tool("nvidia-smi -L", listOf(cards...)).Tool("nvidia-smi topo -m", matrix)
	return m
}

// wholeMachine has two H100 that are joined, and an A100 in MIG mode with two instances.
func wholeMachine() *devicetest.Machine {
	m := machineOf(matrix3, cardA, cardB, cardMIG)
	caps := procDir + "/capabilities/gpu2/mig/"
	for name, n := range map[string]int{"gi1/access": 282, "gi1/ci0/access": 283, "gi5/access": 318, "gi5/ci0/access": 319} {
		m.Write(caps+name, fmt.Sprintf("DeviceFileMinor: %d\nDeviceFileMode: 292\nDeviceFileModify: 1", n))
	}
	return m
}

// strangers are functions of NVIDIA and its kin that compute nothing: sound and USB
// of cards, NVSwitches, a root port of a Tegra, a network card.
var strangers = []device.Function{
	{Vendor: "10de", Device: "22ba", Class: "040300"},
	{Vendor: "10de", Device: "1ad8", Class: "0c0330"},
	{Vendor: "10de", Device: "1af1", Class: "068000"},
	{Vendor: "10de", Device: "22a3", Class: "068000"},
	{Vendor: "10de", Device: "229e", Class: "060400"},
	{Vendor: "15b3", Device: "1021", Class: "020700"},
	{Vendor: "1002", Device: "74a1", Class: "030200"},
}

// messages are what the driver writes into the kernel's log.
var messages = []string{
	"NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
	"NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
	"NVRM: The NVIDIA GPU 0000:3b:00.0\nNVRM: (PCI ID: 10de:26b5) installed in this system has\nNVRM: fallen off the bus and is not responding to commands.",
	"nvidia-nvlink: Nvlink Core is being initialized, major device number 236",
}

func TestSuite(t *testing.T) {
	saved := logOf(cardA, cardB, cardMIG)
	devicetest.Suite{
		Adapter: New(), Machine: wholeMachine, Devices: 4, Strangers: strangers,
		Messages: messages,
		Outputs:  [][]byte{[]byte(saved), []byte(listOf(cardA, cardMIG)), []byte(matrix3 + saved + listOf(cardA, cardB, cardMIG))},
	}.Run(t)
}

func TestOwnsGraphicsCards(t *testing.T) {
	for _, class := range []string{"030000", "030200"} {
		if !New().Owns(&device.Function{Vendor: "10de", Device: "ffff", Class: class}) {
			t.Errorf("does not own an unknown GPU of class %s", class)
		}
	}
}

// discover runs the adapter on a made-up machine.
func discover(t *testing.T, m *devicetest.Machine) ([]device.Device, error) {
	t.Helper()
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	return New().Discover(t.Context(), h)
}

// faultsOf lists the codes of a device's faults.
func faultsOf(d *device.Device) string {
	var out []string
	for _, f := range d.Health.Faults {
		out = append(out, f.Code)
	}
	return strings.Join(out, " ")
}

// paths of device files.
func pathsOf(d *device.Device) string {
	var out []string
	for _, n := range d.Nodes {
		out = append(out, n.Path)
	}
	return strings.Join(out, " ")
}

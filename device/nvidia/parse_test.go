package nvidia

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
)

func TestParseInformation(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want information
	}{
		"driver 590": {"Model: \t\t NVIDIA GeForce RTX 3090\nIRQ:   \t\t 77\nGPU UUID: \t GPU-eaf23aa1-4d3d-596c-da66-b86b0e5db584\nVideo BIOS: \t 94.02.26.40.81\nDevice Minor: \t 3\nGPU Firmware: \t 590.48.01\nGPU Excluded:\t No\n",
			information{model: "NVIDIA GeForce RTX 3090", uuid: "GPU-eaf23aa1-4d3d-596c-da66-b86b0e5db584", bios: "94.02.26.40.81", minor: 3}},
		"never used": {"Model: \t\t GeForce GTX 1080\nGPU UUID: \t GPU-????????-????-????-????-????????????\nVideo BIOS: \t ??.??.??.??.??\nDevice Minor: \t 0\nBlacklisted:\t Yes\n",
			information{model: "GeForce GTX 1080", excluded: true}},
		"garbage":       {"\x00\nDevice Minor\nDevice Minor: -1\nModel: Unknown\nGPU UUID: GPU-a b\n", information{model: "Unknown", minor: -1}},
		"a huge number": {"Device Minor: 99999999999999999999", information{minor: -1}},
	} {
		if got := parseInformation(c.text); got != c.want {
			t.Errorf("%s: %+v, not %+v", name, got, c.want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]string{
		"NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue Jun  6 22:20:39 UTC 2023\nGCC version:  gcc version 11.4.0\n":     "535.54.03",
		"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  565.77  Release Build  (nixbld@)  Sun Feb  9 11:08:26 UTC 2025":         "565.77",
		"NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.95.05  Release Build  (dvs-builder@U22)  Tue Sep 23 09:55:41 2025": "580.95.05",
		"GCC version:  gcc version 11.4.0": "",
		"NVRM version: none":               "",
	} {
		if got := parseVersion(text); got != want {
			t.Errorf("%q gives %q, not %q", text, got, want)
		}
	}
}

func TestParseLost(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"Unable to determine the device handle for GPU 0000:02:00.0: GPU is lost.  Reboot the system": {"0000:02:00.0": "GPU is lost.  Reboot the system"},
		"Unable to determine the device handle for GPU0000:07:00.0: Unknown Error\nNo devices":        {"0000:07:00.0": "Unknown Error"},
		"Unable to determine the device handle for gpu 0000:BA:00.0: Unknown Error":                   {"0000:ba:00.0": "Unknown Error"},
		"Unable to determine the device handle for GPU2: 0000:BA:00.0: Unknown Error":                 {"0000:ba:00.0": "Unknown Error"},
		"Unable to determine anything": {},
	} {
		if diff := cmp.Diff(want, parseLost([]byte(text), nil)); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
	if got := parseLost(nil, errors.New("nvidia-smi: exit status 15 Unable to determine the device handle for GPU 0000:02:00.0: GPU is lost")); len(got) != 1 {
		t.Errorf("out of an error: %v", got)
	}
}

func TestParseList(t *testing.T) {
	text := `some text
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-c08d91cb-e324-655c-71ba-7570956445bc)
  MIG 1c.3g.40gb  Device  0: (UUID: MIG-c788539f-c1ea-5a36-8b4d-9b07d024b1bb)
  MIG 1g.10gb+me  Device  3: (UUID: MIG-b4b2228d-6933-5839-bc0e-41ab9edb61c6)
     GPU 5: A100-SXM4-40GB (UUID: GPU-3301e6dd-d38f-0eb5-4665-6c9659f320ff)
        MIG 4g.20gb     Device  0: (UUID: MIG-GPU-3301e6dd-d38f-0eb5-4665-6c9659f320ff/2/0)
`
	want := []listed{
		{smi, 0, "NVIDIA H100 80GB HBM3", "GPU-c08d91cb-e324-655c-71ba-7570956445bc", []listedPart{
			{0, "1c.3g.40gb", "MIG-c788539f-c1ea-5a36-8b4d-9b07d024b1bb"}, {3, "1g.10gb+me", "MIG-b4b2228d-6933-5839-bc0e-41ab9edb61c6"}}},
		{smi, 5, "A100-SXM4-40GB", "GPU-3301e6dd-d38f-0eb5-4665-6c9659f320ff", []listedPart{
			{0, "4g.20gb", "MIG-GPU-3301e6dd-d38f-0eb5-4665-6c9659f320ff/2/0"}}},
	}
	if diff := cmp.Diff(want, parseList(text), cmp.AllowUnexported(listed{}, listedPart{})); diff != "" {
		t.Error(diff)
	}
}

// TestParseMatrix reads shapes of the matrix: with network cards named in both ways,
// with a terminal's codes, pasted with spaces, from old drivers.
func TestParseMatrix(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want map[[2]int]string
	}{
		"tabs and a network card": {matrix3, map[[2]int]string{
			{0, 0}: "X", {0, 1}: "NV18", {0, 2}: "SYS", {1, 0}: "NV18", {1, 1}: "X", {1, 2}: "SYS", {2, 0}: "SYS", {2, 1}: "SYS", {2, 2}: "X"}},
		"pasted, without affinity": {"        GPU0    GPU1    mlx5_0  CPU Affinity\nGPU0     X      NV2     PIX     0-23,48-71\nGPU1    NV2      X      SOC     0-23,48-71\nmlx5_0  PIX     SOC      X\n",
			map[[2]int]string{{0, 0}: "X", {0, 1}: "NV2", {1, 0}: "NV2", {1, 1}: "X"}},
		"network cards first":     {"\tNIC0\tGPU0\tGPU1\n", map[[2]int]string{}}, // not a shape that is known
		"an error":                {"ERROR: Option -m is missing its value. Please run 'nvidia-smi -h' for help.\n", map[[2]int]string{}},
		"rows without a head":     {"GPU0 X NV4\n", map[[2]int]string{}},
		"more cells than columns": {"\tGPU0\tGPU1\nGPU0\tX\tPHB\tSYS\tSYS\n", map[[2]int]string{{0, 0}: "X", {0, 1}: "PHB"}},
	} {
		if diff := cmp.Diff(c.want, parseMatrix(c.text)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestMeshIsOneDomain: in a cube of eight cards not all are joined directly.
func TestMeshIsOneDomain(t *testing.T) {
	cards := make([]made, 4)
	for i := range cards {
		cards[i] = made{address: "0000:0" + string(rune('1'+i)) + ":00.0", id: "10de:1db1", model: "Tesla V100-SXM2-16GB", uuid: "GPU-dddddddd-0000-0000-0000-00000000000" + string(rune('0'+i)), minor: i, memory: 16160}
	}
	matrix := "\tGPU0\tGPU1\tGPU2\tGPU3\tCPU Affinity\nGPU0\t X \tNV1\tPHB\tSYS\t0-3\nGPU1\tNV1\t X \tNV2\tSYS\t0-3\nGPU2\tPHB\tNV2\t X \tSYS\t0-3\nGPU3\tSYS\tSYS\tSYS\t X \t0-3\n"
	devices, err := discover(t, machineOf(matrix, cards...))
	if err != nil {
		t.Fatal(err)
	}
	if f := devices[0].Fabric; f == nil || *f != *devices[1].Fabric || *f != *devices[2].Fabric || devices[3].Fabric != nil {
		t.Errorf("fabrics are %+v %+v %+v %+v; the first three are joined, the last is alone", f, devices[1].Fabric, devices[2].Fabric, devices[3].Fabric)
	}
	want := []device.Link{{To: cards[1].uuid, Type: "nvlink", Count: 1}, {To: cards[2].uuid, Type: "pcie", Path: device.PathPHB}, {To: cards[3].uuid, Type: "pcie", Path: device.PathSys}}
	if diff := cmp.Diff(want, devices[0].Links); diff != "" {
		t.Error(diff)
	}
}

func TestValues(t *testing.T) {
	for _, s := range append([]string{"x MiB", "-1 MiB", "1.5 MiB", "5", "99999999999999 MiB", "5 GiB"}, noValue...) {
		if n, ok := amount(s); ok {
			t.Errorf("%q is an amount of %d", s, n)
		}
		if w := word(s); w != "" && strings.Contains(strings.Join(noValue, "|"), s) {
			t.Errorf("%q is the word %q", s, w)
		}
	}
	if n, ok := amount(" 81559 MiB\n"); !ok || n != 81559<<20 {
		t.Errorf("81559 MiB is %d, %v", n, ok)
	}
	for _, s := range []string{"NaN W", "Inf W", "1e999 W", "W", "5", "N/A"} {
		if n, ok := number(s, "W"); ok {
			t.Errorf("%q is %v W", s, n)
		}
	}
}

func TestReadRefusesOtherOutputs(t *testing.T) {
	for _, s := range []string{"", "hello", "<html></html>", "<nvidia_smi_log></nvidia_smi_log>", "<nvidia_smi_log><gpu id=", "{\"a\": 1}"} {
		if devices, err := New().Read([]byte(s)); !errors.Is(err, device.ErrFormat) || len(devices) > 0 {
			t.Errorf("%q: %d devices, error %v", s, len(devices), err)
		}
	}
}

func TestReadKeepsWhatIsBeforeABreak(t *testing.T) {
	l := logOf(cardA, cardB)
	devices, err := New().Read([]byte(l[:len(l)-200]))
	if len(devices) != 1 || !errors.As(err, new(device.Problem)) || errors.Is(err, device.ErrFormat) {
		t.Errorf("%d devices, error %v", len(devices), err)
	}
}

func TestReadJoinsOutputsOfOneMachine(t *testing.T) {
	devices, err := New().Read([]byte(listOf(cardA, cardB, cardMIG) + logOf(cardA, cardB, cardMIG) + matrix3))
	if err != nil || len(devices) != 4 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	if len(devices[0].Links) != 1 || devices[0].Fabric == nil || devices[2].Profile != "3g.40gb" || len(devices[2].Nodes) > 0 {
		t.Errorf("devices are %+v", devices)
	}
}

package huawei

import (
	"strings"
	"testing"

	"polder.dev/polder/device"
)

func TestParse(t *testing.T) {
	one := func(r *report, k key) *chip {
		if c := r.chips[k]; c != nil {
			return c
		}
		return &chip{values: map[string]string{}}
	}
	tests := map[string]struct {
		text string
		look func(r *report) bool
	}{
		"the table of processes has no chips": {tableOf(a2()), func(r *report) bool { return len(r.chips) == 8 && one(r, key{5, 0}).name == "910B2" }},
		"the driver's version":                {tableOf(a2()), func(r *report) bool { return r.version == "25.5.1" }},
		"usage without a space before the slash (24.1.1)": {strings.ReplaceAll(tableOf(a2()[:1]), "3432 /", "26838/"), func(r *report) bool {
			return one(r, key{0, 0}).used == 26838<<20
		}},
		"HBM is the memory, where there is DDR too (910A)": {strings.ReplaceAll(tableOf(a2()[:1]), "0    / 0          3432 /", "920  / 13553      0    /"), func(r *report) bool {
			return one(r, key{0, 0}).memory == 65536<<20 && one(r, key{0, 0}).used == 0
		}},
		"the controller of a card is no chip": {mappingOf(a2(), false), func(r *report) bool { return len(r.chips) == 8 }},
		"nor is it where it is only queried":  {"npu-smi info -t board -i 0 -c 1\nNPU ID : 0\nChip ID : 1\nChip Type : mcu\nChip Name : MCU\n", func(r *report) bool { return len(r.chips) == 0 }},
		"a card that does not answer has the number -1": {"NPU ID  Chip ID  Chip Logic ID  Chip Name\n-1 0 0 Ascend 910B2\n1 0 1 Ascend 910B2\n", func(r *report) bool {
			return len(r.chips) == 1 && one(r, key{1, 0}).logic == 1
		}},
		"the physical number of the mapping": {mappingOf(a3(), true), func(r *report) bool { return one(r, key{1, 1}).physical == 3 }},
		"lines before the names of chips (-t usages)": {"npu-smi info -t usages -i 2\nNPU ID : 2\nChip Count : 2\n\nDDR Capacity(MB) : 44280\nDDR Usage Rate(%) : 50\nChip ID : 0\n\nDDR Capacity(MB) : 43693\nDDR Usage Rate(%) : 0\nChip ID : 1\n", func(r *report) bool {
			a, b := one(r, key{2, 0}), one(r, key{2, 1})
			return a.memory == 44280<<20 && a.used == 22140<<20 && b.memory == 43693<<20 && b.used == 0
		}},
		"lines after the names of chips (-t common)": {"NPU ID : 2\nChip Count : 2\nChip ID : 0\nAicore Count : 8\nTemperature(C) : 41\nChip ID : 1\nAicore Count : 7\nTemperature(C) : 42\n", func(r *report) bool {
			a, b := one(r, key{2, 0}), one(r, key{2, 1})
			return a.values["Aicore Count"] == "8" && b.values["Aicore Count"] == "7" && *a.temperature == 41 && *b.temperature == 42
		}},
		"lines of a card with two chips are of both": {mappingOf(a3(), true) + "\nnpu-smi info -t board -i 1\nNPU ID : 1\nSoftware Version : 24.1\nPCI Device ID : 0xD803\nChip Count : 2\n", func(r *report) bool {
			return r.cards[1]["Software Version"] == "24.1" && len(r.chips) == 4
		}},
		"the command tells of which chip": {"npu-smi info -t health -i 3 -c 1\n\tHealth Status : Alarm\n\tError Code : 80E18402 80DF8008\n\tError Information : one\n\n\t                    : two\n", func(r *report) bool {
			c := one(r, key{3, 1})
			return c.health == "Alarm" && c.values["Error Information"] == "one\ntwo"
		}},
		"what other programs say is not npu-smi's": {"npu-smi info -t health -i 3 -c 1\nHealth Status : OK\n\n/usr/local/Ascend/driver/tools/hccn_tool -i 3 -optical -g\nTemperature(C) : 47\n", func(r *report) bool {
			return one(r, key{3, 1}).temperature == nil
		}},
		"a matrix": {topoOf(2), func(r *report) bool {
			return r.links[[2]label{{"NPU", 0}, {"NPU", 1}}] == "HCCS" && len(r.links) == 4
		}},
		"a matrix with a network card": {"NPU0 NIC0\nNPU0 X PHB\nNIC0 PHB X\n", func(r *report) bool { return len(r.links) == 2 }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if r := parse(test.text); !test.look(r) {
				t.Errorf("it reads chips %v, cards %v, links %v", r.chips, r.cards, r.links)
			}
		})
	}
}

func TestParseBounds(t *testing.T) {
	var b strings.Builder
	for i := range 3000 {
		b.WriteString(strings.ReplaceAll("NPU ID : #\nChip ID : 0\nChip Name : 910B2\n", "#", string(rune('0'+i%10))+strings.Repeat("1", i%4)+string(rune('0'+i/10%10))+string(rune('0'+i/100%10))))
	}
	if n := len(parse(b.String()).chips); n > chipsMax {
		t.Errorf("%d chips", n)
	}
}

func TestUUID(t *testing.T) {
	for die, want := range map[string]string{
		"E281A66C 140C979 2CFBED72 A4500485 104301E3":     "npu-e281a66c-0140c979-2cfbed72-a4500485-104301e3", // as DCMI's readers print it
		"E281A66C 0140C979 2CFBED72 A4500485 104301E3":    "npu-e281a66c-0140c979-2cfbed72-a4500485-104301e3", // as npu-smi prints it
		"V1,010A88C4 00A1A210 00000000 00000000 00180000": "npu-010a88c4-00a1a210-00000000-00000000-00180000",
		"00000000 00000000 00000000 00000000 00000000":    "",
		"NA": "", "": "", "1 2 3 4 x": "", "1 2 3 4 123456789": "",
	} {
		if got := UUID(die); got != want {
			t.Errorf("%q gives %q, not %q", die, got, want)
		}
	}
}

// Two halves of four joined by HCCS, and PCIe between them: the 910A's servers
// (Huawei Cloud, "Ascend HCCS-Interconnected NPU Affinity").
func TestDomains(t *testing.T) {
	text := mappingOf(a2(), false) + "\n"
	for i, u := range a2() {
		text += "npu-smi info -t board -i " + string(rune('0'+i)) + " -c 0\n" + boardOf(u)
	}
	rows := strings.Split(topoOf(8), "\n")
	for i := range 8 {
		cells := strings.Fields(rows[i+1])
		for j := range 8 {
			if i/4 != j/4 {
				cells[j+1] = "SYS"
			}
		}
		rows[i+1] = strings.Join(cells, "   ")
	}
	devices, err := New().Read([]byte(text + "npu-smi info -t topo\n" + strings.Join(rows, "\n")))
	if err != nil || len(devices) != 8 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	domains := map[string]int{}
	for _, d := range devices {
		domains[d.Fabric.Domain]++
		far := 0
		for _, l := range d.Links {
			if l.Type == "pcie" && l.Path == device.PathSys {
				far++
			}
		}
		if far != 4 || len(d.Links) != 7 {
			t.Errorf("%s has %d links, %d of them over PCIe", d.UUID, len(d.Links), far)
		}
	}
	if len(domains) != 2 {
		t.Errorf("domains are %v; there are two of four", domains)
	}
	strange := strings.ReplaceAll(topoOf(8), "NPU", "NPU1")
	if _, err := New().Read([]byte(text + "npu-smi info -t topo\n" + strange)); err == nil {
		t.Error("a matrix of chips that no table has is no problem")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(tableOf(a2()) + mappingOf(a2(), false) + boardOf(a2()[0]) + topoOf(8))
	f.Add(tableOf310P(a2()[:2]) + tableOfA3(a3()) + mappingOf(a3(), true))
	f.Add("npu-smi info -t health -i 3 -c 1\n\tHealth Status : Alarm\n\tError Code : 80E18402\n : more\nNPU ID : 2\nChip Count : 2\nChip ID : 0\nChip ID : 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		devices, _ := New().Read([]byte(text))
		for _, d := range devices {
			if d.Memory < 0 || d.Units < 0 || d.Health.State == "" || d.Product == "" {
				t.Errorf("it reads %+v", d)
			}
		}
	})
}

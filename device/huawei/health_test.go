package huawei

import (
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// sick is a machine whose NPU 3 has a health and codes.
func sick(t *testing.T, word, codes, table string) device.Device {
	t.Helper()
	units := a2()
	units[3].health = word
	m := machine().Tool("npu-smi info", tableOf(units))
	m.Tool("npu-smi info -t health -i 3 -c 0", "\tHealth Status                  : "+word+"\n\tError Code                     :"+codes+"\n\tError Information              : the first\n\n\t                               : the second\n")
	if table != "" {
		m.Write(actionFile, table)
	}
	for _, d := range find(t, m) {
		if d.PCI.Address == "0000:02:00.0" {
			return d
		}
	}
	t.Fatal("NPU 3 is not found")
	return device.Device{}
}

func TestHealth(t *testing.T) {
	const table = `{"NotHandleFaultCodes": ["80E21007"], "RestartNPUCodes": ["8C03A000", "80E21007"], "RestartBusinessCodes": ["8C204E00"], "SubHealthFaultCodes": ["81A3880C"]}`
	for name, test := range map[string]struct {
		word, codes, table string
		state              device.State
		faults             string
	}{
		"well":                                 {"OK", " NA", "", device.Healthy, ""},
		"a warning without a code":             {"Warning", " NA", "", device.Degraded, "npu-warning"},
		"an alarm is not yet a failure":        {"Alarm", " 80DF8008", "", device.Degraded, "ascend-80df8008"},
		"critical":                             {"Critical", " 8C03A000 8C204E00", "", device.Failed, "ascend-8c03a000 ascend-8c204e00"},
		"nothing is known":                     {"UNKNOWN", " NA", "", device.Unknown, ""},
		"the table says it needs a reset":      {"Warning", " 8C204E00 8C03A000", table, device.Failed, "ascend-8c03a000 ascend-8c204e00"},
		"the table says it is of no account":   {"Warning", " 81A3880C", `{"NotHandleFaultCodes": ["81A3880C"]}`, device.Healthy, "ascend-81a3880c"},
		"of two actions the worse":             {"Warning", " 80E21007", table, device.Failed, "ascend-80e21007"},
		"a code that the table lacks":          {"Warning", " 80FFFFFF", table, device.Degraded, "ascend-80ffffff"},
		"a table that is none is not believed": {"Warning", " 80FFFFFF", "[]", device.Degraded, "ascend-80ffffff"},
	} {
		t.Run(name, func(t *testing.T) {
			h := sick(t, test.word, test.codes, test.table).Health
			var codes []string
			for _, f := range h.Faults {
				codes = append(codes, f.Code)
			}
			if h.State != test.state || strings.Join(codes, " ") != test.faults {
				t.Errorf("it is %+v", h)
			}
		})
	}
	if f := sick(t, "Alarm", " 80DF8008 80DF8009", "").Health.Faults; f[0].Message != "the first" || f[1].Message != "the second" {
		t.Errorf("faults are %+v", f)
	}
}

// Huawei's table has 802 codes of chips, two of them twice, in eight actions; every
// action has a state here, and the table of switches is in the same form.
func TestActions(t *testing.T) {
	table, err := readActions(devicetest.Saved(t, "ascend/faultCode.json"))
	if err != nil {
		t.Fatal(err)
	}
	for c, want := range map[string]string{"80E21007": "NotHandle", "80C98008": "RestartRequest", "8C204E00": "RestartBusiness", "8C0E4E00": "FreeRestartNPU", "8C03A000": "RestartNPU", "80E3A201": "SeparateNPU", "8118043C": "PreSeparateNPU", "81A3880C": "SubHealth"} {
		if table[code(c)] != want {
			t.Errorf("%s is %q, not %s", c, table[code(c)], want)
		}
	}
	count := map[device.State]int{}
	for _, action := range table {
		count[states[action]]++
	}
	if count[device.Healthy] == 0 || count[device.Degraded] == 0 || count[device.Failed] == 0 || len(table) != 802 {
		t.Errorf("%d codes: %v", len(table), count)
	}
	switches, err := readActions(devicetest.Saved(t, "ascend/SwitchFaultCode.json"))
	if err != nil || len(switches) == 0 {
		t.Errorf("%d codes of switches, error %v", len(switches), err)
	}
	if s := states[switches[code("[0x00f103b0,155907,na,na]")]]; s != device.Failed {
		t.Errorf("a switch to be set apart makes %s", s)
	}
}

func TestMeasure(t *testing.T) {
	m := machine()
	h, _ := m.Host()
	devices, err := New().Discover(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	units := a2()
	units[0].health = "Critical"
	m.Tool("npu-smi info", tableOf(append(units[:2:2], units[3:]...))) // NPU 2 is gone
	m.Tool("npu-smi info -t health -i 0 -c 0", "\tHealth Status : Critical\n\tError Code : 80E01801\n\tError Information : node type=SOC\n")
	for i, u := range a2() {
		m.Tool(fmt.Sprintf("npu-smi info -t ecc -i %d -c 0", i), eccOf(u, 4, i))
	}
	if err := New().Measure(t.Context(), h, devices); err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		switch d.PCI.Address {
		case "0000:c1:00.0":
			if d.Health.State != device.Failed || d.Health.Faults[0].Code != "ascend-80e01801" {
				t.Errorf("NPU 0 is %+v", d.Health)
			}
		case "0000:c2:00.0":
			if d.Health.State != device.Failed || d.Health.Faults[0].Code != "npu-lost" || d.Reading != nil {
				t.Errorf("NPU 2, which is gone, is %+v", d.Health)
			}
		case "0000:42:00.0":
			if d.Health.State != device.Healthy || d.Reading.Errors["ecc-uncorrected"] != 7 || d.Reading.Errors["ecc-corrected"] != 4 || *d.Reading.Utilization != 0.7 {
				t.Errorf("NPU 7 is %+v, %+v", d.Health, d.Reading)
			}
		}
	}
	m.Tools = map[string]string{}
	if err := New().Measure(t.Context(), h, devices); err == nil || devices[0].Health.State != device.Unknown {
		t.Errorf("without npu-smi: error %v, health %s", err, devices[0].Health.State)
	}
}

func FuzzActions(f *testing.F) {
	f.Add([]byte(`{"RestartNPUCodes": ["8C03A000"], "SubHealthFaultCodes": []}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, _ := readActions(b)
		for c, action := range table {
			if states[action] == "" {
				t.Errorf("%s has no state for %q", c, action)
			}
		}
	})
}

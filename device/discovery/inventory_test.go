package discovery

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
)

// saved is an inventory of acme's machine as `polder devices -o json` writes it.
func saved(t testing.TB) (device.Inventory, []byte) {
	t.Helper()
	h, err := acmeMachine().Host()
	if err != nil {
		t.Fatal(err)
	}
	v := Run(t.Context(), h, []device.Adapter{acme{}})
	v.Devices[0].Name, v.Devices[1].UUID = "npu-by-hand", "a UUID of its own"
	v.Problems = []device.Problem{{Adapter: "pci", Where: "0000:00:00.0", What: "odd"}}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return v, append(text, '\n')
}

func TestReadGivesASavedInventoryBack(t *testing.T) {
	want, text := saved(t)
	got, err := Read(text, Adapters())
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Devices {
		want.Devices[i].PCI.NUMA = nil // is told of the device
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, none := range []string{`{"devices": []}`, `{"devices": null}`} {
		if got, err := Read([]byte(none), Adapters()); err != nil || len(got.Devices) > 0 {
			t.Errorf("%s is read as %+v, %v", none, got, err)
		}
	}
}

func TestReadRefusesWrongInventories(t *testing.T) {
	const good = `{"name":"gpu-0","kind":"gpu","vendor":"v","product":"p","uuid":"u","form":"pf","health":{"state":"unknown"}}`
	if _, err := Read([]byte(`{"devices":[`+good+`]}`), nil); err != nil {
		t.Fatalf("what is to be spoilt is wrong already: %v", err)
	}
	with := func(old, new string) string {
		return `{"devices":[` + strings.Replace(good, old, new, 1) + `]}`
	}
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"no JSON", "hello", ""},
		{"a list", "[" + good + "]", ""},
		{"half", `{"devices":[{"name":`, ""},
		{"no devices", `{"problems":[]}`, ""},
		{"devices of another sort", `{"devices":{"a":1}}`, ""},
		{"devices without kinds", with(`"kind":"gpu",`, ""), ""},
		{"devices without names", with(`"name":"gpu-0",`, ""), ""},
		{"a kind that is none", with(`"gpu"`, `"gpus"`), `devices[0].kind: "gpus"`},
		{"a name that is no label", with("gpu-0", "GPU 0"), `devices[0].name: "GPU 0"`},
		{"a name that is too long", with("gpu-0", strings.Repeat("g", 64)), "devices[0].name"},
		{"two devices of a name", `{"devices":[` + good + "," + strings.Replace(good, `"u"`, `"w"`, 1) + `]}`, "devices[1].name"},
		{"two devices of a UUID", `{"devices":[` + good + "," + strings.Replace(good, "gpu-0", "gpu-1", 1) + `]}`, "devices[1].uuid"},
		{"no UUID", with(`"uuid":"u",`, ""), "devices[0].uuid"},
		{"a state that is none", with("unknown", "fine"), `devices[0].health.state: "fine"`},
		{"an address that is none", with(`"form"`, `"pci":{"address":"3b"},"form"`), "devices[0].pci.address"},
		{"a field that nobody knows", with(`"form"`, `"colour":"red","form"`), "colour"},
		{"a number for a name", `{"devices":[{"name":1,"kind":"gpu"}]}`, ""},
		{"a text for a number", with(`"form"`, `"memory":"80G","form"`), "memory"},
		{"two inventories", `{"devices":[` + good + `]} {"devices":[]}`, "behind it"},
		{"more devices than there are", `{"devices":[` + good + strings.Repeat(","+good, inventoryMax) + `]}`, "of 4096 that are read"},
		{"more bytes than are read", `{"devices":[` + good + `]}` + strings.Repeat(" ", inventoryBytesMax) + "x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := Read([]byte(c.text), Adapters())
			if !errors.Is(err, device.ErrFormat) || len(v.Devices) > 0 {
				t.Fatalf("%d devices, error %v", len(v.Devices), err)
			}
			if c.want == "" && err.Error() != device.ErrFormat.Error() || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it says %q; want %q", err, c.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	_, inventory := saved(f)
	f.Add(inventory)
	for _, s := range []string{
		"", "hello", `{"devices":[]}`, `{"devices":[{"name":"a","kind":"cpu","uuid":"u","health":{"state":"failed"},"links":[{"to":"b"}]}]}`,
		"GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-00000000-0000-0000-0000-000000000000)\n",
		"<?xml version=\"1.0\" ?><nvidia_smi_log><driver_version>580</driver_version><gpu id=\"00000000:3B:00.0\"><product_name>NVIDIA H100</product_name></gpu></nvidia_smi_log>",
		`{"card0": {"Card series": "AMD Instinct MI300X", "PCI Bus": "0000:05:00.0", "GFX Version": "gfx942"}}`,
		`{"device_list":[{"device_id":0,"device_name":"Intel(R) Data Center GPU Max 1550","pci_bdf_address":"0000:4d:00.0","uuid":"x"}]}`,
		"index, module_id, name\n0, 1, HL-225\n", `[{"neuron_device":0,"bdf":"cc:00.0","nc_count":2,"memory_size":34359738368}]`,
		`[{"manufacturer":"nvidia","index":0,"name":"H100","uuid":"GPU-0"}]`, "+---+\n| npu-smi 24.1 | Version: 24.1 |\n| 0  910B2 | OK | 90 |\n",
	} {
		f.Add([]byte(s))
	}
	adapters := Adapters()
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := Read(text, adapters)
		if err != nil {
			if !errors.Is(err, device.ErrFormat) || len(v.Devices) > 0 {
				t.Fatalf("%d devices, error %v", len(v.Devices), err)
			}
			return
		}
		names, uuids := map[string]bool{}, map[string]bool{}
		for _, d := range v.Devices {
			if d.Name == "" || names[d.Name] || d.UUID == "" || uuids[d.UUID] || !slices.Contains(device.Kinds(), d.Kind) || d.Health.State == "" {
				t.Fatalf("of %d devices one is %+v", len(v.Devices), d)
			}
			names[d.Name], uuids[d.UUID] = true, true
		}
		if again, err := Read(text, adapters); err != nil || !cmp.Equal(v, again) {
			t.Fatalf("a second look gives another answer: %v", err)
		}
	})
}

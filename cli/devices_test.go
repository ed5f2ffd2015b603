package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
)

// lay writes a file of a made-up machine; one that begins with "->" is a link.
func lay(t *testing.T, root, name, content string) {
	t.Helper()
	file := filepath.Join(root, name)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if to, link := strings.CutPrefix(content, "->"); err == nil && link {
		err = os.Symlink(to, file)
	} else if err == nil {
		err = os.WriteFile(file, []byte(content+"\n"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// cards lays out a copy of a machine with two of Tenstorrent's cards behind one switch
// and one on another socket, as Linux shows them.
func cards(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for i, at := range []string{"pci0000:3a/0000:3a:00.0/0000:3b:00.0/0000:3c:00.0/0000:3d:00.0", "pci0000:3a/0000:3a:00.0/0000:3b:00.0/0000:3c:01.0/0000:3e:00.0", "pci0000:ae/0000:ae:00.0/0000:af:00.0"} {
		dir := "sys/devices/" + at
		address := filepath.Base(at)
		lay(t, root, "sys/bus/pci/devices/"+address, "->../../../devices/"+at)
		for name, content := range map[string]string{
			"vendor": "0x1e52", "device": "0xb140", "class": "0x120000", "numa_node": fmt.Sprint(i / 2),
			"current_link_speed": "16.0 GT/s PCIe", "current_link_width": "16", "driver": "->/sys/bus/pci/drivers/tenstorrent",
		} {
			lay(t, root, dir+"/"+name, content)
		}
		class := fmt.Sprintf("sys/class/tenstorrent/tenstorrent!%d", i)
		lay(t, root, class+"/device", "->../../../devices/"+at)
		for name, content := range map[string]string{
			"tt_serial": fmt.Sprintf("0100018511720%03d", i), "tt_asic_id": fmt.Sprintf("0x%04x", 0x1000+i), "tt_card_type": "p150a", "tt_fw_bundle_ver": "18.7.0.0", "tt_therm_trip_count": fmt.Sprint(i / 2),
		} {
			lay(t, root, class+"/"+name, content)
		}
	}
	lay(t, root, "sys/module/tenstorrent/version", "2.4.1")
	return root
}

// table splits what a verb drew into lines and fields.
func table(out string) [][]string {
	var rows [][]string
	for l := range strings.Lines(out) {
		rows = append(rows, strings.Fields(l))
	}
	return rows
}

func TestDevicesOfACopy(t *testing.T) {
	away(t)
	code, out, errs, _ := program(t, "devices", "--root", cards(t))
	if code != 0 || errs != "" {
		t.Fatalf("exit code %d, %q", code, errs)
	}
	want := [][]string{
		{"DEVICE", "KIND", "PRODUCT", "MEMORY", "SOFTWARE", "DRIVER", "NUMA", "FABRIC", "HEALTH"},
		{"npu-0000-3d-00-0", "npu", "p150a", "29.8", "GiB", "metalium", "2.4.1", "0", "-", "healthy"},
		{"npu-0000-3e-00-0", "npu", "p150a", "29.8", "GiB", "metalium", "2.4.1", "0", "-", "healthy"},
		{"npu-0000-af-00-0", "npu", "p150a", "29.8", "GiB", "metalium", "2.4.1", "1", "-", "degraded:", "thermal-trip"},
	}
	if diff := cmp.Diff(want, table(out)); diff != "" {
		t.Error(diff)
	}
	_, wide, _, _ := program(t, "devices", "--root", cards(t), "-o", "wide")
	for _, w := range []string{"FILES", "gen4x16", "tt-1000", "tt-1001", "/dev/tenstorrent/2", "tenstorrent"} {
		if !strings.Contains(wide, w) {
			t.Errorf("there is no %s in\n%s", w, wide)
		}
	}
}

func TestDevicesOfAnEmptyCopy(t *testing.T) {
	away(t)
	if code, out, errs, _ := program(t, "devices", "--root", t.TempDir()); code != 0 || out != "There are no accelerators.\n" || errs != "" {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
}

func TestDevicesTellWhatIsMissing(t *testing.T) {
	away(t)
	root := cards(t)
	if err := os.RemoveAll(filepath.Join(root, "sys/class/tenstorrent/tenstorrent!0")); err != nil {
		t.Fatal(err)
	}
	code, out, errs, _ := program(t, "devices", "--root", root)
	if code != 0 || !strings.HasPrefix(errs, "tenstorrent: 0000:3d:00.0: ") || len(table(out)) != 4 {
		t.Errorf("exit code %d, %q, %q; the card is there, and its driver's files are not", code, out, errs)
	}
}

// TestInventoryIsReadBack: what -o json wrote on one machine is read by --from on
// another, and says the same.
func TestInventoryIsReadBack(t *testing.T) {
	dir := away(t)
	code, first, _, _ := program(t, "devices", "--root", cards(t), "-o", "json")
	var v device.Inventory
	if err := json.Unmarshal([]byte(first), &v); err != nil || code != 0 || len(v.Devices) != 3 {
		t.Fatalf("exit code %d, %d devices, %v", code, len(v.Devices), err)
	}
	if v.Devices[2].Health.State != device.Degraded || v.Devices[0].Serial != "0100018511720000" || *v.Devices[2].NUMA != 1 {
		t.Errorf("devices are %+v", v.Devices)
	}
	file := filepath.Join(dir, "machine.json")
	lay(t, dir, "machine.json", first)
	code, second, errs, _ := program(t, "devices", "--from", file, "-o", "json")
	if code != 0 || errs != "" {
		t.Fatalf("exit code %d, %q", code, errs)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
}

func TestDevicesMisuse(t *testing.T) {
	dir := away(t)
	lay(t, dir, "hello", "hello")
	lay(t, dir, "colour.json", `{"devices":[{"name":"gpu-0","kind":"gpu","colour":"red"}]}`)
	lay(t, dir, "empty/x", "")
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"a format nobody knows", []string{"--from", dir + "/hello"}, []string{dir + "/hello: no adapter knows this format", "nvidia-smi -q -x", "npu-smi info", "polder devices -o json"}},
		{"an inventory that is wrong", []string{"--from", dir + "/colour.json"}, []string{"colour.json: not in the format of an inventory", `"colour"`}},
		{"a file that is not there", []string{"--from", dir + "/none"}, []string{"--from", "none: no such file"}},
		{"a directory that is not there", []string{"--root", dir + "/none"}, []string{"--root " + dir + "/none", "no such file"}},
		{"a file for a directory", []string{"--root", dir + "/hello"}, []string{"--root " + dir + "/hello", "no directory"}},
		{"two machines", []string{"--root", dir, "--local"}, []string{"local", "root"}},
		{"another output", []string{"--root", dir, "-o", "yaml"}, []string{"-o yaml", "json or wide"}},
		{"a node of a machine", []string{"topology", "n", "--root", dir}, []string{"NODE is one of the cloud"}},
		{"no requirement", []string{"explain", "--root", dir}, []string{"file"}},
		{"a requirement that is not there", []string{"explain", "-f", dir + "/none", "--root", dir}, []string{"-f", "none: no such file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs, _ := program(t, append([]string{"devices"}, c.args...)...)
			if code != 2 || out != "" || strings.Count(errs, "\n") != 1 {
				t.Errorf("exit code %d, %q, %q; want 2 and one line", code, out, errs)
			}
			for _, w := range c.want {
				if !strings.Contains(errs, w) {
					t.Errorf("%q does not say %q", errs, w)
				}
			}
		})
	}
}

func TestTopologyOfACopy(t *testing.T) {
	away(t)
	code, out, errs, _ := program(t, "devices", "topology", "--root", cards(t))
	want := [][]string{
		{"0", "1", "2"},
		{"0", "npu-0000-3d-00-0", "X", "PIX", "SYS"},
		{"1", "npu-0000-3e-00-0", "PIX", "X", "SYS"},
		{"2", "npu-0000-af-00-0", "SYS", "SYS", "X"},
	}
	if diff := cmp.Diff(want, table(out)); code != 0 || errs != "" || diff != "" {
		t.Errorf("exit code %d, %q\n%s", code, errs, diff)
	}
	_, out, _, _ = program(t, "devices", "topology", "--root", cards(t), "-o", "json")
	var m []matrix
	if err := json.Unmarshal([]byte(out), &m); err != nil || len(m) != 1 || len(m[0].Links) != 3 || m[0].Links[0][1] != (device.Link{To: "tt-1001", Type: "pcie", Path: device.PathPIX}) {
		t.Errorf("%v, of %s", err, out)
	}
	if code, out, _, _ := program(t, "devices", "topology", "--root", t.TempDir()); code != 0 || strings.TrimSpace(out) != "has no accelerators" {
		t.Errorf("of an empty machine: exit code %d, %q", code, out)
	}
}

func TestExplainOnACopy(t *testing.T) {
	dir := away(t)
	root := cards(t)
	for _, c := range []struct {
		name, text string
		fits       []string // of the three devices
		want       []string
	}{
		{"fields alone", "count: 2\nkinds: [npu]\nmemory: 8Gi\n", []string{"yes", "yes", "no"}, []string{"health: wanted no taint, has accelerator.polder.dev/thermal-trip"}},
		{"as JSON", `{"count": 1, "software": ["metalium"]}`, []string{"yes", "yes", "no"}, nil},
		{"a fabric of one", "count: 1\nsameFabric: true\nprecision: bf16\n", []string{"yes", "yes", "no"}, nil},
		{"a whole job", "apiVersion: polder.dev/v1alpha1\nkind: TrainJob\nmetadata: {name: x}\nspec:\n  accelerators: {count: 1, kinds: [gpu]}\n", []string{"no", "no", "no"},
			[]string{"kind: wanted gpu, has npu", "It cannot be fulfilled here: no device of this cluster has kind gpu; the nearest is p150a, with npu."}},
		{"more memory than there is", "count: 1\nmemory: 64Gi\n", []string{"no", "no", "no"}, []string{"memory: wanted at least 64 GiB, has 29.8 GiB", "no product in this cluster has 64 GiB of memory; the nearest is p150a, with 29.8 GiB."}},
		{"more devices than there are", "count: 8\n", []string{"yes", "yes", "no"}, []string{"there are only 3 such devices"}},
		{"a fabric", "count: 2\nsameFabric: true\n", []string{"no", "no", "no"}, []string{"fabric: wanted one that all devices share, has none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lay(t, dir, c.name+".yaml", c.text)
			args := []string{"devices", "explain", "-f", filepath.Join(dir, c.name+".yaml"), "--root", root}
			code, out, errs, _ := program(t, args...)
			if code != 0 || errs != "" {
				t.Fatalf("exit code %d, %q", code, errs)
			}
			var fits []string
			for _, row := range table(out)[1:] {
				if i := slices.Index(row, "p150a"); i > 0 && strings.HasPrefix(row[1], "npu-") {
					fits = append(fits, row[i+1])
				}
			}
			if !slices.Equal(fits, c.fits) {
				t.Errorf("fits are %q, not %q, in\n%s", fits, c.fits, out)
			}
			for _, w := range c.want {
				if !strings.Contains(out, w) {
					t.Errorf("there is no %q in\n%s", w, out)
				}
			}
			if strings.Contains(out, "cannot be fulfilled") == (len(c.want) == 0 || c.fits[0] == "yes" && c.name != "more devices than there are") {
				t.Errorf("the last word is wrong:\n%s", out)
			}
			_, out, _, _ = program(t, append(args, "-o", "json")...)
			var list []struct {
				Device string
				Fits   bool
				Checks []struct{ What string }
			}
			if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 3 || list[0].Fits != (c.fits[0] == "yes") || len(list[0].Checks) < 3 {
				t.Errorf("%v, of %s", err, out)
			}
		})
	}
}

func TestExplainRefusesBadRequirements(t *testing.T) {
	dir := away(t)
	for _, c := range []struct{ name, text, want string }{
		{"a field nobody knows", "count: 1\ncolour: red\n", `"colour"`},
		{"a field nobody knows in a job", "kind: TrainJob\nspec: {accelerators: {count: 1, colour: red}}\n", `"colour"`},
		{"a kind that is none", "count: 1\nkinds: [gpu, gpus]\n", "accelerators.kinds[1]"},
		{"one kind for a list", "count: 1\nkinds: gpu\n", "kinds"},
		{"kind for kinds", "count: 1\nkind: gpu\n", `kind: "gpu" is not TrainJob`},
		{"another object", "apiVersion: v1\nkind: Pod\nspec: {containers: []}\n", `kind: "Pod" is not TrainJob`},
		{"a job that asks for none", "kind: TrainJob\nspec: {}\n", "accelerators.count"},
		{"no YAML", "count: [1\n", "line 1"},
		{"a list", "- count: 1\n", "a list"},
		{"a text", "hello\n", "fields and their values"},
		{"nothing", "", "accelerators.count"},
		{"a word for a number", "count: many\n", "count"},
		{"memory that is no amount", "count: 1\nmemory: 80 gigabytes\n", "memory"},
		{"a precision that is none", "count: 1\nprecision: bf17\n", "accelerators.precision"},
		{"software that is none", "count: 1\nsoftware: [cuda12]\n", "accelerators.software[0]"},
		{"too many", "count: 33\n", "accelerators.count"},
		{"less than nothing", "count: 1\nmemory: -1Gi\n", "accelerators.memory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "r.yaml") // a name that says nothing of what is wrong
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, errs, _ := program(t, "devices", "explain", "-f", file, "--root", dir)
			said, ok := strings.CutPrefix(errs, "polder: "+file+": ")
			if code != 2 || out != "" || !ok || !strings.Contains(said, c.want) || strings.Count(errs, "\n") != 1 {
				t.Errorf("exit code %d, %q, %q; want 2 and one line that says %s", code, out, errs, c.want)
			}
		})
	}
}

// TestWithoutACloudDevicesAreThisMachines runs on this machine, which has a processor
// at least.
func TestWithoutACloudDevicesAreThisMachines(t *testing.T) {
	away(t)
	code, out, errs, _ := program(t, "devices")
	if code != 0 || !strings.HasPrefix(errs, "No cloud is known here; these are the devices of this machine.\n") || !strings.Contains(out, "cpu-0") {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	code, out, errs, _ = program(t, "devices", "-o", "json")
	var v device.Inventory
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || len(v.Devices) == 0 || strings.Contains(errs, "No cloud") {
		t.Errorf("exit code %d, %d devices, %v, %q", code, len(v.Devices), err, errs)
	}
	code, out, errs, _ = program(t, "devices", "--local")
	if code != 0 || strings.Contains(errs, "No cloud") || !strings.Contains(out, "cpu-0") {
		t.Errorf("--local: exit code %d, %q, %q", code, out, errs)
	}
}

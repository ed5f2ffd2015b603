package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the document that package nvidia's tests read")

// golden is what the program prints of the double. Package nvidia reads it too, so that
// writer and reader, which are in modules of their own, keep to one format.
const golden = "../../device/nvidia/testdata/nvml.json"

// double and old are the libraries that testdata/double.c makes.
var double, old string

// asMain in the environment has the test binary be the program, so that tests run the
// code that they were built with.
const asMain = "POLDER_NVML_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		os.Exit(0)
	}
	flag.Parse()
	dir, err := os.MkdirTemp("", "polder-nvml")
	if err != nil {
		panic(err)
	}
	code := 1
	if err = build(dir); err == nil {
		code = m.Run()
	}
	os.RemoveAll(dir)
	if err != nil {
		panic(err)
	}
	os.Exit(code)
}

const source = "testdata/double.c"

func build(dir string) error {
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "gcc"
	}
	header, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/NVIDIA/go-nvml/pkg/nvml").Output()
	if err != nil {
		return err
	}
	include := "-I" + strings.TrimSpace(string(header))
	double, old = filepath.Join(dir, "double.so"), filepath.Join(dir, "old.so")
	for _, args := range [][]string{
		{"-shared", "-fPIC", "-Wall", "-Werror", "-Wno-deprecated-declarations", include, "-o", double, source},
		{"-shared", "-fPIC", "-DOLD", include, "-w", "-o", old, source},
	} {
		if out, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", compiler, args, err, out)
		}
	}
	return nil
}

// result is how the program ended.
type result struct {
	out, said string
	code      int // -1: it was killed
}

// started runs the program with a library that is in this mode, for at most limit.
func started(t *testing.T, limit time.Duration, mode string, args ...string) result {
	t.Helper()
	if _, err := os.Stat(source); err != nil { // so that go test knows on what the result depends
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = []string{"NVML_DOUBLE=" + mode, asMain + "=1"}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return result{out.String(), said.String(), cmd.ProcessState.ExitCode()}
}

// asked is the document of a library in this mode.
func asked(t *testing.T, mode, library string, args ...string) *Document {
	t.Helper()
	r := started(t, time.Minute, mode, append([]string{"-library", library}, args...)...)
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.said)
	}
	var d Document
	decoder := json.NewDecoder(strings.NewReader(r.out))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		t.Fatal(err)
	}
	return &d
}

func TestDocumentIsWhatItsReaderKnows(t *testing.T) {
	r := started(t, time.Minute, "", "-library", double)
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.said)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(r.out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if r.out != string(want) {
		t.Errorf("the document differs from %s; if it should, run go test -update here, see to docs/formats/nvml.md and to package nvidia:\n%s", golden, r.out)
	}
}

func TestRefusals(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("no library\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, mode string
		args       []string
		code       int
		says       string
	}{
		{"no library", "", []string{"-library", "/none/libnvidia-ml.so.1"}, exitAbsent, "this machine has no NVML (/none/libnvidia-ml.so.1: cannot open shared object file"},
		{"a file that is no library", "", []string{"-library", text}, exitRefused, "loading NVML: " + text + ": file too short"},
		{"another library", "", []string{"-library", "libc.so.6"}, exitRefused, "libc.so.6 is not NVML"},
		{"library and driver of two versions", "mismatch", []string{"-library", double}, exitRefused, "starting NVML: Driver/library version mismatch"},
		{"a flag that there is not", "", []string{"-x"}, exitUsage, "-x"},
		{"a word", "", []string{"meters"}, exitUsage, `"meters" is not understood`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := started(t, time.Minute, c.mode, c.args...)
			if r.code != c.code || !strings.Contains(r.said, c.says) || r.out != "" {
				t.Errorf("exit code %d, not %d; it says %q, not %q, and prints %q", r.code, c.code, r.said, c.says, r.out)
			}
		})
	}
}

// TestHang: the program does not end itself; who runs it does, and finds that nothing
// half was printed.
func TestHang(t *testing.T) {
	for _, mode := range []string{"hang", "hang-later"} {
		if r := started(t, 300*time.Millisecond, mode, "-library", double); r.code != -1 || r.out != "" {
			t.Errorf("%s: exit code %d with the output %q, not killed without any", mode, r.code, r.out)
		}
	}
}

func TestCrashIsNotSuccess(t *testing.T) {
	if r := started(t, time.Minute, "crash", "-library", double); r.code == 0 || r.out != "" {
		t.Errorf("exit code %d, output %q", r.code, r.out)
	}
}

func TestLostCardLeavesTheOthers(t *testing.T) {
	d := asked(t, "lost", double)
	if len(d.GPUs) != 3 || d.GPUs[1].Errors["handle"] != "GPU is lost" || d.GPUs[1].UUID != "" || d.GPUs[0].UUID == "" || len(d.GPUs[2].Parts) != 2 {
		t.Errorf("cards are %+v", d.GPUs)
	}
	if len(d.Pairs) != 1 || d.Pairs[0].A != 0 || d.Pairs[0].B != 2 {
		t.Errorf("pairs are %+v, of which the lost card is none", d.Pairs)
	}
}

func TestBrokenCard(t *testing.T) {
	g := asked(t, "broken", double).GPUs[2]
	if *g.ECC.VolatileCorrected != 0 || *g.ECC.VolatileUncorrected != 10 || *g.ECC.AggregateUncorrected != 11 || !*g.ECC.SRAMThreshold || !*g.ECC.TPCRepair || *g.ECC.ChannelRepair {
		t.Errorf("errors are %+v", g.ECC)
	}
	if *g.Rows != (Rows{0, 2, true, false}) || g.Recovery != "Drain and Reset" || len(*g.Slowdowns) != 1 || (*g.Slowdowns)[0] != "hw-thermal" {
		t.Errorf("rows %+v, recovery %s, slowdowns %v", g.Rows, g.Recovery, *g.Slowdowns)
	}
	if g.Memory.Used != 504<<20 || *g.Parts[0].Uncorrected != 3 {
		t.Errorf("memory by the first version is %+v, errors of an instance are %d", g.Memory, *g.Parts[0].Uncorrected)
	}
	if got := g.Errors["serial"]; got != "error 11 of NVML (an interrupt of the double)" {
		t.Errorf("without a serial number it says %q", got)
	}
}

func TestFabricOfSeveralMachines(t *testing.T) {
	f := asked(t, "fabric", double).GPUs[0].Fabric
	if f.Cluster != "10111213-1415-1617-1819-1a1b1c1d1e1f" || f.Clique != 4294967295 || f.Summary != "Unhealthy" {
		t.Errorf("the fabric is %+v", f)
	}
	if got := strings.Join(f.Health, ", "); got != "degraded-bandwidth, route-unhealthy, configuration: insufficient NVLinks" {
		t.Errorf("it complains of %s", got)
	}
}

func TestBridgeJoinsTwoCards(t *testing.T) {
	d := asked(t, "bridge", double)
	if l := d.GPUs[0].NVLinks; len(l) != 1 || l[0] != (NVLink{9, "4.0", "00000000:5E:00.0", "gpu"}) {
		t.Errorf("links are %+v", l)
	}
}

func TestMetersLeaveOutLinks(t *testing.T) {
	d := asked(t, "", double, "-meters")
	if len(d.Pairs) > 0 || len(d.GPUs[0].NVLinks) > 0 || d.GPUs[0].Power == nil || len(d.GPUs[2].Parts) != 2 {
		t.Errorf("the document is %+v", d)
	}
}

// TestOldLibrary: functions that it lacks would end the program if they were called.
func TestOldLibrary(t *testing.T) {
	d := asked(t, "", old)
	if len(d.GPUs) != 1 || d.Driver != "580.95.05" || d.CUDA != "" || d.Errors["cuda"] != "Function Not Found" {
		t.Fatalf("the document is %+v", d)
	}
	g := d.GPUs[0]
	if g.Memory.Total != 81559<<20 || *g.Temperature != 41 || *g.Power != 99.5 || len(*g.Slowdowns) != 3 || g.Errors["fabric"] != "Function Not Found" || g.MIG != nil {
		t.Errorf("the card is %+v", g)
	}
}

func TestCountIsBounded(t *testing.T) {
	if n := len(asked(t, "many", double).GPUs); n != cardsMax {
		t.Errorf("%d cards of a library that says 4000000000", n)
	}
	if d := asked(t, "none", double); d.GPUs == nil || len(d.GPUs) > 0 {
		t.Errorf("no cards are %+v", d.GPUs)
	}
}

func TestComplaints(t *testing.T) {
	for mask, want := range map[uint32]string{
		0: "", 2 | 2<<2 | 2<<4 | 2<<6 | 1<<8: "", 1 << 6: "access-timeout-recovery", 1 << 2: "route-recovery",
		2 << 8: "configuration: incorrect SysGUID", 8 << 8: "configuration: invalid GPU state", 15 << 8: "configuration: incorrect (15)",
	} {
		if got := strings.Join(complaints(mask), ", "); got != want {
			t.Errorf("%#x gives %q, not %q", mask, got, want)
		}
	}
}

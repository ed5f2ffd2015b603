package nvidia

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// document is what polder-nvml prints of a made-up library with the cards of
// wholeMachine. The tests of tools/nvml write it and hold the program to it.
func document(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("testdata/nvml.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// changed is the document with texts replaced, each where it stands first.
func changed(t testing.TB, pairs ...string) string {
	t.Helper()
	s := document(t)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(s, pairs[i]) {
			t.Fatalf("the document has no %s", pairs[i])
		}
		s = strings.Replace(s, pairs[i], pairs[i+1], 1)
	}
	return s
}

// nvmlMachine is wholeMachine with our helper, which prints this, and without
// nvidia-smi.
func nvmlMachine(text string) *devicetest.Machine {
	m := wholeMachine()
	m.Tools = map[string]string{helper: text}
	return m
}

// TestSourcesAgree: of one machine NVML and nvidia-smi say the same.
func TestSourcesAgree(t *testing.T) {
	bySMI, err := discover(t, wholeMachine())
	if err != nil {
		t.Fatal(err)
	}
	byNVML, err := discover(t, nvmlMachine(document(t)))
	if err != nil || len(byNVML) != 4 {
		t.Fatalf("%d devices, error %v", len(byNVML), err)
	}
	for _, f := range []string{"memory", "serial", "links", "fabric", "architecture", "driver.stack"} {
		if got := byNVML[0].Provenance[f].From; got != nvml {
			t.Errorf("%s comes from %q", f, got)
		}
	}
	for _, f := range []string{"profile", "memory", "units", "uuid"} {
		if got := byNVML[2].Provenance[f].From; got != nvml {
			t.Errorf("%s of an instance comes from %q", f, got)
		}
	}
	if got := byNVML[0].Links[0].Bandwidth; got != 18*26562*1000*1000 {
		t.Errorf("18 links have the bandwidth %d", got)
	}
	if e := byNVML[0].Reading.Energy; e == nil || *e != 1234.567 {
		t.Errorf("the meters are %+v", byNVML[0].Reading)
	}
	if got := byNVML[0].Reading.Errors; len(got) != 7 {
		t.Errorf("the counters are %v", got)
	}
	for i := range byNVML { // what one of the two says alone, or the made-up log does not have
		for _, d := range []*device.Device{&bySMI[i], &byNVML[i]} {
			d.Provenance, d.Health.Sound = nil, false
			for j := range d.Links {
				d.Links[j].Bandwidth = 0
			}
			if d.Reading != nil {
				d.Reading.Energy, d.Reading.Errors = nil, nil
			}
		}
	}
	if diff := cmp.Diff(bySMI, byNVML); diff != "" {
		t.Errorf("nvidia-smi (-) and NVML (+) differ:\n%s", diff)
	}
}

func TestSuiteOfNVML(t *testing.T) {
	devicetest.Suite{
		Adapter: New(), Machine: func() *devicetest.Machine { return nvmlMachine(document(t)) }, Devices: 4, Strangers: strangers,
		Outputs: [][]byte{[]byte(document(t))}, Messages: messages,
	}.Run(t)
}

// answering is the machine's host, on which our helper ends like this.
func answering(t *testing.T, m *devicetest.Machine, out string, err error) *device.Host {
	t.Helper()
	h, bad := m.Host()
	if bad != nil {
		t.Fatal(bad)
	}
	others := h.Run
	h.Run = func(ctx context.Context, program string, args ...string) ([]byte, error) {
		if program == helper {
			return []byte(out), err
		}
		return others(ctx, program, args...)
	}
	return h
}

// TestFallsBack: whatever our helper does, nvidia-smi tells the whole, and a problem
// says why it was asked.
func TestFallsBack(t *testing.T) {
	for _, c := range []struct {
		name, out string
		err       error
		says      string
	}{
		{"it is not there", "", fmt.Errorf("polder-nvml: %w", device.ErrNoTool), ""},
		{"it hangs", "", errors.New("polder-nvml did not end within 10s"), "did not end within 10s"},
		{"it fails", "", errors.New("polder-nvml: exit status 3 this machine has no NVML"), "this machine has no NVML"},
		{"it prints a whole document and fails", document(t), errors.New("polder-nvml: exit status 1"), "exit status 1"},
		{"it prints nothing", "", nil, "no document"},
		{"it prints something else", "hello", nil, "no document"},
		{"its document breaks off", document(t)[:2000], nil, "unexpected end"},
		{"its document has a wrong type", changed(t, `"index": 0`, `"index": "zero"`), nil, "cannot unmarshal"},
		{"its document is of another version", changed(t, `"version": 1`, `"version": 2`), nil, "has the version 2, of which only 1 is read"},
		{"it reaches no card", `{"format": "polder-nvml", "version": 1, "gpus": [{"index": 0, "errors": {"handle": "GPU is lost"}}]}`, nil, "it reaches no GPU [GPU is lost]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			devices, err := New().Discover(t.Context(), answering(t, wholeMachine(), c.out, c.err))
			if len(devices) != 4 || devices[0].Memory != 81559<<20 || devices[0].Provenance["memory"].From != smi || devices[2].Profile != "3g.40gb" {
				t.Errorf("devices are %+v", devices)
			}
			if c.says == "" && err != nil || c.says != "" && (!strings.Contains(fmt.Sprint(err), c.says) || !strings.Contains(fmt.Sprint(err), "so nvidia-smi was asked")) {
				t.Errorf("got %v, want %q in it", err, c.says)
			}
			err = New().Measure(t.Context(), answering(t, wholeMachine(), c.out, c.err), devices)
			if devices[0].Health.State != device.Healthy || devices[3].Reading == nil || err != nil {
				t.Errorf("measuring: health %+v, error %v", devices[0].Health, err)
			}
			alone := wholeMachine()
			alone.Tools = nil
			err = New().Measure(t.Context(), answering(t, alone, c.out, c.err), devices)
			if devices[0].Health.State != device.Unknown || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("measuring without nvidia-smi: health %+v, error %v", devices[0].Health, err)
			}
		})
	}
}

// TestMeasureDoesNotWaitInVain: a library that hangs would cost the time limit each time.
func TestMeasureDoesNotWaitInVain(t *testing.T) {
	asked := 0
	host := func(out string, err error) *device.Host {
		h := answering(t, wholeMachine(), out, err)
		run := h.Run
		h.Run = func(ctx context.Context, program string, args ...string) ([]byte, error) {
			if program == helper {
				asked++
			}
			return run(ctx, program, args...)
		}
		return h
	}
	hangs, well := host("", errors.New("polder-nvml did not end within 10s")), host(document(t), nil)
	a := New()
	devices, _ := a.Discover(t.Context(), well)
	for _, c := range []struct {
		what string
		do   func() error
		want int
	}{
		{"measuring asks", func() error { return a.Measure(t.Context(), well, devices) }, 2},
		{"and finds that it hangs", func() error { return a.Measure(t.Context(), hangs, devices) }, 3},
		{"and does not ask again", func() error { return a.Measure(t.Context(), hangs, devices) }, 3},
		{"looking for devices does", func() error { _, err := a.Discover(t.Context(), hangs); return err }, 4},
		{"measuring does not yet", func() error { return a.Measure(t.Context(), well, devices) }, 4},
		{"looking for devices finds it well", func() error { _, err := a.Discover(t.Context(), well); return err }, 5},
		{"and measuring asks it again", func() error { return a.Measure(t.Context(), well, devices) }, 6},
	} {
		err := c.do()
		if asked != c.want || devices[0].Health.State != device.Healthy {
			t.Errorf("%s: it was asked %d times, not %d; error %v", c.what, asked, c.want, err)
		}
	}
}

// TestDocuments changes the document.
func TestDocuments(t *testing.T) {
	const (
		uuidA  = `"uuid": "GPU-aaaaaaaa-0000-0000-0000-000000000001"`
		uuidB  = `"uuid": "GPU-aaaaaaaa-0000-0000-0000-000000000002"`
		placeA = `"address": "00000000:3B:00.0"`
	)
	lost := changed(t, uuidB, `"errors": {"handle": "GPU is lost"}, "was": ""`)
	for name, c := range map[string]struct {
		text  string
		says  string
		check func(d []device.Device) bool
	}{
		"a lost card, of which the place is not told": {lost, "", func(d []device.Device) bool {
			return faultsOf(&d[1]) == "gpu-lost" && d[1].UUID == cardB.uuid && d[0].Health.State == device.Healthy
		}},
		"a card that answers with nothing but that it is lost": {changed(t, uuidB, `"errors": {"uuid": "GPU is lost", "memory": "GPU is lost"}`), "", func(d []device.Device) bool {
			return faultsOf(&d[1]) == "gpu-lost"
		}},
		"a question that fails for no known reason": {changed(t, uuidB, uuidB+`, "errors": {"temperature": "Unknown Error"}`), "", func(d []device.Device) bool {
			return faultsOf(&d[1]) == "gpu-unreadable"
		}},
		"a rare question that does": {changed(t, uuidB, uuidB+`, "errors": {"energy": "Unknown Error"}`), "", func(d []device.Device) bool {
			return faultsOf(&d[1]) == ""
		}},
		"a card without a place is known by its UUID": {changed(t, placeA, `"address": ""`), "", func(d []device.Device) bool {
			return d[0].Memory == 81559<<20 && d[0].PCI.Address == cardA.address
		}},
		"two cards with one UUID": {changed(t, uuidB, uuidA), "two cards with the UUID", func(d []device.Device) bool {
			return d[1].UUID == cardB.uuid && d[1].Serial == "1650" // by the driver's file
		}},
		"two cards in one place": {changed(t, `"address": "00000000:5E:00.0"`, placeA), "", func(d []device.Device) bool {
			return d[0].UUID == cardA.uuid && faultsOf(&d[1]) == "gpu-missing"
		}},
		"two instances with one UUID": {changed(t, "MIG-bbbbbbbb-0000-0000-0000-000000000001", "MIG-bbbbbbbb-0000-0000-0000-000000000000"), "", func(d []device.Device) bool {
			return d[3].UUID == "MIG-"+cardMIG.uuid+"/5/0" && d[2].UUID == "MIG-bbbbbbbb-0000-0000-0000-000000000000"
		}},
		"two cards of one index": {changed(t, `"index": 1`, `"index": 0`), "", func(d []device.Device) bool {
			return len(d[0].Links) == 0 && d[1].Memory == 81559<<20
		}},
		"a pair of cards that there are not": {changed(t, `"b": 1`, `"b": 77`), "", func(d []device.Device) bool { return len(d[0].Links) == 0 }},
		"a path of another name":             {changed(t, `"nvlink": true`, `"nvlink": false`, `"path": "SYS"`, `"path": "MOON"`), "", func(d []device.Device) bool { return len(d[0].Links) == 0 }},
		"links that the driver does not let them use": {changed(t, `"nvlink": true`, `"nvlink": false`), "", func(d []device.Device) bool {
			return d[0].Links[0] == device.Link{To: cardB.uuid, Type: "pcie", Path: device.PathSys}
		}},
		"a profile without a name": {changed(t, `"profile": "1g.10gb"`, `"profile": ""`), "profiles of MIG instances are not known", func(d []device.Device) bool {
			return d[3].Profile == "" && d[3].UUID == "MIG-bbbbbbbb-0000-0000-0000-000000000001" && d[2].Profile == "3g.40gb"
		}},
		"slow, with errors and in need of a reset": {changed(t, `"slowdowns": []`, `"slowdowns": ["hw-thermal", "hw-power-brake"]`, `"volatileUncorrected": 0`, `"volatileUncorrected": 2`,
			`"failure": false`, `"failure": true`, `"recovery": "None"`, `"recovery": "Drain and Reset"`, `"summary": "Healthy"`, `"summary": "Unhealthy", "health": ["degraded-bandwidth", "configuration: no partition"]`), "", func(d []device.Device) bool {
			return faultsOf(&d[0]) == "row-remap-failure thermal-slowdown power-brake ecc-uncorrected recovery-needed fabric-degraded" &&
				strings.Contains(fmt.Sprint(d[0].Health.Faults), "less bandwidth, configuration: no partition")
		}},
		"numbers that cannot be": {changed(t, `"total": 85520809984`, `"total": 18446744073709551615`, `"utilization": 25`, `"utilization": 4000000000`, `"minor": 1`, `"minor": -1`), "", func(d []device.Device) bool {
			return d[0].Memory == 0 && d[0].Reading.Utilization == nil && d[0].Nodes[0].Path == "/dev/nvidia1"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			devices, err := discover(t, nvmlMachine(c.text))
			if len(devices) != 4 {
				t.Fatalf("%d devices, error %v", len(devices), err)
			}
			if c.says == "" && err != nil || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("got %v, want %q in it", err, c.says)
			}
			if !c.check(devices) {
				t.Errorf("devices are %+v", devices)
			}
		})
	}
}

// TestUnifiedMemoryByNVML: a GPU that has no memory of its own, which NVML says so.
func TestUnifiedMemoryByNVML(t *testing.T) {
	s := changed(t, `"memory": {`, `"was": {`, `"bar1": {`, `"was": {`, `"ecc": {`, `"errors": {"memory": "Not Supported", "bar1": "Not Supported"}, "ecc": {`)
	devices, err := discover(t, nvmlMachine(s).Write("proc/meminfo", "MemTotal:       125508468 kB"))
	if err != nil || devices[0].Memory != 125508468<<10 || devices[1].Memory != 81559<<20 {
		t.Errorf("memory is %d and %d, error %v", devices[0].Memory, devices[1].Memory, err)
	}
}

// TestInstancesThatCannotBeListed: the driver's files have them all the same, and they
// are not said to be gone.
func TestInstancesThatCannotBeListed(t *testing.T) {
	s := document(t)
	from, to := strings.Index(s, `"parts": [`), strings.Index(s, `"pairs": [`)
	s = s[:from] + `"errors": {"parts": "Insufficient Permissions"}}],` + s[to:] // the card is the last
	m := nvmlMachine(s)
	devices, err := discover(t, m)
	if err != nil || len(devices) != 4 || devices[3].Form != device.MIG || devices[3].UUID != "MIG-"+cardMIG.uuid+"/5/0" || len(devices[3].Nodes) != 5 {
		t.Fatalf("devices are %+v, error %v", devices, err)
	}
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	if err := New().Measure(t.Context(), h, devices); err != nil || devices[3].Health.State != device.Unknown || devices[0].Health.State != device.Healthy {
		t.Errorf("health is %+v and %+v, error %v", devices[3].Health, devices[0].Health, err)
	}
}

func TestMeasureByNVML(t *testing.T) {
	m := nvmlMachine(document(t))
	devices, err := discover(t, m)
	if err != nil {
		t.Fatal(err)
	}
	m.Tools = map[string]string{helper + " -meters": changed(t,
		`"uuid": "GPU-aaaaaaaa-0000-0000-0000-000000000002"`, `"errors": {"handle": "GPU is lost"}, "was": ""`,
		`"temperature": 41`, `"temperature": 93`, `"slowdowns": []`, `"slowdowns": ["sw-thermal"]`,
		"MIG-bbbbbbbb-0000-0000-0000-000000000001", "MIG-bbbbbbbb-0000-0000-0000-00000000000f")}
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	if err := New().Measure(t.Context(), h, devices); err != nil {
		t.Error(err)
	}
	for i, want := range []string{"thermal-slowdown", "gpu-lost", "", "mig-missing"} {
		if got := faultsOf(&devices[i]); got != want {
			t.Errorf("device %d has the faults %q, not %q", i, got, want)
		}
	}
	if r := devices[0].Reading; *r.Temperature != 93 || devices[1].Reading != nil || *devices[2].Reading.MemoryUsed != 12<<20 {
		t.Errorf("meters are %+v, %+v and %+v", r, devices[1].Reading, devices[2].Reading)
	}
}

func TestReadOfNVML(t *testing.T) {
	devices, err := New().Read([]byte(document(t)))
	if err != nil || len(devices) != 4 || devices[0].Fabric == nil || devices[0].Links[0].Count != 18 || devices[2].Profile != "3g.40gb" || devices[0].PCI.Device != "2330" {
		t.Errorf("devices are %+v, error %v", devices, err)
	}
	lost := changed(t, `"uuid": "GPU-aaaaaaaa-0000-0000-0000-000000000002"`, `"errors": {"handle": "GPU is lost"}, "was": ""`)
	devices, err = New().Read([]byte(lost))
	if len(devices) != 3 || !errors.As(err, new(device.Problem)) || !strings.Contains(err.Error(), "could not reach 1 of the cards (GPU is lost)") {
		t.Errorf("%d devices, error %v", len(devices), err)
	}
	for _, s := range []string{changed(t, `"version": 1`, `"version": 2`), document(t)[:500], document(t) + "{}", `{"format": "polder-nvml"}`} {
		if devices, err := New().Read([]byte(s)); !errors.Is(err, device.ErrFormat) || len(devices) > 0 {
			t.Errorf("%.80q: %d devices, error %v", s, len(devices), err)
		}
	}
}

func TestCells(t *testing.T) {
	card := func(i int, address string, l ...nvmlLinks) *nvmlCard {
		return &nvmlCard{Index: i, Address: address, NVLinks: l}
	}
	bridged := map[int]*nvmlCard{
		0: card(0, "00000000:3B:00.0", nvmlLinks{4, "00000000:5E:00.0", "gpu"}, nvmlLinks{2, "00000000:AF:00.0", "gpu"}),
		1: card(1, "00000000:5E:00.0", nvmlLinks{4, "00000000:3B:00.0", "gpu"}),
		2: card(2, "00000000:AF:00.0", nvmlLinks{-7, "00000000:3B:00.0", "gpu"}),
	}
	for _, c := range []struct {
		pair nvmlPair
		want string
	}{
		{nvmlPair{0, 1, "SYS", nil}, "NV4"},
		{nvmlPair{0, 1, "SYS", new(true)}, "NV4"},
		{nvmlPair{0, 1, "SYS", new(false)}, "SYS"},
		{nvmlPair{0, 2, "PHB", new(true)}, "PHB"}, // the other knows of none
		{nvmlPair{1, 2, "PIX", nil}, "PIX"},
		{nvmlPair{1, 1, "PIX", nil}, ""},
		{nvmlPair{1, 9, "PIX", nil}, ""},
		{nvmlPair{1, 2, "X", nil}, ""},
	} {
		if got := cells([]nvmlPair{c.pair}, bridged)[[2]int{c.pair.A, c.pair.B}]; got != c.want {
			t.Errorf("%+v gives %q, not %q", c.pair, got, c.want)
		}
	}
	switched := map[int]*nvmlCard{0: card(0, "", nvmlLinks{10, "a", "switch"}, nvmlLinks{8, "b", "switch"}), 1: card(1, "", nvmlLinks{1 << 40, "a", "switch"})}
	if got := cells([]nvmlPair{{0, 1, "SYS", new(true)}}, switched)[[2]int{1, 0}]; got != "NV18" {
		t.Errorf("cards at switches give %q", got)
	}
	if got := cells([]nvmlPair{{0, 1, "SYS", nil}}, switched)[[2]int{1, 0}]; got != "SYS" {
		t.Errorf("cards at switches of which nobody says whether they join them give %q", got)
	}
}

// FuzzNVML feeds the reader of documents, on a machine that has other cards too.
func FuzzNVML(f *testing.F) {
	for _, s := range []string{"", "{}", document(f), document(f)[:3000], `{"format":"polder-nvml","version":1,"gpus":[{"mig":true,"uuid":"GPU-1","errors":{"parts":"x"}},{"errors":{"handle":"GPU is lost"}}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		devices, _ := New().Read(b)
		found, _ := New().Discover(t.Context(), answering(t, wholeMachine(), string(b), nil))
		if len(devices) > cardsMax*partsMax || len(found) < 3 {
			t.Errorf("%d devices read, %d found", len(devices), len(found))
		}
		_ = New().Measure(t.Context(), answering(t, wholeMachine(), string(b), nil), found)
		devices = append(devices, found...)
		device.Names(devices)
		for _, d := range devices {
			if d.Memory < 0 || d.Units < 0 || d.Ordinal < 0 || d.Product == "" || d.Health.State == "" {
				t.Errorf("a device is %+v", d)
			}
			for _, l := range d.Links {
				if l.Count < 0 || l.Bandwidth < 0 {
					t.Errorf("a link is %+v", l)
				}
			}
		}
	})
}

package devicetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
)

// Suite is what an adapter is proved with.
type Suite struct {
	// Adapter to prove.
	Adapter device.Adapter
	// Machine with the vendor's devices, drivers and programs, as made-up but as
	// complete as can be; a new one with each call.
	Machine func() *Machine
	// Devices that are on it.
	Devices int
	// Strangers are functions that are not this vendor's accelerators though they
	// look like it: its network cards, its bridges.
	Strangers []device.Function
	// Outputs are saved outputs of the vendor's programs; for adapters that are
	// Readers.
	Outputs [][]byte
	// Messages of the kernel's log that mean something; for adapters that are
	// Listeners.
	Messages []string
}

// Run proves the adapter.
func (s Suite) Run(t *testing.T) {
	t.Run("empty machine", s.empty)
	t.Run("whole machine", s.whole)
	t.Run("strangers", s.strangers)
	t.Run("no driver", s.bare)
	t.Run("no programs", s.toolless)
	t.Run("programs that fail", s.failing)
	t.Run("broken files", s.broken)
	t.Run("time", s.inTime)
	t.Run("meters", s.meters)
	t.Run("edits", s.edits)
	t.Run("saved outputs", s.outputs)
	t.Run("messages", s.messages)
}

func (s Suite) discover(t *testing.T, m *Machine) ([]device.Device, error) {
	t.Helper()
	h, err := m.Host()
	if err != nil && !errors.As(err, new(device.Problem)) {
		t.Fatalf("walking PCI: %v", err)
	}
	return s.Adapter.Discover(t.Context(), h)
}

func (s Suite) empty(t *testing.T) {
	devices, err := s.discover(t, New())
	if len(devices) > 0 || err != nil {
		t.Errorf("an empty machine has %d devices and the error %v; it has none", len(devices), err)
	}
}

func (s Suite) whole(t *testing.T) {
	devices, err := s.discover(t, s.Machine())
	if err != nil {
		t.Errorf("a whole machine gives an error: %v", err)
	}
	if len(devices) != s.Devices {
		t.Fatalf("found %d devices, there are %d", len(devices), s.Devices)
	}
	device.Names(devices)
	seen := map[string]bool{}
	for _, d := range devices {
		check(t, &d)
		if seen[d.UUID] {
			t.Errorf("%s: the UUID %s is that of another device", d.Name, d.UUID)
		}
		seen[d.UUID] = true
	}
	again, _ := s.discover(t, s.Machine())
	device.Names(again)
	for i := range min(len(again), len(devices)) {
		if again[i].UUID != devices[i].UUID || again[i].Name != devices[i].Name {
			t.Errorf("a second look calls %s (%s) %s (%s)", devices[i].Name, devices[i].UUID, again[i].Name, again[i].UUID)
		}
	}
}

// check looks at what is promised of every device.
func check(t *testing.T, d *device.Device) {
	t.Helper()
	if !slices.Contains(device.Kinds(), d.Kind) {
		t.Errorf("%s: kind %q is none", d.Name, d.Kind)
	}
	if d.Vendor == "" || d.Product == "" || d.Form == "" || d.Health.State == "" {
		t.Errorf("%s lacks vendor, product, form or health: %+v", d.Name, d)
	}
	if d.Memory < 0 || d.MemoryBandwidth < 0 || d.Units < 0 || d.NUMA != nil && *d.NUMA < 0 {
		t.Errorf("%s has a number below zero: %+v", d.Name, d)
	}
	for p, n := range d.FLOPS {
		if n <= 0 {
			t.Errorf("%s: %s is %d; what is not known is absent", d.Name, p, n)
		}
	}
	if d.PCI != nil {
		if a, ok := device.Address(d.PCI.Address); !ok || a != d.PCI.Address {
			t.Errorf("%s: the PCI address %q is not in its one form", d.Name, d.PCI.Address)
		}
	}
	if d.Emulated {
		t.Errorf("%s says it is emulated; who discovers does not know", d.Name)
	}
}

func (s Suite) strangers(t *testing.T) {
	for _, f := range s.Strangers {
		if s.Adapter.Owns(&f) {
			t.Errorf("owns %s of class %s, which is no accelerator of this vendor", f.ID(), f.Class)
		}
	}
	if s.Adapter.Owns(&device.Function{Vendor: "8086", Device: "2f02", Class: "060400"}) {
		t.Error("owns a bridge")
	}
}

// bare is a machine of which only the PCI bus is left: cards without driver.
func (s Suite) bare(t *testing.T) {
	m := s.Machine()
	owned := 0
	h, _ := m.Host()
	for i := range h.Functions {
		if s.Adapter.Owns(&h.Functions[i]) && h.Functions[i].Parent == "" {
			owned++
		}
	}
	for k := range m.Files {
		if !strings.HasPrefix(k, "sys/bus/pci/") && !strings.HasPrefix(k, "sys/devices/pci") || strings.HasSuffix(k, "/driver") {
			delete(m.Files, k)
		}
	}
	m.Tools = map[string]string{}
	devices, _ := s.discover(t, m)
	if len(devices) < min(owned, 1) {
		t.Errorf("without driver %d devices are found; the PCI bus has %d", len(devices), owned)
	}
}

func (s Suite) toolless(t *testing.T) {
	m := s.Machine()
	m.Tools = map[string]string{}
	devices, err := s.discover(t, m)
	if len(devices) == 0 && s.Devices > 0 && err == nil {
		t.Error("without the vendor's programs nothing is found and nothing is said")
	}
}

func (s Suite) failing(t *testing.T) {
	for name, answer := range map[string]string{"garbage": "\x00\xff<<<{{[[ 12 |||", "nothing": "", "half": "{\"a\": [1, 2"} {
		m := s.Machine()
		if len(m.Tools) == 0 {
			t.Skip("it asks no program")
		}
		for k := range m.Tools {
			m.Tools[k] = answer
		}
		devices, err := s.discover(t, m)
		if err == nil && len(devices) == 0 {
			t.Errorf("%s: nothing is found and nothing is said", name)
		}
	}
}

// broken garbles files, a few at a time, and looks that discovery survives.
func (s Suite) broken(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	whole := s.Machine()
	names := slices.Sorted(maps.Keys(whole.Files))
	garbage := []string{"", "-1", "99999999999999999999", "0xzz", "\x00\xff\xfe", strings.Repeat("9", 70000), "a b c\nd e f\n", "18446744073709551615"}
	for range 200 {
		m := whole.clone()
		for range 1 + r.IntN(4) {
			name := names[r.IntN(len(names))]
			f := m.Files[name]
			if f == nil {
				continue
			}
			switch r.IntN(4) {
			case 0:
				delete(m.Files, name)
			case 1:
				f.Data = f.Data[:r.IntN(len(f.Data)+1)]
			case 2:
				if f.Mode&fs.ModeSymlink == 0 {
					f.Data = []byte(garbage[r.IntN(len(garbage))])
				}
			case 3:
				delete(m.Files, name)
				m.Files[name+"/x"] = f // a directory in its place
			}
		}
		devices, _ := s.discover(t, m)
		device.Names(devices)
		for i := range devices {
			check(t, &devices[i])
		}
		if t.Failed() {
			return
		}
	}
}

// inTime has every program hang until it is told to end.
func (s Suite) inTime(t *testing.T) {
	h, err := s.Machine().Host()
	if err != nil {
		t.Fatal(err)
	}
	h.Run = func(ctx context.Context, program string, _ ...string) ([]byte, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("%s: %w", program, ctx.Err())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.Adapter.Discover(ctx, h)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("does not return although its time is over")
	}
}

// meters looks again at a machine on which nothing changed.
func (s Suite) meters(t *testing.T) {
	m, ok := s.Adapter.(device.Meter)
	if !ok {
		t.Skip("it reads no meters")
	}
	h, err := s.Machine().Host()
	if err != nil {
		t.Fatal(err)
	}
	devices, _ := s.Adapter.Discover(t.Context(), h)
	device.Names(devices)
	found := make([]device.Device, len(devices))
	for i := range devices {
		found[i] = devices[i].Clone()
	}
	if err := m.Measure(t.Context(), h, devices); err != nil {
		t.Errorf("reading meters of a whole machine gives an error: %v", err)
	}
	for i, d := range devices {
		if found[i].Reading != nil && d.Reading == nil || d.Health.State != found[i].Health.State {
			t.Errorf("%s: nothing changed, and health was %s with meters %+v, and is %s with %+v", d.Name, found[i].Health.State, found[i].Reading, d.Health.State, d.Reading)
		}
		d.Health, d.Reading = found[i].Health, found[i].Reading
		if diff := cmp.Diff(found[i], d); diff != "" {
			t.Errorf("%s is another after its meters were read: %s", d.Name, diff)
		}
	}
	if err := m.Measure(t.Context(), h, nil); err != nil {
		t.Errorf("reading meters of no device gives an error: %v", err)
	}
}

func (s Suite) edits(t *testing.T) {
	devices, _ := s.discover(t, s.Machine())
	if none := s.Adapter.Edits(nil); len(none.Nodes) > 0 {
		t.Errorf("no devices need %d device files", len(none.Nodes))
	}
	device.Names(devices)
	for i := range devices {
		e := s.Adapter.Edits(devices[i : i+1])
		for _, n := range devices[i].Nodes {
			if !slices.ContainsFunc(e.Nodes, func(o device.Node) bool { return o.Path == n.Path }) {
				t.Errorf("%s: a container lacks %s", devices[i].Name, n.Path)
			}
		}
		for j := range devices {
			if i == j {
				continue
			}
			for _, n := range devices[j].Nodes {
				own := slices.ContainsFunc(devices[i].Nodes, func(o device.Node) bool { return o.Path == n.Path })
				if !n.Shared && !own && slices.ContainsFunc(e.Nodes, func(o device.Node) bool { return o.Path == n.Path }) {
					t.Errorf("a container with %s is given %s, which is %s's", devices[i].Name, n.Path, devices[j].Name)
				}
			}
		}
	}
}

func (s Suite) outputs(t *testing.T) {
	r, ok := s.Adapter.(device.Reader)
	if !ok {
		if len(s.Outputs) > 0 {
			t.Error("there are outputs, but the adapter reads none")
		}
		return
	}
	if len(s.Outputs) == 0 {
		t.Error("the adapter reads outputs, but the suite has none")
	}
	if _, err := r.Read([]byte("hello")); !errors.Is(err, device.ErrFormat) {
		t.Errorf("reading what is no output gives %v, not ErrFormat", err)
	}
	for i, out := range s.Outputs {
		devices, err := r.Read(out)
		if err != nil || len(devices) == 0 {
			t.Errorf("output %d: %d devices, error %v", i, len(devices), err)
		}
		device.Names(devices)
		for j := range devices {
			check(t, &devices[j])
		}
		for _, n := range []int{0, 1, len(out) / 3, len(out) / 2, len(out) - 1} {
			_, _ = r.Read(out[:max(0, n)])
		}
	}
}

// messages looks that what is heard is a whole fault of a whole address, and that
// nothing is heard where a program or a user put the same words.
func (s Suite) messages(t *testing.T) {
	l, ok := s.Adapter.(device.Listener)
	if ok != (len(s.Messages) > 0) {
		t.Fatalf("an adapter that is a Listener: %v; messages: %d", ok, len(s.Messages))
	}
	for _, m := range s.Messages {
		h, ok := l.Hear(m)
		again, _ := l.Hear(m)
		if !ok || h != again {
			t.Errorf("%q: heard %v, %+v and then %+v", m, ok, h, again)
		}
		if a, is := device.Address(h.Address); h.Address != "" && (!is || a != h.Address) {
			t.Errorf("%q: the address %q is not in its one form", m, h.Address)
		}
		if f := h.Fault; f.Code != "" && (f.Message == "" || f.State != device.Failed && f.State != device.Degraded || h.Address == "") {
			t.Errorf("%q: the fault is not whole: %+v at %q", m, f, h.Address)
		}
		for _, before := range []string{"python3[9]: ", "usb 1-1: Product: x\n", " "} {
			if h, ok := l.Hear(before + m); ok {
				t.Errorf("%q is believed: %+v", before+m, h)
			}
		}
		for n := range len(m) {
			_, _ = l.Hear(m[:n])
		}
	}
}

package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/gpustack"
	"polder.dev/polder/device/kernlog"
)

// adapterTime is what one adapter may take in all, programs and files together.
const adapterTime = 20 * time.Second

// Run asks all adapters at once and returns what they found, with what the
// catalogue knows of it, named and in order. On a live machine, what the kernel's log
// holds of faults is part of it.
func Run(ctx context.Context, h *device.Host, adapters []device.Adapter) device.Inventory {
	if !h.Live {
		return look(ctx, h, adapters)
	}
	l := newLedger(adapters)
	deaf := l.replay()
	v := look(ctx, h, adapters)
	l.settle(v.Devices, l.now())
	for i := range v.Devices {
		l.tell(&v.Devices[i])
	}
	if deaf != nil && l.concerns(v.Devices) {
		v.Problems = append(v.Problems, device.Problem{Where: kernlog.File,
			What: "cannot be read, so faults that drivers only write there are not known; root may read it"})
	}
	return v
}

// look is Run without the log.
func look(ctx context.Context, h *device.Host, adapters []device.Adapter) device.Inventory {
	ctx, cancel := context.WithTimeout(ctx, adapterTime)
	defer cancel()
	answers := make([]chan answer, len(adapters))
	for i, a := range adapters {
		answers[i] = make(chan answer, 1) // so that one who answers too late can end
		go ask(answers[i], func() ([]device.Device, error) { return a.Discover(ctx, h) })
	}
	var v device.Inventory
	for i, a := range adapters {
		got := await(ctx, answers[i])
		by(a, got.devices)
		v.Devices = append(v.Devices, got.devices...)
		v.Problems = append(v.Problems, problems(a.Name(), got.err)...)
	}
	finish(&v)
	return v
}

// Read returns the devices that a saved inventory or output of a vendor's program
// tells of, the latter by the first adapter that understands it. It returns an error
// that wraps device.ErrFormat if nobody does.
func Read(output []byte, adapters []device.Adapter) (device.Inventory, error) {
	v, wrong := readInventory(output)
	if wrong == nil {
		return v, nil
	}
	for _, a := range adapters {
		r, ok := a.(device.Reader)
		if !ok {
			continue
		}
		devices, err := r.Read(output)
		if errors.Is(err, device.ErrFormat) {
			continue
		}
		by(a, devices)
		v.Devices, v.Problems = devices, problems(a.Name(), err)
		finish(&v)
		return v, nil
	}
	if devices, err := gpustack.Read(output); !errors.Is(err, device.ErrFormat) {
		v.Devices, v.Problems = devices, problems("gpustack", err)
		finish(&v)
		return v, nil
	}
	return v, wrong
}

func by(a device.Adapter, devices []device.Device) {
	for i := range devices {
		devices[i].Adapter = a.Name()
	}
}

type answer struct {
	devices []device.Device
	err     error
}

// ask has an adapter answer, which may panic, and never return.
func ask(to chan<- answer, question func() ([]device.Device, error)) {
	var got answer
	defer func() {
		if r := recover(); r != nil {
			got.err = errors.Join(got.err, device.Problem{What: fmt.Sprintf("the adapter failed (%v); its devices are not known", r)})
		}
		to <- got
	}()
	got.devices, got.err = question()
}

// await gives an adapter that does not heed ctx a moment more, then goes on.
func await(ctx context.Context, from <-chan answer) answer {
	select {
	case got := <-from:
		return got
	case <-ctx.Done():
	}
	select {
	case got := <-from:
		return got
	case <-time.After(toolWait + 500*time.Millisecond):
		return answer{err: device.Problem{What: fmt.Sprintf("did not answer within %v; its devices are not known", adapterTime)}}
	}
}

// problems takes an error apart.
func problems(adapter string, err error) []device.Problem {
	var many interface{ Unwrap() []error }
	if err == nil {
		return nil
	}
	if errors.As(err, &many) {
		var out []device.Problem
		for _, e := range many.Unwrap() {
			out = append(out, problems(adapter, e)...)
		}
		return out
	}
	var p device.Problem
	if !errors.As(err, &p) {
		p = device.Problem{What: err.Error()}
	}
	p.Adapter = adapter
	return []device.Problem{p}
}

// finish makes an inventory of what adapters said: complete, named, each device
// with a UUID of its own.
func finish(v *device.Inventory) {
	for i := range v.Devices {
		catalogue.Fill(&v.Devices[i])
	}
	device.Names(v.Devices)
	seen := map[string]string{}
	for i := range v.Devices {
		d := &v.Devices[i]
		if other, twice := seen[d.UUID]; twice {
			v.Problems = append(v.Problems, device.Problem{Adapter: d.Vendor, Where: d.Name,
				What: fmt.Sprintf("has the same UUID as %s, %s; it is told apart by its name", other, d.UUID)})
			d.UUID += "/" + d.Name
			d.Note(device.Origin{From: "place in the machine"}, "uuid")
		}
		seen[d.UUID] = d.Name
		if d.Health.State == "" {
			d.Health.State = device.Unknown
		}
	}
	slices.SortStableFunc(v.Problems, func(a, b device.Problem) int {
		if a.Adapter != b.Adapter {
			return strings.Compare(a.Adapter, b.Adapter)
		}
		return strings.Compare(a.Where, b.Where)
	})
}

// Formats names the outputs that [Read] understands.
func Formats() []string {
	return []string{"an inventory by `polder devices -o json`", "nvidia-smi -q -x", "nvidia-smi -L", "polder-nvml", "rocm-smi -a --json", "xpu-smi discovery -j",
		"hl-smi -Q ... -f csv", "hy-smi --json", "npu-smi info", "ixsmi -q -x", "neuron-ls -j", "efsmi -q", "xpu-smi -q", "ppu-smi -q", "rbln-stat -j", "furiosa-smi info --format json", "gpustack-runtime detect --format json"}
}

// Package gpustack reads what the detector of GPUStack printed on a machine, with
// `gpustack-runtime detect --format json` and `topology --format json`: one format
// for the devices of many vendors, which it reads from their libraries. Package
// discovery uses it for saved outputs. It is a format and not a vendor, so there is
// no adapter here, and nothing here looks at a machine.
//
// It does not believe all that is printed. Counts of cores are cores of different
// sorts, by vendor and version; they are taken over for vendors that have one sort.
// "healthy" is also printed by a detector that was told not to look, which is how it
// comes; it is taken over with its origin.
//
// The format was read in GPUStack's source and in its samples, of which some are
// captures and some are put together by hand: the README beside them says which.
package gpustack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"polder.dev/polder/device"
)

// origin is where all comes from that is read here.
var origin = device.Origin{From: "gpustack-runtime"}

// outputBytesMax and devicesMax bound what is read.
const (
	outputBytesMax = 16 << 20
	devicesMax     = 1024
)

// maker is what a word for a manufacturer means here.
type maker struct {
	vendor   string
	kind     device.Kind
	software string
	// fabric joins the vendor's devices.
	fabric string
	// cores says that its cores are units of computing of one sort.
	cores bool
}

var makers = map[string]maker{
	"amd":       {"amd", device.GPU, "rocm", "xgmi", true},
	"ascend":    {"huawei", device.NPU, "cann", "hccs", true},
	"cambricon": {"cambricon", device.NPU, "neuware", "mlulink", false},
	"hygon":     {"hygon", device.GPU, "dtk", "", true},
	"iluvatar":  {"iluvatar", device.GPU, "corex", "", false},
	"metax":     {"metax", device.GPU, "maca", "metaxlink", false},
	"mthreads":  {"moorethreads", device.GPU, "musa", "mtlink", false},
	"nvidia":    {"nvidia", device.GPU, "cuda", "nvlink", false},
	"thead":     {"thead", device.GPU, "ppu", "", false},
}

// Read returns the devices that an output of `gpustack-runtime detect --format json`
// tells of. It returns an error that wraps device.ErrFormat if it is no such output.
// A card that is cut into MIG instances is not a device itself: they are, in its
// place. Another error comes with devices, and tells of those left out.
func Read(output []byte) ([]device.Device, error) {
	var entries []entry
	if err := decode(output, &entries); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Manufacturer == "" || e.Index == nil {
			return nil, fmt.Errorf("%w of GPUStack's detector: a device lacks manufacturer or index", device.ErrFormat)
		}
	}
	var out []device.Device
	var errs []error
	at := map[string]int{} // how many at an address
	for i := range entries {
		e := &entries[i]
		m, known := makers[e.Manufacturer]
		if !known {
			errs = append(errs, device.Problem{Where: fmt.Sprintf("device %d", i), What: fmt.Sprintf("is of the manufacturer %.40q, which is not known; it is left out", e.Manufacturer)})
			continue
		}
		for _, d := range e.devices(m) {
			if len(out) == devicesMax {
				return out, errors.Join(append(errs, device.Problem{What: fmt.Sprintf("only the first %d devices are read", devicesMax)})...)
			}
			if d.PCI != nil {
				d.Ordinal = at[d.PCI.Address]
				at[d.PCI.Address]++
			}
			out = append(out, d)
		}
	}
	return out, errors.Join(errs...)
}

// decode reads a list of objects. Something that is no list, or an empty one, is of
// another format.
func decode[T any](output []byte, list *[]T) error {
	output = bytes.TrimSpace(output)
	if len(output) == 0 || output[0] != '[' || len(output) > outputBytesMax {
		return fmt.Errorf("%w of GPUStack's detector", device.ErrFormat)
	}
	if err := json.Unmarshal(output, list); err != nil {
		return fmt.Errorf("%w of GPUStack's detector: %w", device.ErrFormat, err)
	}
	if len(*list) == 0 {
		return fmt.Errorf("%w of GPUStack's detector: it is empty", device.ErrFormat)
	}
	return nil
}

// plain is text that may be empty but is not "null" or the like.
func plain(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(s, ""))
	if len(s) > 256 || strings.EqualFold(s, "n/a") || strings.EqualFold(s, "unknown") {
		return ""
	}
	return s
}

package thead

import (
	"context"
	"errors"
	"fmt"

	"polder.dev/polder/device"
	"polder.dev/polder/device/outline"
	"polder.dev/polder/device/smi"
)

// program is ppu-smi. Boards with several PPUs give all of them one serial number, so it
// makes no UUID. HGGC is what programs are written for, in the newest version that the
// driver serves.
var program = smi.Like("PPU", smi.Program{
	Name: "ppu-smi", Run: run, Family: &family, Product: "PPU",
	Texts:  map[string][]string{"driver.firmware": {"VBIOS Version"}},
	Head:   map[string]string{"driver.stack": "HGGC Version"},
	Meters: meters,
	Costs:  "serial numbers, memory and health", Remedy: "install it with the PPU SDK",
	Files: "alixpu_ppu", Control: []string{"/dev/alixpu", "/dev/alixpu_ctl"},
})

// libraries is where the SDK keeps what ppu-smi is linked with. It is not on the
// system's list of such places everywhere.
const libraries = "LD_LIBRARY_PATH=/usr/local/PPU_SDK/lib64:/usr/local/PPU_SDK/lib"

func run(ctx context.Context, h *device.Host) ([]byte, error) {
	out, err := h.Run(ctx, "ppu-smi", "-q")
	if err != nil && !errors.Is(err, device.ErrNoTool) && ctx.Err() == nil {
		if again, err2 := h.Run(ctx, "env", libraries, "/usr/local/bin/ppu-smi", "-q"); err2 == nil {
			return again, nil
		}
	}
	return out, err
}

func meters(l *outline.Line) (device.Health, *device.Reading) {
	r := smi.Meters(l, "PPU")
	r.Errors = smi.Errors(l, map[string]string{"SRAM Uncorrectable": "sram-ecc-uncorrected", "DRAM Uncorrectable": "memory-ecc-uncorrected"})
	var faults []device.Fault
	for _, e := range []struct{ code, what string }{{"sram-ecc-uncorrected", "on-chip memory"}, {"memory-ecc-uncorrected", "memory"}} {
		if n := r.Errors[e.code]; n > 0 {
			faults = append(faults, device.Fault{Code: e.code, Message: fmt.Sprintf("its %s had %d uncorrected errors since it was started", e.what, n), State: device.Degraded})
		}
	}
	if l.Text("Remapped Rows", "Remapping Failure Occurred") == "Yes" {
		faults = append(faults, device.Fault{Code: "row-remap-failed", Message: "bad rows of its memory could not be replaced; have the card changed", State: device.Failed})
	}
	if r.Errors == nil && len(faults) == 0 {
		return device.Health{State: device.Unknown}, r
	}
	return device.Of(faults...), r
}

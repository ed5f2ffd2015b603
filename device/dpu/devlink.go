package dpu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"polder.dev/polder/device"
)

// program is of iproute2. Its output with -j is that of iproute2's devlink.c.
const program = "devlink"

// reportersMax bounds what is kept of one function. Drivers have a dozen.
const reportersMax = 256

// answers are what devlink said.
type answers struct {
	info   map[string]info
	health map[string][]reporter
}

// info is what "devlink -j dev info" says of a function.
type info struct {
	Serial      string `json:"serial_number"`
	BoardSerial string `json:"board.serial_number"`
	Versions    struct {
		Running map[string]string `json:"running"`
	} `json:"versions"`
}

// reporter is one of those that "devlink -j health show" lists: State is "healthy" or
// "error", and Error counts since the driver was loaded.
type reporter struct {
	Name  string `json:"reporter"`
	State string `json:"state"`
	Error uint64 `json:"error"`
}

// ask runs devlink. Machines without it lack serial numbers and what reporters say,
// and nothing that a card is used for.
func ask(ctx context.Context, h *device.Host) (*answers, error) {
	told := &answers{}
	if h.Run == nil {
		return told, nil
	}
	out, err := h.Run(ctx, program, "-j", "dev", "info")
	if errors.Is(err, device.ErrNoTool) {
		return told, nil
	}
	if err == nil {
		told.info, err = parseInfo(out)
	}
	var errs []error
	if err != nil {
		errs = append(errs, device.Problem{Where: program, What: fmt.Sprintf("does not tell of devices (%v); serial numbers of DPUs are not known", err)})
	}
	if out, err = h.Run(ctx, program, "-j", "health", "show"); err == nil {
		told.health, err = parseHealth(out)
	}
	if err != nil {
		errs = append(errs, device.Problem{Where: program, What: fmt.Sprintf("does not tell of health (%v); faults of DPUs are not seen", err)})
	}
	return told, errors.Join(errs...)
}

// parseInfo reads {"info": {"pci/0000:82:00.0": {...}}}, by address.
func parseInfo(out []byte) (map[string]info, error) {
	var all struct {
		Info map[string]info `json:"info"`
	}
	if err := decode(out, &all); err != nil {
		return nil, err
	}
	return byAddress(all.Info), nil
}

// parseHealth reads {"health": {"pci/0000:82:00.0": [{...}]}}, by address. What
// reporters say of one port, "pci/0000:82:00.0/1", counts for the function.
func parseHealth(out []byte) (map[string][]reporter, error) {
	var all struct {
		Health map[string][]reporter `json:"health"`
	}
	if err := decode(out, &all); err != nil {
		return nil, err
	}
	found := map[string][]reporter{}
	for _, handle := range slices.Sorted(maps.Keys(all.Health)) {
		reporters := all.Health[handle]
		parts := strings.Split(handle, "/")
		if a, ok := address(strings.Join(parts[:min(len(parts), 2)], "/")); ok && len(parts) <= 3 && len(found[a])+len(reporters) <= reportersMax {
			found[a] = append(found[a], reporters...)
		}
	}
	return found, nil
}

// decode reads JSON. Nothing is what devlink prints where no driver supports it.
func decode(out []byte, into any) error {
	if strings.TrimSpace(string(out)) == "" {
		return nil
	}
	return json.Unmarshal(out, into)
}

func byAddress[T any](m map[string]T) map[string]T {
	out := make(map[string]T, len(m))
	for handle, v := range m {
		if a, ok := address(handle); ok {
			out[a] = v
		}
	}
	return out
}

func address(handle string) (string, bool) {
	rest, ok := strings.CutPrefix(handle, "pci/")
	if !ok {
		return "", false
	}
	return device.Address(rest)
}

// own is what devlink said of one function.
type own struct {
	info
	reporters []reporter
}

func (a *answers) of(f *device.Function) own { return own{a.info[f.Address], a.health[f.Address]} }

// serial is the board's, else the chip's; they are unique per card, not per function.
func (o own) serial() string {
	if s := word(o.BoardSerial); s != "" {
		return s
	}
	return word(o.Serial)
}

// firmware is the version of all there is, by the names that drivers give it
// (Documentation/networking/devlink/devlink-info, mlx5, ionic).
func (o own) firmware() string {
	for _, name := range []string{"fw", "fw.version"} {
		if v := word(o.Versions.Running[name]); v != "" {
			return v
		}
	}
	return ""
}

// faults are the reporters that see an error now. One that calls itself fatal means
// it (mlx5: fw_fatal).
func (o own) faults() []device.Fault {
	var out []device.Fault
	for _, r := range o.reporters {
		name := strings.ReplaceAll(strings.ToLower(word(r.Name)), "_", "-")
		if r.State != "error" || name == "" {
			continue
		}
		state := device.Degraded
		if strings.HasSuffix(name, "fatal") {
			state = device.Failed
		}
		code := strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' {
				return c
			}
			return -1
		}, "health-"+name)
		out = append(out, device.Fault{Code: code, Message: fmt.Sprintf("its driver reports an error of %s, %d so far", r.Name, r.Error), State: state})
	}
	return out
}

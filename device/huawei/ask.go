package huawei

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"polder.dev/polder/device"
)

// program asks npu-smi. After a failure that concerns all further questions of a
// kind, there is one problem for all.
type program struct {
	ctx  context.Context
	h    *device.Host
	r    *report
	errs []error
	said map[string]bool
}

// ask runs npu-smi for all that a report holds. The questions whose answers matter
// most come first, as time may run out.
func ask(ctx context.Context, h *device.Host) (*report, []error) {
	p := &program{ctx: ctx, h: h, r: newReport(), said: map[string]bool{}}
	if h.Run == nil {
		return p.r, []error{device.Problem{Where: "npu-smi", What: "cannot be run on a copy of a machine; memory, serial numbers, health, links and device files are not known. Save the output of `npu-smi info` and of `npu-smi info -m` to have some of them"}}
	}
	const lost = "memory, serial numbers, health, links and device files are not known"
	p.run("table", lost, "info")
	p.run("mapping", "numbers of chips are not known", "info", "-m")
	if len(p.r.chips) == 0 {
		if len(p.errs) == 0 {
			p.errs = append(p.errs, device.Problem{Where: "npu-smi info", What: "lists no NPU in a form that is known; " + lost})
		}
		return p.r, p.errs
	}
	p.physical()
	for _, c := range p.r.sorted() {
		p.run("board", "the UUID and the firmware are not known", append([]string{"info", "-t", "board"}, p.of(c)...)...)
		if c.memory <= 0 {
			p.run("usages", "the memory is not known", append([]string{"info", "-t", "usages"}, p.of(c)...)...)
		}
	}
	if len(p.r.chips) > 1 {
		p.run("topo", "which chips are joined is not known", "info", "-t", "topo")
	}
	p.health()
	return p.r, p.errs
}

// of names a chip on the command line. Where cards have no chips the option -c is
// refused.
func (p *program) of(c *chip) []string {
	if p.r.flat {
		return []string{"-i", strconv.Itoa(c.npu)}
	}
	return []string{"-i", strconv.Itoa(c.npu), "-c", strconv.Itoa(c.chip)}
}

// run asks one question and adds the answer to the report. A kind of question that
// fails is not asked again, and its cost is told once.
func (p *program) run(kind, cost string, args ...string) bool {
	if p.said[kind] || p.said["all"] {
		return false
	}
	out, err := p.h.Run(p.ctx, "npu-smi", args...)
	if err == nil {
		p.r.also(string(out), args...)
		return true
	}
	p.said[kind] = true
	if errors.Is(err, device.ErrNoTool) {
		p.said["all"] = true
		err = fmt.Errorf("%w; install the driver package, which has it", err)
	}
	if p.ctx.Err() != nil {
		p.said["all"] = true
	}
	p.errs = append(p.errs, device.Problem{Where: "npu-smi", What: fmt.Sprintf("%v. What this costs: %s", err, cost)})
	return false
}

// physical learns the numbers of the device files, where no table had them: it asks
// of each file which chip it is.
func (p *program) physical() {
	var files []int
	missing := false
	for _, c := range p.r.sorted() {
		missing = missing || c.physical < 0
		if c.logic >= 0 {
			files = append(files, c.logic)
		}
	}
	if !missing {
		return
	}
	if found := numbers(p.h); len(found) > 0 {
		files = found
	}
	for _, n := range files {
		p.run("phyid-remap", "the device files are not known", "info", "-t", "phyid-remap", "-p", strconv.Itoa(n))
	}
}

// health asks for the codes of what is wrong with chips that are not well.
func (p *program) health() {
	for _, c := range p.r.sorted() {
		if state, asked := levels[c.health]; asked && state != device.Healthy && c.values["Error Code"] == "" {
			p.run("health", "the codes of faults are not known", append([]string{"info", "-t", "health"}, p.of(c)...)...)
		}
	}
}

package nvidia

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// smi is the vendor's program, which is asked where our helper cannot ask NVML.
const smi = "nvidia-smi"

// answer is what NVML or nvidia-smi said.
type answer struct {
	log smiLog
	// list tells what cards and instances are called, as `nvidia-smi -L` does.
	list []listed
	// cells are those of the matrix of `nvidia-smi topo -m`, by the cards' indices.
	cells map[[2]int]string
	// speed of one NVLink of a card by its index, in bytes per second; NVML's alone.
	speed map[int]int64
	// lost are the cards that could not be reached, by PCI address, and why.
	lost map[string]string
	// unreached is why cards could not be reached of which NVML does not say where.
	unreached []string
	errs      []error
}

// listed is a card as `nvidia-smi -L`, or who from names, lists it.
type listed struct {
	from          string
	index         int
	product, uuid string
	parts         []listedPart
}

// listedPart is a MIG instance of it.
type listedPart struct {
	index         int
	profile, uuid string
}

// ask asks NVML, and nvidia-smi if that cannot be asked.
func ask(ctx context.Context, h *device.Host) *answer {
	a := askNVML(ctx, h)
	if len(a.log.cards) > 0 {
		a.nameParts(ctx, h)
		return a
	}
	b := askSMI(ctx, h)
	b.errs = append(a.errs, b.errs...)
	return b
}

// askNVML runs our helper. Without it nothing is said; that it fails, hangs or talks
// nonsense is a problem, but costs only the time.
func askNVML(ctx context.Context, h *device.Host, args ...string) *answer {
	a := &answer{}
	if h.Run == nil {
		return a
	}
	out, err := h.Run(ctx, helper, args...)
	switch {
	case errors.Is(err, device.ErrNoTool):
		return a
	case err == nil:
		if got, bad := parseNVML(out); bad != nil {
			err = bad
		} else if len(got.log.cards) == 0 {
			err = fmt.Errorf("it reaches no GPU %v", got.unreached)
		} else {
			return got
		}
	}
	a.errs = append(a.errs, device.Problem{Where: nvml, What: fmt.Sprintf("cannot be asked (%v), so nvidia-smi was asked", err)})
	return a
}

// nameParts asks nvidia-smi for the profiles of MIG instances that NVML has no names
// for, as it has not before driver 470.
func (a *answer) nameParts(ctx context.Context, h *device.Host) {
	named := a.list
	for _, l := range named {
		if slices.ContainsFunc(l.parts, func(p listedPart) bool { return p.profile == "" }) {
			if a.askList(ctx, h, true); len(a.list) == 0 {
				a.list = named
			}
			return
		}
	}
}

// askSMI runs nvidia-smi: once, and if there are several cards or instances, for the
// list of them and the links between them.
func askSMI(ctx context.Context, h *device.Host) *answer {
	a := &answer{}
	out, err := run(ctx, h, "-q", "-x")
	a.lost = parseLost(out, err)
	if errors.Is(err, device.ErrNoTool) {
		a.problem("cannot be run here, so memory comes from the catalogue, and serial numbers, MIG instances, links between cards and health are not known; install it, or read its saved output")
		return a
	}
	var bad error
	a.log, bad = parseLog(out)
	switch {
	case len(a.log.cards) == 0:
		a.problem(fmt.Sprintf("says nothing that can be read (%s), so memory comes from the catalogue, and serial numbers, MIG instances, links and health are not known; run nvidia-smi -q -x to see why", excuse(out, err, bad)))
		return a
	case err != nil || bad != nil:
		a.problem(fmt.Sprintf("ended with an error (%s); of cards that it did not come to, memory and health are not known", excuse(nil, err, bad)))
	}
	several, split := len(a.log.cards) > 1, false
	for _, c := range a.log.cards {
		split = split || c.split()
	}
	if several || split {
		a.askList(ctx, h, split)
	}
	if several {
		a.askLinks(ctx, h)
	}
	return a
}

func (a *answer) askList(ctx context.Context, h *device.Host, split bool) {
	out, err := run(ctx, h, "-L")
	if a.list = parseList(string(out)); len(a.list) == 0 && split {
		a.problem(fmt.Sprintf("-L lists nothing (%s), so the profiles of MIG instances are not known", excuse(out, err, nil)))
	}
}

func (a *answer) askLinks(ctx context.Context, h *device.Host) {
	out, err := run(ctx, h, "topo", "-m")
	if a.cells = parseMatrix(string(out)); len(a.cells) == 0 {
		a.problem(fmt.Sprintf("topo -m shows no matrix (%s), so links between cards are not known", excuse(out, err, nil)))
	}
}

func (a *answer) problem(what string) {
	a.errs = append(a.errs, device.Problem{Where: a.log.source(), What: what})
}

func run(ctx context.Context, h *device.Host, args ...string) ([]byte, error) {
	if h.Run == nil {
		return nil, device.ErrNoTool
	}
	return h.Run(ctx, smi, args...)
}

// excuse is why an output is of no use: what the program itself said first, such as
// "Failed to initialize NVML: Driver/library version mismatch", else what failed.
func excuse(out []byte, errs ...error) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
	err := first(errs)
	if s := strings.TrimSpace(string(line)); err != nil && s != "" && !strings.HasPrefix(s, "<") {
		return strconv.Quote(s[:min(len(s), 120)])
	}
	if err != nil {
		return err.Error()
	}
	return "it is empty"
}

// first is the first error there is.
func first(errs []error) error {
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

// lostForm is what nvidia-smi prints of a card that it cannot reach. Versions differ
// in what stands before the address.
var lostForm = regexp.MustCompile(`Unable to determine the device handle for (?i:gpu) ?(?:[0-9]{1,4}: )?([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]): ([^\r\n]{1,100})`)

// parseLost finds the cards that nvidia-smi says it cannot reach, in its output and
// in what it complains of.
func parseLost(out []byte, err error) map[string]string {
	text := string(out[:min(len(out), outputMax)])
	if err != nil {
		text += "\n" + err.Error()
	}
	lost := map[string]string{}
	for _, m := range lostForm.FindAllStringSubmatch(text, cardsMax) {
		if address, ok := device.Address(m[1]); ok {
			lost[address] = m[2]
		}
	}
	return lost
}

var (
	listForm = regexp.MustCompile(`^\s*GPU ([0-9]{1,4}): (.{1,200}) \(UUID: (GPU-[^ )]{1,90})\)$`)
	// partForm also fits drivers before 470, whose instances have no UUID of their
	// own but are called MIG-GPU-UUID/3/0.
	partForm = regexp.MustCompile(`^\s*MIG ([^ ]{1,60})\s+Device\s+([0-9]{1,4}): \(UUID: (MIG-[^ )]{1,90})\)$`)
)

// parseList reads the output of `nvidia-smi -L`, or the lines of it that are among
// others. Other commands begin with the same lines, so of a card only the first counts.
func parseList(text string) []listed {
	var out []listed
	seen := map[string]bool{}
	var at *listed
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		if m := listForm.FindStringSubmatch(line); m != nil {
			if at = nil; !seen[m[1]] && len(out) < cardsMax {
				seen[m[1]] = true
				out = append(out, listed{from: smi, index: index(m[1]), product: m[2], uuid: identity(m[3])})
				at = &out[len(out)-1]
			}
		} else if m := partForm.FindStringSubmatch(line); m != nil && at != nil && len(at.parts) < partsMax {
			at.parts = append(at.parts, listedPart{index: index(m[2]), profile: m[1], uuid: identity(m[3])})
		}
	}
	return out
}

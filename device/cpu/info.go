package cpu

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// cpusMax bounds how many processors are looked at, and the numbers they may have.
// It is what Linux can be built for.
const cpusMax = 8192

// wordMax is the most that is kept of one value. Names of models have 48 letters.
const wordMax = 128

// processor is what proc/cpuinfo says of one logical processor. What it does not say
// is empty; a socket and core that are not told are -1.
type processor struct {
	make, model       string // x86: "GenuineIntel" and the name of the model
	implementer, part string // Arm: "0x41" and "0xd4f"
	microcode         string
	words             string // the instruction sets, as the kernel lists them
	features          []string
	isa               string // RISC-V: "rv64imafdc"
	socket, core      int
}

// instructions are the sets that programs for models ask for, by the kernel's names:
// first those of x86, then those of Arm.
var instructions = []string{
	"avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16",
	"amx_tile", "amx_int8", "amx_bf16", "amx_fp16",
	"asimd", "fphp", "asimdhp", "asimddp", "sve", "sve2", "i8mm", "bf16", "svei8mm", "svebf16", "sme", "sme2",
}

// parse reads proc/cpuinfo: a block of "key : value" for each processor that is
// online. It returns them by their number.
func parse(text []byte) map[int]processor {
	out := map[int]processor{}
	number, p := -1, blank()
	known := map[string][]string{} // nearly always all processors list the same
	keep := func() {
		if number >= 0 && number < cpusMax {
			f, ok := known[p.words]
			if !ok {
				f = features(p.words)
				known[p.words] = f
			}
			p.features = f
			out[number] = p
		}
		number, p = -1, blank()
	}
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !ok && key == "":
			keep()
		case key == "processor":
			if number >= 0 {
				keep()
			}
			number = natural(value)
		case ok:
			p.set(key, value)
		}
	}
	keep()
	return out
}

func blank() processor { return processor{socket: -1, core: -1} }

func (p *processor) set(key, value string) {
	switch key {
	case "flags", "Features":
		p.words = value
		return
	case "physical id":
		p.socket = natural(value)
		return
	case "core id":
		p.core = natural(value)
		return
	}
	value = strings.Join(strings.Fields(strings.ToValidUTF8(value[:min(len(value), wordMax)], "")), " ")
	switch key {
	case "vendor_id":
		p.make = value
	case "model name":
		p.model = value
	case "uarch", "cpu": // RISC-V, POWER
		p.model = cmp.Or(p.model, value)
	case "CPU implementer":
		p.implementer = value
	case "CPU part":
		p.part = value
	case "isa":
		p.isa = value
	case "microcode":
		if value != "0xffffffff" { // what hypervisors say instead
			p.microcode = value
		}
	}
}

// natural reads a number from 0 on; -1 if it is none.
func natural(s string) int {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return -1
	}
	return int(n)
}

// features are those of instructions that are among words, in their order.
func features(words string) []string {
	have := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		have[w] = true
	}
	var out []string
	for _, f := range instructions {
		if have[f] {
			out = append(out, f)
		}
	}
	return out
}

// vendor is the slug of who made it: by the name that x86 processors give, by the
// number that Arm's give (MIDR_EL1).
func (p *processor) vendor() string {
	slug := map[string]string{
		"GenuineIntel": "intel", "AuthenticAMD": "amd", "HygonGenuine": "hygon",
		"0x41": "arm", "0x4e": "nvidia", "0xc0": "ampere", "0x48": "huawei",
	}
	return cmp.Or(slug[p.make], slug[p.implementer], "unknown-cpu")
}

// architecture in Go's words; "" if cpuinfo does not show it.
func (p *processor) architecture() string {
	words := " " + p.words + " "
	switch {
	case p.implementer != "" && strings.Contains(words, " asimd "):
		return "arm64"
	case strings.Contains(words, " lm "): // long mode
		return "amd64"
	case strings.HasPrefix(p.isa, "rv64"):
		return "riscv64"
	}
	return ""
}

// product is the name of the model. Arm's processors give numbers in its place; a
// socket may have several.
func product(own []processor) string {
	var parts []string
	for _, p := range own {
		if p.model != "" {
			return p.model
		}
		if p.part != "" && !slices.Contains(parts, p.part) && len(parts) < 4 {
			parts = append(parts, p.part)
		}
	}
	slices.Sort(parts)
	switch len(parts) {
	case 0:
		return ""
	case 1:
		return "Arm part " + parts[0]
	}
	return "Arm parts " + strings.Join(parts, ", ")
}

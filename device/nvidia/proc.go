package nvidia

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// procDir is where the driver tells of itself. What is in its files is in the
// driver's source: kernel-open/nvidia/nv-procfs.c and nv-caps.c.
const procDir = "proc/driver/nvidia"

// information is the driver's file of that name of one GPU.
type information struct {
	// model, uuid and bios are "" until the GPU was used once, unless the
	// persistence daemon runs: then the driver writes question marks.
	model, uuid, bios string
	// minor is the number of its device file, -1 if unknown.
	minor int
	// excluded: the driver was told to leave it alone.
	excluded bool
}

// informations reads the files of all GPUs, by PCI address.
func informations(h *device.Host) map[string]information {
	out := map[string]information{}
	for _, name := range h.Dir(procDir, "gpus") {
		address, ok := device.Address(name)
		if !ok || len(out) == cardsMax {
			continue
		}
		out[address] = parseInformation(h.String(procDir, "gpus", name, "information"))
	}
	return out
}

// parseInformation reads lines such as "Device Minor: \t 0".
func parseInformation(text string) information {
	i := information{minor: -1}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || strings.Contains(value, "??") {
			continue
		}
		switch strings.TrimSpace(key) {
		case "Model":
			i.model = word(value)
		case "GPU UUID":
			i.uuid = identity(value)
		case "Video BIOS":
			i.bios = word(value)
		case "Device Minor":
			i.minor = deviceNumber(value)
		case "GPU Excluded", "Blacklisted": // since 465, and before
			i.excluded = value == "Yes"
		}
	}
	return i
}

// identity is a UUID as the driver writes it, "" if s is none.
func identity(s string) string {
	s = strings.TrimSpace(s)
	if (strings.HasPrefix(s, "GPU-") || strings.HasPrefix(s, "MIG-")) && len(s) < 100 && !strings.ContainsAny(s, " \t\n?") {
		return s
	}
	return ""
}

// deviceNumber reads the minor number of a device file, -1 if s is none. Linux has
// 20 bits for it.
func deviceNumber(s string) int {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 20)
	if err != nil {
		return -1
	}
	return int(n)
}

// versionForm is a driver's version: "535.54.03", "565.77".
var versionForm = regexp.MustCompile(`^[0-9]{2,4}\.[0-9]{1,4}(\.[0-9]{1,4})?$`)

// driverVersion is that of the loaded driver, "" if it does not say.
func driverVersion(h *device.Host) string { return parseVersion(h.String(procDir, "version")) }

// parseVersion finds the version in "NVRM version: NVIDIA UNIX Open Kernel Module
// for x86_64  580.95.05  Release Build ...".
func parseVersion(text string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "NVRM version:"); ok {
			fields := strings.Fields(rest)
			if n := slices.IndexFunc(fields, versionForm.MatchString); n >= 0 {
				return fields[n]
			}
		}
	}
	return ""
}

// capabilities finds the device files that grant the use of MIG instances. They are
// told from each other by the number of the card's device file, not by its index.
type capabilities struct {
	h *device.Host
	// minors are the numbers of all that can be, read when first needed.
	minors map[string]int
}

// minor is the number of the device file of a capability, "gi3/access" or
// "gi3/ci0/access" of the card whose device file has the number card; -1 if unknown.
func (c *capabilities) minor(card int, name string) int {
	gpu := "gpu" + strconv.Itoa(card)
	text := c.h.String(procDir, "capabilities", gpu, "mig", name)
	if n := parseCapability(text); n >= 0 {
		return n
	}
	if c.minors == nil {
		c.minors = parseMinors(c.h.String("proc/driver/nvidia-caps/mig-minors"))
	}
	if n, ok := c.minors[path.Join(gpu, name)]; ok {
		return n
	}
	return -1
}

// parseCapability reads "DeviceFileMinor: 30" out of a capability's file.
func parseCapability(text string) int {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "DeviceFileMinor:"); ok {
			return deviceNumber(value)
		}
	}
	return -1
}

// parseMinors reads lines such as "gpu0/gi0/ci0/access 4". The driver has 8192
// numbers at most.
func parseMinors(text string) map[string]int {
	out := map[string]int{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if n := deviceNumber(value); ok && n >= 0 && len(out) < 8192 {
			out[name] = n
		}
	}
	return out
}

// instances lists the MIG instances of a card that exist, as the numbers of GPU
// instance and compute instance, in order.
func (c *capabilities) instances(card int) [][2]int {
	var out [][2]int
	dir := path.Join(procDir, "capabilities", "gpu"+strconv.Itoa(card), "mig")
	for _, gi := range numbered(c.h, dir, "gi") {
		for _, ci := range numbered(c.h, path.Join(dir, "gi"+strconv.Itoa(gi)), "ci") {
			if len(out) < partsMax {
				out = append(out, [2]int{gi, ci})
			}
		}
	}
	return out
}

// numbered lists the numbers of the entries of a directory that are called so, in
// order.
func numbered(h *device.Host, dir, prefix string) []int {
	var out []int
	for _, e := range h.Dir(dir) {
		if rest, ok := strings.CutPrefix(e, prefix); ok {
			if n := deviceNumber(rest); n >= 0 {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out
}

package huawei

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// key tells a chip: the number of its card, which npu-smi calls NPU ID, and its own
// number on the card.
type key struct{ npu, chip int }

// chip is what npu-smi said of one.
type chip struct {
	key
	// logic and physical are the numbers that programs and the driver give it; -1 if
	// not said.
	logic, physical int
	name, health    string
	// bus is its PCI address; "" if not said.
	bus string
	// memory and used in bytes, of HBM if there is any, else of DDR; -1 if not said.
	memory, used             int64
	power, temperature, busy *float64
	// values are the lines "key : value" about it.
	values map[string]string
	// verdict is made of all this.
	verdict device.Health
}

// report is all that npu-smi said.
type report struct {
	// version of the driver.
	version string
	chips   map[key]*chip
	// cards are the lines "key : value" about a card, where it did not say of which
	// chip.
	cards map[int]map[string]string
	// links are the words of the matrix of `npu-smi info -t topo`.
	links map[[2]label]string
	// listed says that chips were listed: then there are no others, and what is said
	// of others is about the controller of the card.
	listed map[key]bool
	// flat says that cards have no chips of their own (950): there the option -c is
	// refused.
	flat bool
}

// chipsMax bounds the chips of a machine. A server has 16, a rack of them 64.
const chipsMax = 256

func newReport() *report {
	return &report{chips: map[key]*chip{}, cards: map[int]map[string]string{}, links: map[[2]label]string{}, listed: map[key]bool{}}
}

// at returns the chip of that key, or nil if there are too many.
func (r *report) at(k key) *chip {
	c := r.chips[k]
	if c == nil && len(r.chips) < chipsMax {
		c = &chip{key: k, logic: -1, physical: -1, memory: -1, used: -1, values: map[string]string{}}
		r.chips[k] = c
	}
	return c
}

// finish drops what is no chip, and completes chips by the lines about them.
func (r *report) finish() {
	for k, c := range r.chips {
		if len(r.listed) > 0 && !r.listed[k] || strings.EqualFold(c.values["Chip Type"], "mcu") {
			delete(r.chips, k)
			continue
		}
		c.complete(r.cards[k.npu])
	}
}

// complete takes from the lines what tables did not say.
func (c *chip) complete(card map[string]string) {
	value := func(keys ...string) string {
		for _, k := range keys {
			for _, from := range []map[string]string{c.values, card} {
				if v := from[k]; v != "" && v != "NA" && v != "-" {
					return v
				}
			}
		}
		return ""
	}
	number := func(to **float64, keys ...string) {
		if n, err := strconv.ParseFloat(value(keys...), 64); *to == nil && err == nil && n >= 0 && n < 1e6 {
			*to = &n
		}
	}
	c.name = cmp.Or(c.name, value("Chip Name"))
	c.health = cmp.Or(c.health, value("Health Status"))
	if a, ok := device.Address(value("PCIe Bus Info")); ok && c.bus == "" {
		c.bus = a
	}
	for _, kind := range []string{"HBM", "DDR"} {
		if n, ok := mebibytes(value(kind + " Capacity(MB)")); ok && n > 0 && c.memory <= 0 {
			c.memory = n
			var rate *float64
			if number(&rate, kind+" Usage Rate(%)"); rate != nil && *rate <= 100 && c.used < 0 {
				c.used = int64(float64(n) * *rate / 100)
			}
		}
	}
	number(&c.busy, "Aicore Usage Rate(%)")
	number(&c.temperature, "Temperature(C)", "Temperature (C)", "NPU Temperature (C)")
	number(&c.power, "NPU Real-time Power(W)")
}

// mebibytes reads a size as npu-smi prints it. Its MB are MiB: a chip of 64 GiB has
// 65536.
func mebibytes(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n << 20, err == nil && n >= 0 && n < 1<<30
}

// sorted are the chips in the order of their numbers.
func (r *report) sorted() []*chip {
	return slices.SortedFunc(maps.Values(r.chips), func(a, b *chip) int {
		return cmp.Or(cmp.Compare(a.npu, b.npu), cmp.Compare(a.chip, b.chip))
	})
}

// id returns the number n, or -1 if s is none.
func id(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<16 {
		return -1
	}
	return n
}

package hwmon

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// sensorsMax is how many sensors of a kind are looked at; drivers number them from 1.
const sensorsMax = 32

// Sensors are the meters of one device.
type Sensors struct {
	h   *device.Host
	dir string
}

// Find returns the meters of the device whose files are in dir, a path without a
// leading slash. A driver may register several sets; names are those wanted, in order
// of preference ("xe", "i915"), and none means any. ok is false if there are none.
func Find(h *device.Host, dir string, names ...string) (s Sensors, ok bool) {
	entries := h.Dir(dir, "hwmon")
	if len(names) == 0 {
		for _, e := range entries {
			return Sensors{h, path.Join(dir, "hwmon", e)}, true
		}
	}
	for _, name := range names {
		for _, e := range entries {
			if at := path.Join(dir, "hwmon", e); h.String(at, "name") == name {
				return Sensors{h, at}, true
			}
		}
	}
	return Sensors{}, false
}

// Temperature is the first of the sensors with these labels, in degrees Celsius; nil
// if there is none.
func (s Sensors) Temperature(labels ...string) *float64 {
	for _, label := range labels {
		for n := 1; n <= sensorsMax; n++ {
			if s.text("temp", n, "label") == label {
				return s.Milli("temp", n, "input")
			}
		}
	}
	return nil
}

// Milli reads a number that hwmon keeps in thousandths, such as temp2_input: nil if
// there is none.
func (s Sensors) Milli(kind string, n int, what string) *float64 {
	return s.number(kind, n, what, 1e3, -1e9)
}

// Micro reads a number that hwmon keeps in millionths and that is not below zero, such
// as power1_average and energy1_input: nil if there is none.
func (s Sensors) Micro(kind string, n int, what string) *float64 {
	return s.number(kind, n, what, 1e6, 0)
}

// First is the first of the values that is known.
func First(values ...*float64) *float64 {
	i := slices.IndexFunc(values, func(v *float64) bool { return v != nil })
	if i < 0 {
		return nil
	}
	return values[i]
}

// Positive is v if it is above zero, else nil: zero is how drivers say that there is
// no limit.
func Positive(v *float64) *float64 {
	if v == nil || *v <= 0 {
		return nil
	}
	return v
}

func (s Sensors) number(kind string, n int, what string, unit, least float64) *float64 {
	v, err := strconv.ParseInt(s.text(kind, n, what), 10, 64)
	if err != nil || float64(v) < least {
		return nil
	}
	return new(float64(v) / unit)
}

func (s Sensors) text(kind string, n int, what string) string {
	if s.h == nil {
		return ""
	}
	return strings.TrimSpace(s.h.String(s.dir, fmt.Sprintf("%s%d_%s", kind, n, what)))
}

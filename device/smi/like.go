package smi

import (
	"cmp"
	"maps"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/outline"
)

// Like adds to p, as its room knows it, what is common to programs whose text is like
// that of `nvidia-smi -q`, with another word for the unit: "PPU".
func Like(unit string, p Program) Program {
	p.Heading = unit + " "
	if p.Card == nil {
		p.Card = func(l *outline.Line) (Card, bool) { return Part(l, unit) }
	}
	p.Lacks = cmp.Or(p.Lacks, unit+" with a UUID")
	p.Texts = with(p.Texts, map[string][]string{"product": {"Product Name"}, "uuid": {unit + " UUID"}, "serial": {"Serial Number"}})
	p.Head = with(p.Head, map[string]string{"driver.version": "Driver Version"})
	p.Memory = [][]string{{"Memory Usage", "Total"}}
	return p
}

func with[V any](m, more map[string]V) map[string]V {
	out := maps.Clone(more)
	maps.Copy(out, m)
	return out
}

// Part reads which card a part of such a text is about: "PPU 00000000:01:00.0". The
// number is the minor number of its file.
func Part(l *outline.Line, unit string) (c Card, ok bool) {
	c.Function.Address, ok = device.Address(strings.TrimPrefix(l.Key, unit+" "))
	if n := l.Count("Minor Number"); n != nil && *n < 1<<20 {
		c.Number = n
	}
	return c, ok && l.Text(unit+" UUID") != ""
}

// Meters reads the meters from a part of such a text.
func Meters(l *outline.Line, unit string) *device.Reading {
	return &device.Reading{
		Utilization: l.Share("Utilization", unit[:1]+strings.ToLower(unit[1:])),
		MemoryUsed:  l.Bytes("Memory Usage", "Used"),
		Temperature: l.Number([]string{"C"}, "Temperature", unit+" Current Temp"),
		Power:       l.Number([]string{"W"}, "Power Readings", "Power Draw"),
		PowerLimit:  l.Number([]string{"W"}, "Power Readings", "Enforced Power Limit"),
	}
}

// Errors reads from a part of such a text how often errors were counted since the
// driver was loaded. codes are by the text's keys; what it has no key for is left out.
func Errors(l *outline.Line, codes map[string]string) map[string]int64 {
	var out map[string]int64
	for key, code := range codes {
		if n := l.Count("ECC Errors", "Volatile", key); n != nil {
			if out == nil {
				out = map[string]int64{}
			}
			out[code] = *n
		}
	}
	return out
}

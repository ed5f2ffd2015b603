package outline

import (
	"strings"
	"testing"
)

const text = `
======== LOG ========

Driver Version                            : 5.0.21.26
Attached XPUs                             : 2
XPU 00000000:01:00.0
    Product Name                          : P800 PCIe
    PCI
        Bus Id                            : 00000000:01:00.0
    Memory Usage
        Total                             : 98304 MiB
        Used                              : N/A
    Temperature
	XPU Current Temp                  : 46 C
XPU 00000000:02:00.0
    Memory Usage
        Total                             : -1 MiB
    Power                                 : 3e400 W
    Clock                                 : NaN MHz
`

func TestRead(t *testing.T) {
	root := Read([]byte(text))
	cards := root.Below("XPU ")
	if len(cards) != 2 || cards[0].Key != "XPU 00000000:01:00.0" || root.Text("Driver Version") != "5.0.21.26" {
		t.Fatalf("%d cards, of %+v", len(cards), root)
	}
	a, b := cards[0], cards[1]
	if a.Text("Product Name") != "P800 PCIe" || a.Text("PCI", "Bus Id") != "00000000:01:00.0" {
		t.Errorf("the first is %+v", a)
	}
	if v := a.Bytes("Memory Usage", "Total"); v == nil || *v != 98304<<20 {
		t.Errorf("its memory is %v", v)
	}
	if a.Text("Memory Usage", "Used") != "" || a.Bytes("Memory Usage", "Used") != nil {
		t.Error("N/A is taken for a value")
	}
	if b.Bytes("Memory Usage", "Total") != nil || b.Number([]string{"W"}, "Power") != nil || b.Number([]string{"MHz"}, "Clock") != nil {
		t.Error("what is no sensible number is taken for one")
	}
}

func TestUnitsAreHeeded(t *testing.T) {
	root := Read([]byte("Temp : 46 C\nBare : 7\nUsage : 0.5 %"))
	if root.Number([]string{"%"}, "Temp") != nil || root.Number([]string{""}, "Temp") != nil {
		t.Error("degrees pass for another unit")
	}
	if v := root.Number([]string{"℃", "C"}, "Temp"); v == nil || *v != 46 {
		t.Errorf("Temp is %v", v)
	}
	if v := root.Number([]string{""}, "Bare"); v == nil || *v != 7 {
		t.Errorf("Bare is %v", v)
	}
}

func TestCountsAndSharesAreInTheirRange(t *testing.T) {
	root := Read([]byte("a : 7\nb : -1\nc : 0.5\nd : 2e12\ne : 7 MiB\nf : 25 %\ng : 101 %\nh : -1 %\ni : 0 %"))
	if v := root.Count("a"); v == nil || *v != 7 {
		t.Errorf("7 is counted as %v", v)
	}
	for _, key := range []string{"b", "c", "d", "e", "f", "x"} {
		if v := root.Count(key); v != nil {
			t.Errorf("%s is counted as %d", key, *v)
		}
	}
	if v, none := root.Share("f"), root.Share("i"); v == nil || *v != 0.25 || none == nil || *none != 0 {
		t.Errorf("25 %% is a share of %v, 0 %% one of %v", v, none)
	}
	for _, key := range []string{"a", "g", "h", "x"} {
		if v := root.Share(key); v != nil {
			t.Errorf("%s is a share of %v", key, *v)
		}
	}
}

func TestNilIsALineThatIsNotThere(t *testing.T) {
	var l *Line
	if l.Text("a") != "" || l.Number(nil, "a") != nil || l.Bytes("a", "b") != nil || l.Below("") != nil || l.Find("a") != nil {
		t.Error("something is below nothing")
	}
}

func TestReadIsBounded(t *testing.T) {
	n := 0
	var count func(*Line)
	count = func(l *Line) {
		for _, x := range l.Lines {
			n++
			count(x)
		}
	}
	count(Read([]byte(strings.Repeat("a : b\n", linesMax+10))))
	if n != linesMax {
		t.Errorf("%d lines were read", n)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(text))
	f.Add([]byte("a\n b\n  c\n d :\n\te:f\n:\n : "))
	f.Fuzz(func(t *testing.T, b []byte) {
		root := Read(b)
		for _, l := range root.Lines {
			_, _, _ = l.Text(l.Key), l.Bytes("Total"), l.Below("")
		}
	})
}

package cpu

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, text                    string
		vendor, product, architecture string
		features, microcode           string
		socket, core, number, howMany int
	}{
		{"a server of AMD", "processor\t: 3\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 9654 96-Core Processor\nmicrocode\t: 0xa101148\nphysical id\t: 1\ncore id\t\t: 17\nflags\t\t: lm avx2 avx512_bf16\n",
			"amd", "AMD EPYC 9654 96-Core Processor", "amd64", "avx2 avx512_bf16", "0xa101148", 1, 17, 3, 1},
		{"a guest without microcode", "processor\t: 0\nvendor_id\t: HygonGenuine\nmodel name\t: Hygon C86 7285\nmicrocode\t: 0xffffffff\nflags\t: lm avx2\n",
			"hygon", "Hygon C86 7285", "amd64", "avx2", "", -1, -1, 0, 1},
		{"Neoverse V2", "processor\t: 0\nFeatures\t: fp asimd fphp asimdhp asimddp sve sve2 svei8mm svebf16 i8mm bf16\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd4f\n",
			"arm", "Arm part 0xd4f", "arm64", "asimd fphp asimdhp asimddp sve sve2 i8mm bf16 svei8mm svebf16", "", -1, -1, 0, 1},
		{"Ampere's own", "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0xc0\nCPU part\t: 0xac3\n", "ampere", "Arm part 0xac3", "arm64", "asimd", "", -1, -1, 0, 1},
		{"Kunpeng with a name", "processor\t: 0\nmodel name\t: Kunpeng-920\nFeatures\t: fp asimd\nCPU implementer\t: 0x48\nCPU part\t: 0xd01\n", "huawei", "Kunpeng-920", "arm64", "asimd", "", -1, -1, 0, 1},
		{"RISC-V", "processor\t: 0\nhart\t: 1\nisa\t: rv64imafdc\nuarch\t: sifive,u74-mc\n\n", "unknown-cpu", "sifive,u74-mc", "riscv64", "", "", -1, -1, 0, 1},
		{"POWER", "processor\t: 0\ncpu\t\t: POWER9, altivec supported\n\ntimebase\t: 512000000\nplatform\t: PowerNV\n", "unknown-cpu", "POWER9, altivec supported", "", "", "", -1, -1, 0, 1},
		{"blocks that are not parted", "processor : 0\nprocessor : 1\nmodel name : x\n", "unknown-cpu", "x", "", "", "", -1, -1, 1, 2},
	} {
		info := parse([]byte(c.text))
		p, ok := info[c.number]
		if !ok || len(info) != c.howMany {
			t.Errorf("%s: read as %+v", c.name, info)
			continue
		}
		if p.vendor() != c.vendor || product([]processor{p}) != c.product || p.architecture() != c.architecture || p.microcode != c.microcode {
			t.Errorf("%s: %q %q %q %q", c.name, p.vendor(), product([]processor{p}), p.architecture(), p.microcode)
		}
		if strings.Join(p.features, " ") != c.features || p.socket != c.socket || p.core != c.core {
			t.Errorf("%s: features %v, socket %d, core %d", c.name, p.features, p.socket, p.core)
		}
	}
}

func TestParseOfWhatIsNoCpuinfo(t *testing.T) {
	for _, text := range []string{"", "\n\n\n", "hello", "processor : -1\n", "processor : 99999999999999\n", "processor : 8192\n", "model name : x\n"} {
		if info := parse([]byte(text)); len(info) > 0 {
			t.Errorf("%q is read as %+v", text, info)
		}
	}
}

func TestList(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []int
	}{
		{"0-3", []int{0, 1, 2, 3}},
		{"0,4,8-9", []int{0, 4, 8, 9}},
		{"3,1-3", []int{3, 1, 2}},
		{"7", []int{7}},
		{"", nil}, {"a", nil}, {"3-1", nil}, {"-1", nil}, {"0-", nil}, {"0-3:1/2", nil},
		{"8190-4294967", []int{8190, 8191}},
		{"99999999999999999999", nil},
	} {
		if diff := cmp.Diff(c.want, list(c.in)); diff != "" {
			t.Errorf("%q: %s", c.in, diff)
		}
	}
	if got := list(strings.Repeat("0-8191,", 10000) + "0"); got != nil {
		t.Errorf("a list that repeats itself has %d processors", len(got))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(block, 0, 0, 0)))
	f.Add([]byte("processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n\n"))
	f.Add([]byte("processor : 1\nprocessor : 1\n: \n::\nmodel name : \xff\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for n, p := range parse(text) {
			if n < 0 || n >= cpusMax {
				t.Errorf("processor %d", n)
			}
			if name := product([]processor{p, p}); len(name) > 2*wordMax || strings.ContainsAny(name, "\n\t") {
				t.Errorf("the product is %q", name)
			}
			if p.vendor() == "" || p.socket < -1 || p.core < -1 {
				t.Errorf("processor %d is %+v", n, p)
			}
		}
	})
}

func FuzzList(f *testing.F) {
	for _, s := range []string{"0-3,8", "0-8191,0-8191", "-", ",", "1-0", "0-9999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := list(s)
		if len(set(l)) != len(l) {
			t.Errorf("%q gives a processor twice", s)
		}
		for _, n := range l {
			if n < 0 || n >= cpusMax {
				t.Errorf("%q gives processor %d", s, n)
			}
		}
	})
}

package dpu

import (
	"strings"
	"testing"

	"polder.dev/polder/device"
)

func TestUplink(t *testing.T) {
	for name, want := range map[string]bool{"": true, "p0": true, "p1": true, "pf0": false, "pf0vf3": false, "pf0sf88": false, "p": false, "c1pf0": false} {
		if got := uplink(name); got != want {
			t.Errorf("%q is a port of the card: %v", name, got)
		}
	}
}

func TestGUID(t *testing.T) {
	for in, want := range map[string]string{
		"b83f:d203:00AB:cdef": "b83fd20300abcdef", "0000:0000:0000:0000": "", "": "", "b83f:d203": "", "b83f:d203:00ab:cdeg": "", "fe80:0000:0000:0000:0001": "",
	} {
		if got := guid(in); got != want {
			t.Errorf("%q is read as %q", in, got)
		}
	}
}

// TestParseInfo reads what devlink prints, as commits to it and to drivers show.
func TestParseInfo(t *testing.T) {
	const bnxt = `{"info":{"pci/0000:AF:00.0":{"driver":"bnxt_en","serial_number":"00-10-18-FF-FE-AD-1A-00","board.serial_number":"433551F+172300000",
"versions":{"fixed":{"asic.id":"16D7"},"running":{"fw":"216.1.216.0","fw.psid":"0.0.0"}}}}}`
	got, err := parseInfo([]byte(bnxt))
	o := own{info: got["0000:af:00.0"]}
	if err != nil || o.serial() != "433551F+172300000" || o.firmware() != "216.1.216.0" {
		t.Errorf("error %v, %+v", err, got)
	}
	const nfp = `{"info":{"pci/0000:82:00.0":{"driver":"nfp","serial_number":"16240145","versions":{"running":{"fw":"-","fw.mgmt":"010181"}}}}}`
	got, err = parseInfo([]byte(nfp))
	o = own{info: got["0000:82:00.0"]}
	if err != nil || o.serial() != "16240145" || o.firmware() != "" {
		t.Errorf("error %v, %+v", err, got)
	}
	for _, bad := range []string{"{", "[]", `{"info":[]}`, `{"info":{"pci/0000:82:00.0":[]}}`, "Failed to connect to devlink Netlink"} {
		if _, err := parseInfo([]byte(bad)); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func FuzzDevlink(f *testing.F) {
	for _, s := range []string{infoOutput, healthOutput, "", "{}", "null", `{"info":null,"health":{"pci/0:0":null,"pci/1:1/1/1":[]}}`, `{"health":{"pci/03:00.0":[{"reporter":"\u0000_","state":"error","error":1}]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		told := &answers{}
		told.info, _ = parseInfo(out)
		told.health, _ = parseHealth(out)
		for _, a := range append(keys(told.info), keys(told.health)...) {
			if b, ok := device.Address(a); !ok || a != b {
				t.Errorf("%q is no address", a)
			}
			o := told.of(&device.Function{Address: a})
			if len(o.reporters) > reportersMax || strings.ContainsAny(o.serial()+o.firmware(), " \n") {
				t.Errorf("%s: %+v", a, o)
			}
			for _, x := range o.faults() {
				if strings.Trim(x.Code, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || x.State == device.Healthy {
					t.Errorf("%s: the fault %+v", a, x)
				}
			}
		}
	})
}

func keys[T any](m map[string]T) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

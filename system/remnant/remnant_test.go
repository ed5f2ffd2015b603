package remnant

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"/a": "/a", `/a\040b`: "/a b", `/a\011\012b`: "/a\t\nb", `/a\134040`: `/a\040`, `\`: `\`, `\04`: `\04`, "": "",
	} {
		if got := unescape(in); got != want {
			t.Errorf("unescape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	const text = `22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 / /var/lib/polder/kubelet/pods/1/volumes rw shared:1 - tmpfs tmpfs rw
31 22 0:41 / /var/lib/polder2/x rw - tmpfs tmpfs rw
32 22 0:42 / /var/lib/polder rw - tmpfs tmpfs rw
33 22 0:43 / /run/polder-1/a\040b rw - overlay overlay rw
34 30 0:44 / /var/lib/polder/kubelet/pods/1/volumes/deep rw - tmpfs tmpfs rw
torn line
`
	want := []string{"/var/lib/polder/kubelet/pods/1/volumes/deep", "/run/polder-1/a b", "/var/lib/polder/kubelet/pods/1/volumes"}
	if d := cmp.Diff(want, parse([]byte(text), "/var/lib/polder", "/run/polder-1")); d != "" {
		t.Errorf("what is mounted last goes first, and a neighbour's stays (-want +got):\n%s", d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`30 22 0:40 / /d/a\040b rw - tmpfs tmpfs rw`))
	f.Add([]byte(`30 22 0:40 / /e/x`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range parse(b, "/d") {
			if !strings.HasPrefix(m, "/d/") {
				t.Errorf("%q does not lie below", m)
			}
		}
	})
}

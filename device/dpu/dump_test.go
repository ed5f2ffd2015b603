package dpu

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"polder.dev/polder/device/devicetest"
	"polder.dev/polder/device/pci"
)

// fixtures are files of real InfiniBand cards that Prometheus tests with, if they lie
// beside the repository. None is a DPU.
const fixtures = "../../../shared/data/devices/procfs/drm_infiniband_pci.subset.ttar"

// ttar reads such an archive: "Path: NAME", "Lines: N", and the lines.
func ttar(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(fixtures)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there are no fixtures beside the repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	name := ""
	for lines.Scan() {
		if p, ok := strings.CutPrefix(lines.Text(), "Path: fixtures/"); ok {
			name = p
		}
		n, ok := strings.CutPrefix(lines.Text(), "Lines: ")
		if !ok {
			continue
		}
		count, err := strconv.Atoi(n)
		if err != nil {
			t.Fatalf("%s has %q lines", name, n)
		}
		for range count {
			lines.Scan()
			out[name] += lines.Text() + "\n"
		}
	}
	return out
}

// TestRealInfiniBandFiles gives made-up cards the files of real ones: a ConnectX-4,
// whose driver is BlueField's, and older ones.
func TestRealInfiniBandFiles(t *testing.T) {
	files := ttar(t)
	for name, want := range map[string]struct {
		firmware string
		ports    int
		up       bool
		downs    int64
	}{
		"mlx5_0": {firmware: "14.28.2006", ports: 1, up: true},
		"mlx4_0": {firmware: "2.31.5050", ports: 2, up: true},
	} {
		m := devicetest.New()
		dir := m.Plug(devicetest.Card{Address: "0000:03:00.0", ID: "15b3:a2dc", Class: "020700", Driver: "mlx5_core"})
		for path, text := range files {
			if rest, ok := strings.CutPrefix(path, "sys/class/infiniband/"+name+"/"); ok {
				m.Write(dir+"/infiniband/"+name+"/"+rest, strings.TrimSuffix(text, "\n"))
			}
		}
		h, err := m.Host()
		if err != nil {
			t.Fatal(err)
		}
		cards := gather(h)
		if len(cards) != 1 {
			t.Fatalf("%d cards", len(cards))
		}
		c := cards[0]
		c.read(h, &answers{})
		if c.firmware != want.firmware || len(c.ports) != want.ports || c.ports[0].up != want.up {
			t.Errorf("%s: firmware %q, ports %+v", name, c.firmware, c.ports)
		}
		r := c.reading(h)
		if r == nil || len(r.Errors) != len(counted) || r.Errors["link-downed"] != want.downs {
			t.Errorf("%s: meters %+v", name, r)
		}
	}
}

// TestRealConnectX looks at copies of machines with network cards of the DPUs'
// makers. None is a DPU.
func TestRealConnectX(t *testing.T) {
	for file, cards := range map[string]int{"32em64t-2n8c+dax+nvme+mic+dimms.tar.bz2": 1, "32intel64-2p8co2t+8ve.tar.bz2": 2} {
		functions, err := pci.Walk(dump(t, file))
		if err != nil {
			t.Fatal(err)
		}
		for i := range functions {
			f := &functions[i]
			if f.Vendor == "15b3" {
				cards--
			}
			if New().Owns(f) {
				t.Errorf("%s: owns %s of class %s", file, f.ID(), f.Class)
			}
		}
		if cards != 0 {
			t.Errorf("%s: there are %d more cards of Mellanox", file, cards)
		}
	}
}

// dump reads the PCI bus of a copy of a machine.
func dump(t *testing.T, name string) fs.FS {
	t.Helper()
	in, err := os.Open(filepath.Join("../../../shared/data/devices/hwloc/linux", name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there are no copies of machines beside the repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	files := fstest.MapFS{}
	archive := tar.NewReader(bzip2.NewReader(in))
	for {
		e, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		i := strings.Index("/"+e.Name, "/sys/")
		if i < 0 {
			continue
		}
		at := path.Clean(e.Name[i:])
		switch {
		case e.Typeflag == tar.TypeSymlink && path.Dir(at) == "sys/bus/pci/devices":
			files[at] = &fstest.MapFile{Data: []byte(e.Linkname), Mode: fs.ModeSymlink}
		case e.Typeflag == tar.TypeReg && path.Base(at) == "modalias" && strings.HasPrefix(at, "sys/devices/pci"):
			b, err := io.ReadAll(io.LimitReader(archive, 1<<10))
			if err != nil {
				t.Fatal(err)
			}
			files[at] = &fstest.MapFile{Data: b}
		}
	}
}

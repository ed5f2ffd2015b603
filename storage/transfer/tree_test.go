package transfer

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t testing.TB, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func open(t testing.TB, dir string) *tree {
	t.Helper()
	tr, err := openTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.root.Close() })
	return tr
}

// TestAWalkIsInTheOrderOfKeys: a directory counts with its slash, as in a listing.
func TestAWalkIsInTheOrderOfKeys(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{"a/z": "1", "a.txt": "", "a-b/c": "22", "a/b/c": "", "b": "", "ä": "", "A": "", "a0": "", "x/.y" + partialEnd: "no"})
	var got []string
	for f, err := range open(t, dir).walk(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.name)
	}
	if d := cmp.Diff([]string{"A", "a-b/c", "a.txt", "a/b/c", "a/z", "a0", "b", "ä"}, got); d != "" || !slices.IsSorted(got) {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestLinksThatLeadOutAreLeft: what lies outside the tree is not read through it.
func TestLinksThatLeadOutAreLeft(t *testing.T) {
	outside := write(t, t.TempDir(), map[string]string{"secret": "s", "d/x": "s"})
	dir := write(t, t.TempDir(), map[string]string{"real": "r", "sub/real": "r"})
	for name, to := range map[string]string{
		"absolute": filepath.Join(outside, "secret"), "up": "../" + filepath.Base(outside) + "/secret", "dir": outside, "nowhere": "none", "inside": "real", "loop": "loop", "within": "sub",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	tr := open(t, dir)
	var taken, left []string
	for f, err := range tr.walk(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if f.left == "" {
			taken = append(taken, f.name)
		} else {
			left = append(left, f.name)
		}
	}
	if d := cmp.Diff([]string{"inside", "real", "sub/real"}, taken); d != "" {
		t.Errorf("taken (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"absolute", "dir", "loop", "nowhere", "pipe", "up", "within"}, left); d != "" {
		t.Errorf("left out (-want +got):\n%s", d)
	}
	for _, name := range []string{"absolute", "up", "dir/secret", "pipe", "nowhere"} {
		if f, _, err := tr.open(name); err == nil {
			t.Errorf("%s was opened", name)
			_ = f.Close()
		}
	}
}

func TestAWalkGoesOnBehindWhatItCannotRead(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	dir := write(t, t.TempDir(), map[string]string{"a/x": "", "b": ""})
	if err := os.Chmod(filepath.Join(dir, "a"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Join(dir, "a"), 0o755)
	var failed, got []string
	for f, err := range open(t, dir).walk(t.Context()) {
		if err != nil {
			failed = append(failed, f.name)
			continue
		}
		got = append(got, f.name)
	}
	if !cmp.Equal(failed, []string{"a/"}) || !cmp.Equal(got, []string{"b"}) {
		t.Errorf("failed %q, got %q", failed, got)
	}
}

func TestPartialNames(t *testing.T) {
	for name, want := range map[string]string{"a": ".a.polder-part", "d/e/a": "d/e/.a.polder-part"} {
		if got := partialName(name); got != want {
			t.Errorf("%s is kept in %s, want %s", name, got, want)
		}
	}
	long := strings.Repeat("x", 250)
	if got := partialName("d/" + long); len(filepath.Base(got)) > 255 || !strings.HasPrefix(got, "d/.") || got == partialName("d/"+long+"y") {
		t.Errorf("a long name is kept in %s", got)
	}
}

func TestAPartialIsFoundAgain(t *testing.T) {
	tr := open(t, t.TempDir())
	head := partialHead{Bucket: "b", Key: "k", ETag: "e", Size: 25 << 20, Range: 10 << 20}
	p, err := openPartial(tr, "x", head)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openPartial(tr, "x", head); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second download of the file begins beside the first: %v", err)
	}
	p.done[1], p.done[2] = 7, 5<<20
	for i := range p.done {
		if err := p.note(i); err != nil {
			t.Fatal(err)
		}
	}
	_ = p.f.Close()
	reopen := func(h partialHead) []int64 {
		t.Helper()
		p, err := openPartial(tr, "x", h)
		if err != nil {
			t.Fatal(err)
		}
		_ = p.f.Close()
		return p.done
	}
	other := head
	other.Range = 5 << 20
	if d := cmp.Diff([]int64{0, 7, 5 << 20}, reopen(other)); d != "" {
		t.Errorf("with other ranges (-want +got):\n%s", d)
	}
	other = head
	other.ETag = "f"
	if d := cmp.Diff([]int64{0, 0, 0}, reopen(other)); d != "" {
		t.Errorf("for another object (-want +got):\n%s", d)
	}
}

func FuzzPartial(f *testing.F) {
	f.Add([]byte(`{"Size":1,"Range":1048576}`+"\x1a\x00\x00\x00\x00\x00\x00\x00"+partialMagic), int64(100))
	f.Add([]byte(partialMagic+partialMagic), int64(16))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"+partialMagic), int64(16))
	f.Fuzz(func(t *testing.T, tail []byte, total int64) {
		head, n, err := parsePartial(tail, total)
		if err != nil {
			return
		}
		if head.ranges() < 1 || head.ranges() > partsMax || n < 0 || n > int64(len(tail)) || head.Size > total {
			t.Errorf("%q of %d bytes: %+v, %d", tail, total, head, n)
		}
		var sum int64
		for i := range head.ranges() {
			if head.length(i) < 1 {
				t.Errorf("range %d of %+v has %d bytes", i, head, head.length(i))
			}
			sum += head.length(i)
		}
		if sum != head.Size {
			t.Errorf("ranges of %+v have %d bytes", head, sum)
		}
	})
}

func FuzzParsePage(f *testing.F) {
	f.Add([]byte(`<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%2Fb</Key><Size>5</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents><CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes></ListBucketResult>`))
	f.Add([]byte(`<ListVersionsResult><DeleteMarker><Key>x</Key></DeleteMarker></ListVersionsResult>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parsePage(text)
		if err != nil {
			return
		}
		if e := p.entries(); len(e) > len(p.Lines) {
			t.Errorf("%d lines make %d entries", len(p.Lines), len(e))
		}
	})
}

func TestAPageIsOneRow(t *testing.T) {
	p, err := parsePage([]byte(`<ListBucketResult><EncodingType>url</EncodingType>
<Contents><Key>a+b%2Fx</Key><Size>5</Size><ETag>"e"</ETag><LastModified>2026-01-02T03:04:05.678Z</LastModified></Contents><Contents><Key>d</Key></Contents>
<CommonPrefixes><Prefix>c%2F</Prefix></CommonPrefixes></ListBucketResult>`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{{Key: "a b/x", Size: 5, ETag: "e", Modified: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)}, {Key: "c/", Prefix: true}, {Key: "d"}}
	if d := cmp.Diff(want, p.entries()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if _, err := parsePage([]byte(`<L><EncodingType>url</EncodingType><Contents><Key>%zz</Key></Contents></L>`)); err == nil {
		t.Error("a key that cannot be decoded was read")
	}
}

package kernlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		record, want string
		ok           bool
	}{
		"the kernel's":          {"4,1391,1843308145,-;NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n", "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.", true},
		"with properties":       {"6,307,4242,-;amdgpu 0000:c1:00.0: amdgpu: GPU reset begin!\n SUBSYSTEM=pci\n DEVICE=+pci:0000:c1:00.0\n", "amdgpu 0000:c1:00.0: amdgpu: GPU reset begin!", true},
		"with a caller":         {"3,308,4243,-,caller=T1718;text; of it\n", "text; of it", true},
		"several lines":         {`3,309,4244,-;one\x0atwo \x5c three` + "\n", "one\ntwo \\ three", true},
		"a half escape":         {`3,309,4244,-;one\x0` + "\n", `one\x0`, true},
		"no escape":             {`3,309,4244,-;\xzz\y` + "\n", `\xzz\y`, true},
		"no end":                {"0,0,0,-;x", "x", true},
		"a program's":           {"12,310,4245,-;NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n", "", false},
		"a daemon's":            {"30,311,4246,-;systemd[1]: Started.\n", "", false},
		"a fragment":            {"4,312,4247,c;NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n", "", false},
		"a fragment of old":     {"4,312,4247,+;NVRM: Xid\n", "", false},
		"no text":               {"4,312,4247,-\n", "", false},
		"too few fields":        {"4,312;text\n", "", false},
		"no priority":           {"x,312,4247,-;text\n", "", false},
		"a negative priority":   {"-1,312,4247,-;text\n", "", false},
		"a priority too large":  {"99999999999,312,4247,-;text\n", "", false},
		"priority that wraps":   {"4294967296,312,4247,-;text\n", "", false},
		"nothing":               {"", "", false},
		"a line of properties":  {" SUBSYSTEM=pci\n", "", false},
		"a record within a one": {"12,1,1,-;x\n4,2,2,-;NVRM: Xid\n", "", false},
	} {
		if got, ok := parse([]byte(c.record)); ok != c.ok || got != c.want {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"4,1391,1843308145,-;text\n K=V\n", "12,1,1,-;x", `3,309,4244,-,caller=T1;\x0a\x5c\x`, ";", ",,,-;"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		message, ok := parse(b)
		if len(message) > len(b) || !ok && message != "" {
			t.Errorf("%q gives %q, %v", b, message, ok)
		}
		if priority, _, _ := strings.Cut(string(b), ","); ok && strings.Trim(priority, "01234567") != "" {
			t.Errorf("%q is taken for the kernel's", b)
		}
	})
}

// open opens this machine's log, or skips.
func open(t testing.TB) *Log {
	t.Helper()
	l, err := Open("/")
	if err != nil {
		t.Skipf("this machine lets nobody read the kernel's log: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// complaint is what the kernel itself writes when it is asked for an event that there is
// none of, of the device null.
const complaint = "synth uevent: /devices/virtual/mem/null: "

func complain(t *testing.T) {
	t.Helper()
	before := written(t, complaint)
	_ = os.WriteFile("/sys/class/mem/null/uevent", []byte("polder"), 0)
	if written(t, complaint) == before {
		t.Skip("the kernel cannot be made to write a message here")
	}
}

// TestFollowBelievesTheKernelOnly has a program write what only the kernel may say, and
// then the kernel say something: the second is heard, the first is not.
func TestFollowBelievesTheKernelOnly(t *testing.T) {
	l := open(t)
	if err := l.Replay(func(string) {}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan string, 1000), make(chan error, 1)
	go func() { ended <- l.Follow(ctx, func(m string) { heard <- m }) }()

	mark := fmt.Sprintf("polder-%d", time.Now().UnixNano())
	fake := "NVRM: Xid (PCI:0000:3b:00): 79, " + mark
	for _, text := range []string{fake, "<0>" + fake, "<3>" + fake, "4,1,1,-;" + fake, "x\n4,1,1,-;" + fake} {
		if err := os.WriteFile(File, []byte(text+"\n"), 0); err != nil {
			t.Skipf("nobody may write to the kernel's log: %v", err)
		}
	}
	if n := written(t, mark); n != 5 {
		t.Fatalf("%d of the 5 made-up messages are in the log; the test shows nothing", n)
	}
	complain(t)
	late := time.After(10 * time.Second)
	for done := false; !done; {
		select {
		case m := <-heard:
			if strings.Contains(m, mark) {
				t.Errorf("a program was believed: %q", m)
			}
			done = strings.HasPrefix(m, complaint)
		case <-late:
			t.Fatal("the kernel's message was not heard")
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// written counts the records of the log that have a mark, whoever wrote them.
func written(t *testing.T, mark string) (n int) {
	t.Helper()
	fd, err := unix.Open(File, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, recordBytesMax)
	for {
		k, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EINTR):
		case err != nil:
			return n
		case strings.Contains(string(buf[:k]), mark):
			n++
		}
	}
}

// TestReplayAgain reads the same twice from the beginning, as a driver that starts again
// does.
func TestReplayAgain(t *testing.T) {
	open(t)
	complain(t)
	for range 2 {
		var heard []string
		if err := open(t).Replay(func(m string) { heard = append(heard, m) }); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(heard, func(m string) bool { return strings.HasPrefix(m, complaint) }) {
			t.Errorf("of %d messages none is the one that the kernel wrote before", len(heard))
		}
	}
}

// TestOverwritten has the kernel lose records that a reader was too slow for: the reader
// goes on with what there is.
func TestOverwritten(t *testing.T) {
	answers := []any{"6,1,1,-;one\n", unix.EPIPE, "6,900,1,-;two\n", unix.EINTR, "12,901,1,-;three\n", unix.EIO, "6,902,1,-;four\n"}
	read := func(b []byte) (int, error) {
		next := answers[0]
		answers = answers[1:]
		if err, failed := next.(error); failed {
			return 0, err
		}
		return copy(b, next.(string)), nil
	}
	var heard []string
	err := (&Log{buf: make([]byte, recordBytesMax)}).each(read, func(m string) { heard = append(heard, m) })
	if !errors.Is(err, unix.EIO) || !slices.Equal(heard, []string{"one", "two"}) {
		t.Errorf("heard %q, then %v", heard, err)
	}
}

// BenchmarkReplay is what a program that looks once pays: opening the log and reading
// all that the kernel holds.
func BenchmarkReplay(b *testing.B) {
	messages := 0
	for b.Loop() {
		l, err := Open("/")
		if err != nil {
			b.Skip(err)
		}
		messages = 0
		if err := l.Replay(func(string) { messages++ }); err != nil {
			b.Fatal(err)
		}
		_ = l.Close()
	}
	b.ReportMetric(float64(messages), "messages")
}

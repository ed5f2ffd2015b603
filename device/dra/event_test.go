package dra

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestListenHearsTheKernel has the kernel tell of a device of the subsystem misc
// again, as it does when one is plugged in.
func TestListenHearsTheKernel(t *testing.T) {
	files, err := filepath.Glob("/sys/class/misc/*/uevent")
	if err != nil || len(files) == 0 || os.Geteuid() != 0 {
		t.Skip("it needs root and a device of the subsystem misc")
	}
	events, err := listen(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Skipf("this machine lets nobody listen: %v", err)
	}
	if err := os.WriteFile(files[0], []byte("change"), 0); err != nil {
		t.Skipf("the kernel cannot be asked to tell of a device: %v", err)
	}
	select {
	case <-events:
	case <-time.After(10 * time.Second):
		t.Error("the event was not heard")
	}
}

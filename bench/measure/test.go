package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// measureTest: the tests that need no cluster, compiled before.
func measureTest(ctx context.Context, b *bench) error {
	var took []float64
	for i := range b.runs + 1 {
		cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "./...")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -mod=readonly -buildvcs=false -gcflags=all=-dwarf=false")
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go test: %w: %s", err, out)
		}
		if i > 0 { // the first one compiled them
			took = append(took, time.Since(began).Seconds())
		}
	}
	b.add("`go test ./...`, nothing cached but what is compiled", "s", took, "")
	return nil
}

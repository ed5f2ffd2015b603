package polder_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite cmd/polder/deps.txt")

const depsFile = "cmd/polder/deps.txt"

// TestDeps compares what cmd/polder links with the recorded list, so that a new
// dependency is a line in a diff that somebody reads. `go test . -run TestDeps
// -update` records it.
func TestDeps(t *testing.T) {
	if _, err := os.Stat("cmd/polder"); errors.Is(err, os.ErrNotExist) {
		return // no program yet, so nothing is linked
	}
	got, err := linked("./cmd/polder")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(depsFile, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(depsFile)
	if err != nil {
		t.Fatalf("%v; record it with: go test . -run TestDeps -update", err)
	}
	for _, d := range differ(strings.Fields(string(b)), got) {
		t.Errorf("%s; if it is meant, say in the commit what it saves and run: go test . -run TestDeps -update", d)
	}
}

// linked lists the packages of others that a package links on linux/amd64.
func linked(pkg string) ([]string, error) {
	const other = `{{if and (not .Standard) .Module (not .Module.Main)}}{{.ImportPath}}{{end}}`
	cmd := exec.Command("go", "list", "-deps", "-f", other, pkg)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var msg strings.Builder
	cmd.Stderr = &msg
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing what %s links: %w: %s", pkg, err, msg.String())
	}
	deps := strings.Fields(string(out))
	slices.Sort(deps)
	return deps, nil
}

// differ says which packages are new and which are gone.
func differ(recorded, got []string) []string {
	var out []string
	for _, p := range got {
		if !slices.Contains(recorded, p) {
			out = append(out, p+" is linked, but not in "+depsFile)
		}
	}
	for _, p := range recorded {
		if !slices.Contains(got, p) {
			out = append(out, p+" is in "+depsFile+", but no longer linked")
		}
	}
	return out
}

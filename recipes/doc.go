// Package recipes holds programs by which models learn, embedded in the program: readable
// PyTorch, one file each, and beside them what all have in common (job.py, table.py,
// net.py, judge.py). They run in pods as ordinary TrainJobs, from an image that has them
// all, and keep to docs/formats/training.md and docs/formats/distillation.md. Clients and
// system import it; nothing here runs.
package recipes

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"strings"
)

// Files are the programs.
//
//go:embed *.py
var Files embed.FS

// Recipe is one program.
type Recipe struct {
	// Name of the recipe; its file is Name.py.
	Name string `json:"name"`
	// What it is, in a sentence.
	What string `json:"what"`
	// Text of the program.
	Text string `json:"-"`
}

// shared are files that are no recipes.
var shared = map[string]bool{"job": true, "table": true, "net": true, "judge": true}

// All lists the recipes by name.
func All() ([]Recipe, error) {
	names, err := fs.Glob(Files, "*.py")
	if err != nil {
		return nil, err
	}
	var out []Recipe
	for _, n := range names {
		name := strings.TrimSuffix(n, ".py")
		if shared[name] || strings.HasPrefix(name, "test_") {
			continue
		}
		b, err := fs.ReadFile(Files, n)
		if err != nil {
			return nil, err
		}
		out = append(out, Recipe{Name: name, What: what(name, string(b)), Text: string(b)})
	}
	return out, nil
}

// what is the first paragraph of a program's description, without its name.
func what(name, text string) string {
	_, text, _ = strings.Cut(text, `"""`+name+`: `)
	text, _, _ = strings.Cut(text, "\n\n")
	text, _, _ = strings.Cut(text, `"""`)
	return strings.Join(strings.Fields(text), " ")
}

// Digest tells one set of programs from another: 64 hexadecimal digits.
func Digest() (string, error) {
	names, err := fs.Glob(Files, "*.py")
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, n := range names {
		b, err := fs.ReadFile(Files, n)
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256(b)
		h.Write([]byte(n + "\n" + hex.EncodeToString(sum[:]) + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

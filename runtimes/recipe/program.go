package recipe

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ProgramDir is where programs of Polder lie in an image.
const ProgramDir = "/usr/libexec/polder"

// Program is a helper binary that becomes a part of an image.
type Program struct {
	Name   string
	SHA256 string // hexadecimal
}

// Bring finds the recipe's programs in libexec, the directory of Polder's helper binaries,
// and returns which they are. From then on they are a part of the recipe's digest.
func (r *Recipe) Bring(libexec string) ([]Program, error) {
	var found []Program
	for _, name := range r.Programs {
		sum, err := sumOf(filepath.Join(libexec, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("recipe %s needs %s, which is not in %s; unpack the whole release, or run `make build`", r.Name, name, libexec)
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s for recipe %s: %w", name, r.Name, err)
		}
		found = append(found, Program{Name: name, SHA256: sum})
	}
	r.libexec, r.brought = libexec, found
	return found, nil
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// Package format reads what files of models say of themselves: safetensors, ONNX, and
// directories as Hugging Face lays them out. Clients import it before they push a model,
// so that what is broken never becomes a version. It runs nothing, reads headers and
// not weights, and everything it reads it takes for foreign: sizes are bounded before
// memory is asked for, and what does not fit is an error of one sentence that names the
// file. What it finds is what files claim; it proves that they are whole in form, not
// that they are any good.
//
// Formats that run code when they are loaded (pickles: .pt, .pth, .bin, .pkl) are not
// looked into; Summary.Opaque names them.
package format

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Kinds of models, by what was found.
const (
	KindONNX        = "onnx"
	KindSafetensors = "safetensors"
	KindHuggingFace = "huggingface"
	KindDirectory   = "directory"
)

// Limits of a model's directory.
const (
	filesMax = 10_000
	depthMax = 16
)

// Summary is what a model's files say.
type Summary struct {
	// Kind is one of the kinds above.
	Kind string `json:"kind"`
	// Framework that the weights are for, as spec.framework of a Model; may be empty.
	Framework string `json:"framework,omitempty"`
	// Licence as an SPDX expression, if a model card says one.
	Licence string `json:"licence,omitempty"`
	// Tags of the model card, its task and languages among them.
	Tags []string `json:"tags,omitempty"`
	// Architecture, if config.json says one.
	Architecture string `json:"architecture,omitempty"`
	// Parameters is how many numbers the weights hold; 0: not known.
	Parameters int64 `json:"parameters,omitempty"`
	// Inputs and Outputs of an ONNX model.
	Inputs  []Value `json:"inputs,omitempty"`
	Outputs []Value `json:"outputs,omitempty"`
	// Opaque are files that may hold weights and were not looked into.
	Opaque []string `json:"opaque,omitempty"`
	// Files by path below the directory.
	Files []File `json:"-"`
}

// File is one file of a model.
type File struct {
	// Path below the model's directory, with '/'; Source is where it lies.
	Path, Source string
	SizeBytes    int64
}

// ErrEmpty says that there is nothing to make a model of.
var ErrEmpty = errors.New("no weights")

// Look reads the model at name: a directory, or one file.
func Look(name string) (*Summary, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("reading model: %w", err)
	}
	if !info.IsDir() {
		return lookFile(name, info)
	}
	s := &Summary{Kind: KindDirectory}
	if err := s.collect(name, ".", 0); err != nil {
		return nil, err
	}
	return s, s.read()
}

// lookFile reads a model of one file, which is given the name under which others expect
// to find it.
func lookFile(name string, info fs.FileInfo) (*Summary, error) {
	as := map[string]string{".onnx": "model.onnx", ".safetensors": "model.safetensors"}[strings.ToLower(filepath.Ext(name))]
	if as == "" || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no model that can be told by its name: give a file *.onnx or *.safetensors, or a directory", name)
	}
	s := &Summary{Kind: KindDirectory, Files: []File{{Path: as, Source: name, SizeBytes: info.Size()}}}
	return s, s.read()
}

// collect lists the files below dir. What is hidden is left out; a link to a file is
// followed, since that is how caches of models are laid out, and one to a directory not.
func (s *Summary) collect(root, dir string, depth int) error {
	if depth > depthMax {
		return fmt.Errorf("%s: directories are nested more than %d deep", dir, depthMax)
	}
	entries, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(dir)))
	if err != nil {
		return fmt.Errorf("reading model: %w", err)
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		source := filepath.Join(root, filepath.FromSlash(name))
		if e.IsDir() {
			if err := s.collect(root, name, depth+1); err != nil {
				return err
			}
			continue
		}
		info, err := os.Stat(source)
		if err != nil {
			return fmt.Errorf("reading model: %w", err)
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is neither a file nor a directory: leave it out of the model", name)
		}
		if s.Files = append(s.Files, File{Path: name, Source: source, SizeBytes: info.Size()}); len(s.Files) > filesMax {
			return fmt.Errorf("the directory holds more than %d files: pack them", filesMax)
		}
	}
	return nil
}

// read looks into the files.
func (s *Summary) read() error {
	weights := 0
	for _, f := range s.Files {
		var err error
		switch ext := strings.ToLower(path.Ext(f.Path)); {
		case ext == ".safetensors":
			weights++
			err = s.readSafetensors(f)
		case ext == ".onnx":
			weights++
			err = s.readONNX(f)
		case slices.Contains(opaque, ext) && f.SizeBytes > 0:
			weights++
			s.Opaque = append(s.Opaque, f.Path)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	if weights == 0 {
		return fmt.Errorf("%w: there is no *.onnx, *.safetensors, *.gguf, *.pt, *.bin or alike among the %d files", ErrEmpty, len(s.Files))
	}
	return s.describe()
}

// opaque are the kinds of file that hold weights and are not looked into.
var opaque = []string{".pt", ".pth", ".bin", ".pkl", ".joblib", ".gguf", ".h5", ".keras", ".pb", ".tflite", ".npz", ".ubj", ".msgpack"}

// file returns the file at p, or nil.
func (s *Summary) file(p string) *File {
	for i := range s.Files {
		if s.Files[i].Path == p {
			return &s.Files[i]
		}
	}
	return nil
}

// small reads all of a file of at most bytesMax bytes.
func small(f File, bytesMax int64) ([]byte, error) {
	if f.SizeBytes > bytesMax {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", f.Path, f.SizeBytes, bytesMax)
	}
	r, err := os.Open(f.Source)
	if err != nil {
		return nil, fmt.Errorf("reading model: %w", err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, bytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("reading model: %w", err)
	}
	return b, nil
}

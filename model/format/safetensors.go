package format

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"slices"
)

// Limits of a safetensors header. Upstream's readers take one of 100 MB.
const (
	headerBytesMax = 64 << 20
	tensorsMax     = 1 << 20
	dimensionsMax  = 64
)

// dtypeBits are the bits of one number of each type.
var dtypeBits = map[string]uint64{
	"F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
	"F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}

// Safetensors is the header of a safetensors file.
type Safetensors struct {
	Tensors  []Tensor
	Metadata map[string]string
}

// Tensor is one tensor of a safetensors file.
type Tensor struct {
	Name  string
	DType string
	Shape []uint64
	// Begin and End of its bytes, after the header.
	Begin, End uint64
}

// numbers is how many numbers it holds.
func (t Tensor) numbers() (uint64, bool) { return product(t.Shape) }

// product of dimensions, if it can be counted.
func product(shape []uint64) (uint64, bool) {
	if slices.Contains(shape, 0) {
		return 0, true
	}
	n := uint64(1)
	for _, d := range shape {
		hi, lo := bits.Mul64(n, d)
		if hi != 0 || lo > math.MaxInt64 {
			return 0, false
		}
		n = lo
	}
	return n, true
}

// ReadSafetensors reads the header of a file of sizeBytes, and checks that its tensors
// fill the rest of the file, each in a place of its own.
func ReadSafetensors(r io.ReaderAt, sizeBytes int64) (*Safetensors, error) {
	var head [8]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("is no safetensors file: it has %d bytes", sizeBytes)
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n > headerBytesMax || int64(n) > sizeBytes-8 {
		return nil, fmt.Errorf("is no safetensors file, or cut off: its header is to have %d bytes, and the file has %d", n, sizeBytes)
	}
	b := make([]byte, n)
	if _, err := r.ReadAt(b, 8); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	s, err := parseSafetensors(b)
	if err != nil {
		return nil, fmt.Errorf("the safetensors header is broken: %w", err)
	}
	return s, s.fill(uint64(sizeBytes) - 8 - n)
}

// parseSafetensors reads a header.
func parseSafetensors(b []byte) (*Safetensors, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is no object of JSON")
	}
	s := &Safetensors{}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("it is no object of JSON")
		}
		if seen[name] {
			return nil, fmt.Errorf("it names %.100q twice", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			if err := d.Decode(&s.Metadata); err != nil {
				return nil, errors.New("__metadata__ is no object of strings")
			}
			continue
		}
		tensor, err := parseTensor(d, name)
		if err != nil {
			return nil, err
		}
		if s.Tensors = append(s.Tensors, tensor); len(s.Tensors) > tensorsMax {
			return nil, fmt.Errorf("it names more than %d tensors", tensorsMax)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("it is no object of JSON")
	}
	if rest := bytes.TrimRight(b[d.InputOffset():], " "); len(rest) > 0 {
		return nil, errors.New("something follows its object")
	}
	return s, nil
}

func parseTensor(d *json.Decoder, name string) (Tensor, error) {
	var in struct {
		DType   string   `json:"dtype"`
		Shape   []uint64 `json:"shape"`
		Offsets []uint64 `json:"data_offsets"`
	}
	if err := d.Decode(&in); err != nil {
		return Tensor{}, fmt.Errorf("tensor %.100q has no dtype, shape and data_offsets of the right form", name)
	}
	size, known := dtypeBits[in.DType]
	switch {
	case !known:
		return Tensor{}, fmt.Errorf("tensor %.100q is of the unknown type %.20q", name, in.DType)
	case len(in.Offsets) != 2 || in.Offsets[0] > in.Offsets[1]:
		return Tensor{}, fmt.Errorf("tensor %.100q has data_offsets %d, not a begin and an end", name, in.Offsets[:min(len(in.Offsets), 3)])
	case len(in.Shape) > dimensionsMax:
		return Tensor{}, fmt.Errorf("tensor %.100q has %d dimensions, at most %d are read", name, len(in.Shape), dimensionsMax)
	}
	t := Tensor{Name: name, DType: in.DType, Shape: in.Shape, Begin: in.Offsets[0], End: in.Offsets[1]}
	n, ok := t.numbers()
	hi, all := bits.Mul64(n, size)
	if !ok || hi != 0 || all%8 != 0 || all/8 != t.End-t.Begin {
		return Tensor{}, fmt.Errorf("tensor %.100q of type %s and shape %d does not fill its %d bytes", name, t.DType, t.Shape, t.End-t.Begin)
	}
	return t, nil
}

// fill checks that the tensors cover bytes 0 to size, and none of them twice.
func (s *Safetensors) fill(size uint64) error {
	slices.SortStableFunc(s.Tensors, func(a, b Tensor) int {
		if a.Begin != b.Begin {
			return cmp.Compare(a.Begin, b.Begin)
		}
		return cmp.Compare(a.End, b.End)
	})
	at := uint64(0)
	for _, t := range s.Tensors {
		if t.Begin != at {
			return fmt.Errorf("the safetensors header is broken: tensor %.100q begins at byte %d, and the one before ends at %d", t.Name, t.Begin, at)
		}
		at = t.End
	}
	if at != size {
		return fmt.Errorf("the file is cut off, or too long: its tensors have %d bytes, and %d follow the header", at, size)
	}
	return nil
}

// readSafetensors looks into one file of the model.
func (s *Summary) readSafetensors(f File) error {
	r, err := os.Open(f.Source)
	if err != nil {
		return err
	}
	defer r.Close()
	t, err := ReadSafetensors(r, f.SizeBytes)
	if err != nil {
		return err
	}
	for _, x := range t.Tensors {
		n, _ := x.numbers()
		s.Parameters += int64(n)
	}
	if s.Kind == KindDirectory {
		s.Kind = KindSafetensors
	}
	return nil
}

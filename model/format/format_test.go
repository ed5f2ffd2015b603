package format

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/model/infer/infertest"
)

// safetensorsOf is a file with the header and n bytes after it.
func safetensorsOf(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

const goodHeader = `{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]},"c":{"dtype":"F32","shape":[0,5],"data_offsets":[26,26]}}  `

func net() []byte { return infertest.Random(1, 4, 8, 3).Bytes() }

// dir writes files and returns their directory.
func dir(t *testing.T, files map[string]string) string {
	t.Helper()
	d := t.TempDir()
	for name, text := range files {
		p := filepath.Join(d, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestSafetensors(t *testing.T) {
	b := safetensorsOf(goodHeader, 26)
	s, err := ReadSafetensors(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Tensors) != 3 || s.Tensors[0].Name != "a" || s.Metadata["format"] != "pt" {
		t.Errorf("%+v", s)
	}
	one := func(dtype, shape, offsets string) string {
		return fmt.Sprintf(`{"a":{"dtype":%q,"shape":%s,"data_offsets":%s}}`, dtype, shape, offsets)
	}
	for name, tc := range map[string]struct {
		b    []byte
		says string
	}{
		"nothing":            {nil, "no safetensors file"},
		"cut in the header":  {b[:20], "cut off"},
		"cut in the weights": {b[:len(b)-1], "cut off"},
		"too long":           {append(bytes.Clone(b), 0), "too long"},
		"a huge header":      {binary.LittleEndian.AppendUint64(nil, 1<<62), "cut off"},
		"no object":          {safetensorsOf(`[]`, 0), "no object"},
		"no JSON":            {safetensorsOf(`{"a":`, 0), "no dtype"},
		"more than one":      {safetensorsOf(`{}{}`, 0), "something follows"},
		"twice":              {safetensorsOf(`{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"I8","shape":[1],"data_offsets":[1,2]}}`, 2), `"a" twice`},
		"overlap":            {safetensorsOf(`{"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"I8","shape":[2],"data_offsets":[1,3]}}`, 3), `"b" begins at byte 1`},
		"a gap":              {safetensorsOf(`{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"I8","shape":[1],"data_offsets":[2,3]}}`, 3), `"b" begins at byte 2`},
		"unknown type":       {safetensorsOf(one("F33", "[1]", "[0,4]"), 4), `unknown type "F33"`},
		"wrong size":         {safetensorsOf(one("F32", "[2]", "[0,4]"), 4), "does not fill"},
		"overflow":           {safetensorsOf(one("F32", "[4294967296,4294967296]", "[0,0]"), 0), "does not fill"},
		"overflow of bits":   {safetensorsOf(one("F64", "[2305843009213693952]", "[0,0]"), 0), "does not fill"},
		"backwards":          {safetensorsOf(one("I8", "[1]", "[1,0]"), 0), "not a begin and an end"},
		"one offset":         {safetensorsOf(one("I8", "[1]", "[1]"), 1), "not a begin and an end"},
		"negative":           {safetensorsOf(one("I8", "[-1]", "[0,1]"), 1), "of the right form"},
		"half a byte":        {safetensorsOf(one("F4", "[1]", "[0,1]"), 1), "does not fill"},
		"metadata":           {safetensorsOf(`{"__metadata__":{"a":1}}`, 0), "__metadata__"},
	} {
		if _, err := ReadSafetensors(bytes.NewReader(tc.b), int64(len(tc.b))); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
}

func TestONNX(t *testing.T) {
	b := net()
	o, err := ReadONNX(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Inputs) != 1 || len(o.Outputs) != 1 || o.Inputs[0].Type != "float32" || o.Inputs[0].Shape[1] != "4" || o.Outputs[0].Shape[1] != "3" || o.Opset == 0 {
		t.Errorf("%+v", o)
	}
	if want := int64(4*8 + 8 + 8*3 + 3); o.Parameters < want {
		t.Errorf("%d parameters, want at least %d", o.Parameters, want)
	}
	for i := range b { // a model that is cut off is told, or loses whole fields at the end
		if got, err := ReadONNX(bytes.NewReader(b[:i]), int64(i)); err == nil && got.Nodes != o.Nodes {
			t.Errorf("cut at %d: %+v", i, got)
		}
	}
	for name, b := range map[string][]byte{"nothing": nil, "text": []byte("hello, world"), "zeros": make([]byte, 100), "safetensors": safetensorsOf(goodHeader, 26)} {
		if _, err := ReadONNX(bytes.NewReader(b), int64(len(b))); err == nil {
			t.Errorf("%s is taken for a model", name)
		}
	}
}

// proto writes fields of Protocol Buffers.
func proto(fields ...any) []byte {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		n := uint64(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = binary.AppendUvarint(binary.AppendUvarint(b, n<<3), uint64(v))
		case string:
			b = append(binary.AppendUvarint(binary.AppendUvarint(b, n<<3|2), uint64(len(v))), v...)
		case []byte:
			b = append(binary.AppendUvarint(binary.AppendUvarint(b, n<<3|2), uint64(len(v))), v...)
		}
	}
	return b
}

// outside is a model whose weights, of 3 numbers of 4 bytes, lie in another file.
func outside(location string, more ...any) []byte {
	entry := func(k, v string) []byte { return proto(1, k, 2, v) }
	w := proto(append([]any{1, 3, 2, 1, 8, "w", 13, entry("location", location), 14, 1}, more...)...)
	return proto(1, 8, 7, proto(1, proto(4, "Identity"), 5, w, 11, proto(1, "w"), 11, proto(1, "x"), 12, proto(1, "y")), 8, proto(2, 13))
}

func TestWeightsBesideAModel(t *testing.T) {
	at := func(k, v string) []byte { return proto(1, k, 2, v) }
	for name, tc := range map[string]struct {
		b    []byte
		data string
		says string
	}{
		"there":           {outside("w.data"), "12 bytes...!", ""},
		"further on":      {outside("w.data", 13, at("offset", "4"), 13, at("length", "12")), "16 bytes.......!", ""},
		"missing":         {outside("v.data"), "", "v.data, which is not there"},
		"short":           {outside("w.data"), "1", "need 12 bytes of w.data, which has 1"},
		"short further":   {outside("w.data", 13, at("offset", "1")), "12 bytes...!", "need 13 bytes"},
		"out of the way":  {outside("../w.data"), "", "is not beside the model"},
		"absolute":        {outside("/etc/passwd"), "", "is not beside the model"},
		"windows":         {outside(`..\w`), "", "is not beside the model"},
		"no number":       {outside("w.data", 13, at("offset", "x")), "", "begins at byte"},
		"too few":         {outside("w.data", 13, at("length", "4")), "", "not 12"},
		"beyond counting": {outside("w.data", 13, at("offset", "9223372036854775807")), "", "does not fit"},
	} {
		s, err := Look(dir(t, map[string]string{"model.onnx": string(tc.b), "w.data": tc.data}))
		if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
		if err == nil && (s.Parameters != 3 || len(s.Inputs) != 1 || s.Inputs[0].Name != "x") {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

const card = "---\nlicense: apache-2.0\ntags:\n- ocr\n- digits\nlanguage: en\npipeline_tag: image-classification\n---\n# Digits\n"

func TestLook(t *testing.T) {
	st := string(safetensorsOf(goodHeader, 26))
	for name, tc := range map[string]struct {
		files map[string]string
		want  Summary
		says  string
	}{
		"onnx": {map[string]string{"model.onnx": string(net()), "README.md": card, "model.json": `{"serving":{"task":"classification"}}`, ".git/config": "x"},
			Summary{Kind: KindONNX, Framework: "onnx opset 13", Licence: "Apache-2.0", Tags: []string{"image-classification", "ocr", "digits", "en"}}, ""},
		"hugging face": {map[string]string{"config.json": `{"model_type":"bert","architectures":["BertModel"],"transformers_version":"4.1"}`, "model.safetensors": st, "tokenizer.json": "{}"},
			Summary{Kind: KindHuggingFace, Framework: "transformers 4.1", Architecture: "BertModel"}, ""},
		"shards": {map[string]string{"config.json": `{"model_type":"bert"}`, "model-1.safetensors": st, "model.safetensors.index.json": `{"weight_map":{"a":"model-1.safetensors"}}`},
			Summary{Kind: KindHuggingFace, Framework: "transformers", Architecture: "bert"}, ""},
		"safetensors":      {map[string]string{"x/w.safetensors": st, "config.json": `{"my":"own"}`}, Summary{Kind: KindSafetensors}, ""},
		"a pickle":         {map[string]string{"model.pt": "x"}, Summary{Kind: KindDirectory, Opaque: []string{"model.pt"}}, ""},
		"nothing":          {nil, Summary{}, "no weights"},
		"papers":           {map[string]string{"README.md": "x"}, Summary{}, "no weights"},
		"a broken file":    {map[string]string{"x/w.safetensors": st[:50]}, Summary{}, "x/w.safetensors: is no safetensors file, or cut off"},
		"a broken graph":   {map[string]string{"model.onnx": "garbage"}, Summary{}, "model.onnx: "},
		"a broken card":    {map[string]string{"m.safetensors": st, "README.md": "---\nlicense: [\n---\n"}, Summary{}, "README.md: its front matter"},
		"a broken config":  {map[string]string{"m.safetensors": st, "config.json": "{"}, Summary{}, "config.json is no JSON"},
		"a broken serving": {map[string]string{"m.safetensors": st, "model.json": `{"serving":{"task":"guess"}}`}, Summary{}, "serving.task"},
		"a lost shard":     {map[string]string{"m.safetensors": st, "m.safetensors.index.json": `{"weight_map":{"a":"n.safetensors"}}`}, Summary{}, `"n.safetensors", which it names, is not there`},
		"a lost tensor":    {map[string]string{"m.safetensors": st, "m.safetensors.index.json": `{"weight_map":{"z":"m.safetensors"}}`}, Summary{}, `"z" is to be in m.safetensors`},
		"a shard outside":  {map[string]string{"m.safetensors": st, "m.safetensors.index.json": `{"weight_map":{"a":"../m.safetensors"}}`}, Summary{}, "is not there"},
		"an empty index":   {map[string]string{"m.safetensors": st, "m.safetensors.index.json": `{}`}, Summary{}, "no weight_map"},
	} {
		s, err := Look(dir(t, tc.files))
		if tc.says != "" {
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v, want %q in a line", name, err, tc.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := Summary{Kind: s.Kind, Framework: s.Framework, Licence: s.Licence, Tags: s.Tags, Architecture: s.Architecture, Opaque: s.Opaque}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		for _, f := range s.Files {
			if strings.HasPrefix(f.Path, ".") {
				t.Errorf("%s: %s is hidden", name, f.Path)
			}
		}
	}
}

func TestLookAtOneFile(t *testing.T) {
	d := dir(t, map[string]string{"my.ONNX": string(net()), "w.safetensors": string(safetensorsOf(goodHeader, 26)), "x.txt": "x"})
	for name, want := range map[string]string{"my.ONNX": "model.onnx", "w.safetensors": "model.safetensors"} {
		s, err := Look(filepath.Join(d, name))
		if err != nil || len(s.Files) != 1 || s.Files[0].Path != want || s.Files[0].Source != filepath.Join(d, name) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	if _, err := Look(filepath.Join(d, "x.txt")); err == nil {
		t.Error("a text is taken for a model")
	}
	if _, err := Look(filepath.Join(d, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}

// TestLinks: caches of models hold links to files; links to directories and pipes are not
// followed.
func TestLinks(t *testing.T) {
	blobs := dir(t, map[string]string{"1": string(safetensorsOf(goodHeader, 26))})
	d := t.TempDir()
	if err := os.Symlink(filepath.Join(blobs, "1"), filepath.Join(d, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	if s, err := Look(d); err != nil || s.Files[0].SizeBytes == 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := os.Symlink(blobs, filepath.Join(d, "more")); err != nil {
		t.Fatal(err)
	}
	if _, err := Look(d); err == nil || !strings.Contains(err.Error(), "more is neither a file nor a directory") {
		t.Errorf("a link to a directory: %v", err)
	}
}

func TestLicencesOfCards(t *testing.T) {
	for front, want := range map[string]string{
		"license: mit": "MIT", "license: gpl-3.0": "GPL-3.0-only", "license: cc-by-nc-4.0": "CC-BY-NC-4.0", "license: llama3.1": "LicenseRef-llama3.1",
		"license: other\nlicense_name: My Own!": "LicenseRef-My-Own", "license: other": "LicenseRef-other", "license: [mit, apache-2.0]": "MIT AND Apache-2.0",
		"license: {a: b}": "", "tags: [a]": "", "license: ''": "LicenseRef-unknown",
	} {
		c, err := ParseCard([]byte("---\r\n" + front + "\n--- \ntext"))
		if err != nil || c.Licence != want {
			t.Errorf("%s: %q, %v, want %q", front, c.Licence, err, want)
		}
	}
	for _, text := range []string{"", "# x", "---", "---\nlicense: mit", "text\n---\nlicense: mit\n---\n"} {
		if c, err := ParseCard([]byte(text)); err != nil || c.Licence != "" {
			t.Errorf("%q has the licence %q, %v", text, c.Licence, err)
		}
	}
	if _, err := ParseCard([]byte("---\n" + strings.Repeat("#", frontBytesMax) + "\n---\n")); err == nil {
		t.Error("a front matter without end is read")
	}
}

func FuzzSafetensors(f *testing.F) {
	f.Add(safetensorsOf(goodHeader, 26))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadSafetensors(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		at := uint64(0)
		for _, x := range s.Tensors {
			if x.Begin != at || x.End < at || x.End > uint64(len(b)) {
				t.Fatalf("tensor %+v is not in its place", x)
			}
			at = x.End
		}
	})
}

func FuzzONNX(f *testing.F) {
	f.Add(net())
	f.Add(outside("w.data"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ReadONNX(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for name := range o.External {
			if !filepath.IsLocal(name) {
				t.Fatalf("%q is not beside the model", name)
			}
		}
		if _, err := json.Marshal(o); err != nil || o.Parameters < 0 {
			t.Fatal(err, o.Parameters)
		}
	})
}

func FuzzCard(f *testing.F) {
	f.Add([]byte(card))
	f.Add([]byte("---\na: &a [1]\nb: [*a, *a]\n---\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCard(b)
		if err == nil && len(c.Tags) > tagsMax {
			t.Fatal(len(c.Tags))
		}
	})
}

package infer

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func decode(t *testing.T, text string) *Request {
	t.Helper()
	r, err := DecodeRequest([]byte(text), len(text), Limits{})
	if err != nil {
		t.Fatalf("decoding %s: %v", text, err)
	}
	return r
}

func TestDecodeRequest(t *testing.T) {
	const text = ` { "id" : "a\u00e91", "extra": [{"deep": [1, null, "x"]}, -0.5e+3],
		"parameters": {"n": 3, "f": 0.5, "b": true, "s": "t", "o": {"x": [1]}},
		"inputs": [
			{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [[1, -2.5], [3e2, 0.1]]},
			{"data": [1, 2, 18446744073709551615], "name": "late", "datatype": "UINT64", "shape": [3]},
			{"name": "b", "shape": [1, 2], "datatype": "BOOL", "data": [true, false]},
			{"name": "s", "shape": [2, 1], "datatype": "BYTES", "data": [["a\n"], [""]], "parameters": null},
			{"name": "none", "shape": [0, 4], "datatype": "INT8", "data": []}
		],
		"outputs": [{"name": "y", "parameters": {"binary_data": true}}, {"name": "z"}] } `
	want := &Request{
		ID:         "aé1",
		Parameters: Parameters{"n": int64(3), "f": 0.5, "b": true, "s": "t", "o": json.RawMessage(`{"x": [1]}`)},
		Inputs: []Tensor{
			{Name: "x", Datatype: FP32, Shape: []int64{2, 2}, Data: []float32{1, -2.5, 300, 0.1}},
			{Name: "late", Datatype: Uint64, Shape: []int64{3}, Data: []uint64{1, 2, math.MaxUint64}},
			{Name: "b", Datatype: Bool, Shape: []int64{1, 2}, Data: []bool{true, false}},
			{Name: "s", Datatype: Bytes, Shape: []int64{2, 1}, Data: [][]byte{[]byte("a\n"), {}}},
			{Name: "none", Datatype: Int8, Shape: []int64{0, 4}, Data: []int8{}},
		},
		Outputs: []Output{{Name: "y", Parameters: Parameters{"binary_data": true}}, {Name: "z"}},
	}
	got := decode(t, text)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if !got.Binary("y") || got.Binary("z") || got.Binary("none") {
		t.Errorf("binary: y %v, z %v, none %v; want only y", got.Binary("y"), got.Binary("z"), got.Binary("none"))
	}
	got.AskBinary()
	if !got.Binary("y") || !got.Binary("z") {
		t.Error("AskBinary does not ask for all")
	}
}

func TestDecodeRequestRefuses(t *testing.T) {
	in := func(tensor string) string { return `{"inputs":[` + tensor + `]}` }
	x := func(shape, data string) string {
		return in(`{"name":"x","datatype":"FP32","shape":` + shape + `,"data":` + data + `}`)
	}
	for _, c := range []struct{ text, want string }{
		{"", "ends after 0 bytes"},
		{"garbage", "'{', was expected at byte 0, not \"g\""},
		{`[]`, "'{', was expected"},
		{`{}`, "inputs is missing"},
		{`{"inputs":{}}`, "inputs must be an array"},
		{`{"inputs":[]} x`, "the end was expected at byte 14"},
		{`{"inputs":[],}`, "a value was expected at byte 13"},
		{`{"inputs":[],"inputs":[]}`, "inputs is given twice"},
		{`{"inputs":[],"id":5}`, "id must be a string"},
		{"{\"inputs\":[],\"id\":\"\xff\"}", "is not UTF-8"},
		{"{\"inputs\":[],\"id\":\"a\nb\"}", "no control character"},
		{`{"inputs":[],"id":"\q"}`, "an escape that JSON does not know"},
		{`{"inputs":[],"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "nested deeper than 32"},
		{`{"inputs":[],"outputs":[{}]}`, "outputs[0].name is missing"},
		{in(`{"datatype":"FP32","shape":[1],"data":[1]}`), "inputs[0].name is missing"},
		{in(`{"name":"x","shape":[1],"data":[1]}`), "inputs[0].datatype is missing"},
		{in(`{"name":"x","datatype":"FP31","shape":[1],"data":[1]}`), `inputs[0].datatype is "FP31"; known are [BOOL`},
		{in(`{"name":"x","datatype":"FP32","data":[1]}`), "inputs[0].shape is missing"},
		{in(`{"name":"x","datatype":"FP32","shape":[1]}`), "inputs[0].data is missing"},
		{in(`{"name":"x","datatype":"FP16","shape":[1],"data":[1]}`), "FP16, which has no form in JSON"},
		{in(`{"name":"x","datatype":"BOOL","shape":[1],"data":[1]}`), "something else than true or false at element 0"},
		{in(`{"name":"x","datatype":"BYTES","shape":[1],"data":[1]}`), "something else than a string at element 0"},
		{in(`{"name":"x","datatype":"INT8","shape":[1],"data":[128]}`), "holds 128, which is no INT8"},
		{in(`{"name":"x","datatype":"UINT8","shape":[1],"data":[-1]}`), "holds -1, which is no UINT8"},
		{in(`{"name":"x","datatype":"INT32","shape":[1],"data":[1.5]}`), "holds 1.5, which is no INT32"},
		{x(`[1]`, `[1e99]`), "holds 1e99, which is no FP32"},
		{x(`[1]`, `[01]`), "a number was expected"},
		{x(`[1]`, `[NaN]`), "something else than a number"},
		{x(`[1]`, `["1"]`), "something else than a number at element 0; datatype is FP32, shape [1]"},
		{x(`[1]`, `5`), "inputs[0].data must be an array"},
		{x(`5`, `[1]`), "inputs[0].shape must be an array"},
		{x(`[-1]`, `[1]`), "inputs[0].shape holds -1"},
		{x(`[1.0]`, `[1]`), "inputs[0].shape holds 1.0"},
		{x(`[1,1,1,1,1,1,1,1,1]`, `[1]`), "has more than 8 dimensions"},
		{x(`[9223372036854775807,9223372036854775807]`, `[1]`), "makes more elements than the 16777216"},
		{x(`[9999]`, `[1]`), "holds fewer elements than the 9999"},
		{x(`[2]`, `[1]`), "holds 1 elements, but shape [2] has 2"},
		{x(`[1]`, `[1,2]`), "holds more elements than the 1 of shape [1]"},
		{x(`[1,2]`, `[[1],[2]]`), "has 1 entries at depth 1, but its shape is [1 2]"},
		{x(`[2,2]`, `[[1,2,3],[4]]`), "has 3 entries at depth 1"},
		{x(`[2,2]`, `[[1,2],3,4]`), "is not nested as its shape [2 2] says"},
		{x(`[4]`, `[[1,2],[3,4]]`), "something else than a number"},
		{in(`{"name":"x","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":"4"}}`), "inputs[0].parameters.binary_data_size must be a number of bytes"},
		{in(`{"name":"x","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4},"data":[1]}`), "data must be missing"},
		{in(`{"name":"x","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}`), "x has a binary_data_size of 4, but 0 bytes"},
		{in(`{"name":"x","datatype":"FP32","shape":[1],"parameters":[]}`), "'{' was expected"},
	} {
		_, err := DecodeRequest([]byte(c.text), len(c.text), Limits{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("decoding %s: got %v, want an error with %q", c.text, err, c.want)
		}
	}
}

func TestLimits(t *testing.T) {
	const two = `{"inputs":[{"name":"a","datatype":"INT8","shape":[2],"data":[1,2]},{"name":"b","datatype":"INT8","shape":[2],"data":[1,2]}]}`
	for _, c := range []struct {
		limits Limits
		want   string
	}{
		{Limits{BytesMax: 10}, "at most 10 are read"},
		{Limits{TensorsMax: 1}, "inputs has more than 1 entries"},
		{Limits{ElementsMax: 3}, "inputs[1].shape [2] makes more elements than the 3"},
	} {
		_, err := DecodeRequest([]byte(two), len(two), c.limits)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("limits %+v: got %v, want an error with %q", c.limits, err, c.want)
		}
	}
}

func TestParseHeaderLength(t *testing.T) {
	for _, c := range []struct {
		value string
		want  int
		err   string
	}{
		{"", 100, ""},
		{"100", 100, ""},
		{"7", 7, ""},
		{"101", 0, "the body has 100 bytes"},
		{"0", 0, "must be the number"},
		{"-1", 0, "must be the number"},
		{"99999999999999999999", 0, "must be the number"},
	} {
		got, err := ParseHeaderLength(c.value, 100)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("ParseHeaderLength(%q) = %d, %v; want %d, %q", c.value, got, err, c.want, c.err)
		}
	}
}

// all has a tensor of every datatype.
func all(binary bool) []Tensor {
	s := []int64{1, 2}
	out := []Tensor{
		{Name: "bool", Datatype: Bool, Shape: s, Data: []bool{true, false}},
		{Name: "u8", Datatype: Uint8, Shape: s, Data: []uint8{0, 255}},
		{Name: "u16", Datatype: Uint16, Shape: s, Data: []uint16{0, 65535}},
		{Name: "u32", Datatype: Uint32, Shape: s, Data: []uint32{0, math.MaxUint32}},
		{Name: "u64", Datatype: Uint64, Shape: s, Data: []uint64{0, math.MaxUint64}},
		{Name: "i8", Datatype: Int8, Shape: s, Data: []int8{-128, 127}},
		{Name: "i16", Datatype: Int16, Shape: s, Data: []int16{-32768, 32767}},
		{Name: "i32", Datatype: Int32, Shape: s, Data: []int32{math.MinInt32, math.MaxInt32}},
		{Name: "i64", Datatype: Int64, Shape: s, Data: []int64{math.MinInt64, math.MaxInt64}},
		{Name: "f32", Datatype: FP32, Shape: s, Data: []float32{math.MaxFloat32, -math.SmallestNonzeroFloat32}},
		{Name: "f64", Datatype: FP64, Shape: s, Data: []float64{math.Pi, -math.MaxFloat64}},
		{Name: "bytes", Datatype: Bytes, Shape: s, Data: [][]byte{[]byte("é\""), []byte("\n")}},
	}
	if binary {
		out = append(out, Tensor{Name: "f16", Datatype: FP16, Shape: s, Data: []Half{0x3c00, 0x7e00}},
			Tensor{Name: "raw", Datatype: Bytes, Shape: s, Data: [][]byte{{0xff}, {}}},
			Tensor{Name: "nan", Datatype: FP32, Shape: []int64{2}, Data: []float32{float32(math.Inf(1)), float32(math.Inf(-1))}})
		for i := range out {
			out[i].Binary = true
			if i%2 == 0 {
				out[i].Parameters = Parameters{"a": "b"}
			}
		}
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	for _, binary := range []bool{false, true} {
		req := &Request{ID: `quoted " id`, Parameters: Parameters{"a": int64(1)}, Inputs: all(binary), Outputs: []Output{{Name: "y"}}}
		body, header, err := req.Append([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		body = body[len("before"):]
		if binary == (header == 0) {
			t.Errorf("binary %v: header is %d", binary, header)
		}
		if header == 0 {
			header = len(body)
		}
		if !json.Valid(body[:header]) {
			t.Errorf("not JSON: %s", body[:header])
		}
		again, err := DecodeRequest(body, header, Limits{})
		if err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		if diff := cmp.Diff(req, again); diff != "" {
			t.Errorf("request (-want +got):\n%s", diff)
		}

		res := &Response{ModelName: "m", ModelVersion: "1", ID: "i", Outputs: all(binary)}
		body, header, err = res.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if header == 0 {
			header = len(body)
		}
		got, err := DecodeResponse(body, header, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(res, got); diff != "" {
			t.Errorf("response (-want +got):\n%s", diff)
		}
	}
}

func TestBinaryRefuses(t *testing.T) {
	head := func(datatype, shape, size string) string {
		return `{"inputs":[{"name":"x","datatype":"` + datatype + `","shape":` + shape + `,"parameters":{"binary_data_size":` + size + `}}]}`
	}
	for _, c := range []struct{ head, data, want string }{
		{head("FP32", "[2]", "4"), "abcd", "x has a binary_data_size of 4, but shape [2] of FP32 takes 8 bytes"},
		{head("FP32", "[1]", "4"), "abcdefgh", "4 bytes of binary data are left"},
		{head("BYTES", "[1]", "8"), "\x05\x00\x00\x00abcd", "a string of 5 bytes at element 0, where 4"},
		{head("BYTES", "[2]", "8"), "\x04\x00\x00\x00abcd", "1 strings and 0 bytes left"},
		{head("BYTES", "[1]", "9"), "\x04\x00\x00\x00abcde", "1 strings and 1 bytes left"},
		{head("BYTES", "[999]", "4"), "\x00\x00\x00\x00", "too little for the 999 strings"},
	} {
		_, err := DecodeRequest([]byte(c.head+c.data), len(c.head), Limits{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q: got %v, want an error with %q", c.head, c.data, err, c.want)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	for _, c := range []struct {
		tensor Tensor
		want   string
	}{
		{New("y", []float32{float32(math.NaN())}, 1), "y holds NaN, which has no form in JSON"},
		{New("y", []float32{1}, 2), "y holds 1 elements, but shape [2] has 2"},
		{Tensor{Name: "y", Datatype: FP64, Shape: []int64{1}, Data: []float32{1}}, `is of datatype "FP64", but holds "FP32"`},
		{Tensor{Name: "y", Datatype: FP16, Shape: []int64{1}, Data: []Half{1}}, "ask for binary data"},
		{Tensor{Name: "y", Datatype: Bytes, Shape: []int64{1}, Data: [][]byte{{0xff}}}, "not UTF-8"},
	} {
		_, _, err := (&Response{Outputs: []Tensor{c.tensor}}).Append(nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want an error with %q", c.tensor, err, c.want)
		}
	}
}

func TestError(t *testing.T) {
	body := AppendError(nil, "a \"bad\" shape\n")
	if got, ok := DecodeError(body); !ok || got != "a \"bad\" shape\n" {
		t.Errorf("DecodeError(%s) = %q, %v", body, got, ok)
	}
	for _, text := range []string{"", "502", `{"message":"x"}`, `{"error":5}`} {
		if got, ok := DecodeError([]byte(text)); ok {
			t.Errorf("DecodeError(%s) = %q", text, got)
		}
	}
}

func TestHalf(t *testing.T) {
	for h, want := range map[Half]float32{0: 0, 0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0001: 1.0 / (1 << 24), 0x83ff: -1023.0 / (1 << 24), 0x3555: 0.33325195, 0x7c00: float32(math.Inf(1)), 0xfc00: float32(math.Inf(-1))} {
		if got := h.Float32(); got != want {
			t.Errorf("%#04x is %v, want %v", uint16(h), got, want)
		}
	}
	if !math.IsNaN(float64(Half(0x7e00).Float32())) {
		t.Error("0x7e00 is not NaN")
	}
}

func TestFits(t *testing.T) {
	m := TensorMetadata{Name: "x", Datatype: FP32, Shape: []int64{-1, 64}}
	for shape, want := range map[*[]int64]bool{{1, 64}: true, {9, 64}: true, {0, 64}: false, {64}: false, {1, 63}: false, {1, 64, 1}: false} {
		err := m.Fits(&Tensor{Name: "x", Shape: *shape})
		if (err == nil) != want {
			t.Errorf("shape %v: %v", *shape, err)
		}
		if err != nil && !strings.Contains(err.Error(), "expected [-1 64]") {
			t.Errorf("the error does not name the expected shape: %v", err)
		}
	}
}

// FuzzDecode: whatever is read is also written, and the standard library agrees that it
// was JSON.
func FuzzDecode(f *testing.F) {
	for _, binary := range []bool{false, true} {
		body, header, err := (&Request{ID: "1", Inputs: all(binary)}).Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, header)
	}
	f.Add([]byte(`{"inputs":[{"data":[[1,2],[3,4]],"name":"x","datatype":"FP32","shape":[2,2]}],"outputs":null,"x":{"y":[1e5]}}`), 0)
	f.Fuzz(func(t *testing.T, body []byte, header int) {
		if header <= 0 || header > len(body) {
			header = len(body)
		}
		_, _ = DecodeResponse(body, header, Limits{ElementsMax: 4096})
		r, err := DecodeRequest(body, header, Limits{ElementsMax: 4096})
		if err != nil {
			return
		}
		if !json.Valid(body[:header]) {
			t.Fatalf("read what is no JSON: %q", body[:header])
		}
		again, length, err := r.Append(nil)
		if err != nil {
			t.Fatalf("read, but not written: %v", err)
		}
		if length == 0 {
			length = len(again)
		}
		if _, err := DecodeRequest(again, length, Limits{}); err != nil {
			t.Fatalf("written, but not read: %v\n%s", err, again)
		}
	})
}

func BenchmarkDecodeRequest(b *testing.B) {
	data := make([]float32, 64)
	for i := range data {
		data[i] = float32(i) / 7
	}
	for _, binary := range []bool{false, true} {
		x := New("x", data, 1, 64)
		x.Binary = binary
		body, header, err := (&Request{Inputs: []Tensor{x}}).Append(nil)
		if err != nil {
			b.Fatal(err)
		}
		name := "binary"
		if header == 0 {
			header, name = len(body), "json"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeRequest(body, header, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

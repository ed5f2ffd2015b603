package serve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"polder.dev/polder/model/infer"
	"polder.dev/polder/model/infer/infertest"
	"polder.dev/polder/tools/onnx/session"
)

func TestMain(m *testing.M) {
	if os.Getenv(session.LibraryVariable) == "" {
		os.Setenv(session.LibraryVariable, filepath.Join("..", "..", "..", "bin", "libexec", "polder", session.LibraryName))
	}
	os.Exit(m.Run())
}

var net8 = infertest.Random(1, 8, 16, 3)

// running is a server under test.
type running struct {
	url  string
	stop context.CancelFunc
	done chan error
}

func start(t *testing.T, model []byte, env map[string]string) *running {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, infer.ModelFile), model, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := read(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	c.dir, c.name, c.version = dir, "m", "sha256:00"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{url: "http://" + l.Addr().String(), stop: stop, done: make(chan error, 1)}
	go func() { r.done <- serve(ctx, slog.New(slog.DiscardHandler), c, l) }()
	t.Cleanup(func() {
		stop()
		if err, ok := <-r.done; ok && err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if code, _ := r.get(t, "/v2/health/ready"); code == http.StatusOK {
			return r
		}
		if time.Now().After(end) {
			t.Fatal("the server does not become ready")
		}
	}
}

func (r *running) get(t *testing.T, path string) (int, string) {
	t.Helper()
	res, err := http.Get(r.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// post returns the status, the length of the JSON ("" where all is) and the body.
func (r *running) post(t *testing.T, path, header string, body io.Reader) (int, string, []byte) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, r.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if header != "" {
		req.Header.Set(infer.HeaderLength, header)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get(infer.HeaderLength), text
}

const inferPath = "/v2/models/m/infer"

func request(rows ...[]float32) infer.Request {
	var flat []float32
	for _, r := range rows {
		flat = append(flat, r...)
	}
	return infer.Request{ID: "7", Inputs: []infer.Tensor{infer.New("x", flat, int64(len(rows)), int64(len(rows[0])))}}
}

func row(seed int) []float32 {
	out := make([]float32, 8)
	for i := range out {
		out[i] = float32(math.Sin(float64(seed*8 + i)))
	}
	return out
}

func (r *running) infer(t *testing.T, req infer.Request, binary bool) *infer.Response {
	t.Helper()
	if binary {
		req.AskBinary()
		req.Inputs[0].Binary = true
	}
	body, header, err := req.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	length := ""
	if header > 0 {
		length = strconv.Itoa(header)
	}
	code, length, text := r.post(t, inferPath, length, bytes.NewReader(body))
	if code != http.StatusOK || (length != "") != binary {
		t.Fatalf("answered %d, JSON %q: %s", code, length, text)
	}
	n, err := infer.ParseHeaderLength(length, len(text))
	if err != nil {
		t.Fatal(err)
	}
	res, err := infer.DecodeResponse(text, n, infer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func same(t *testing.T, res *infer.Response, rows ...[]float32) {
	t.Helper()
	y := res.Output(infer.OutputProbabilities)
	if res.ModelName != "m" || res.ModelVersion != "sha256:00" || res.ID != "7" || y == nil || y.Shape[0] != int64(len(rows)) {
		t.Fatalf("response is %+v", res)
	}
	data := y.Data.([]float32)
	for i, r := range rows {
		for k, want := range net8.Answer(r) {
			if got := float64(data[3*i+k]); math.Abs(got-want) > 1e-5 {
				t.Errorf("row %d, column %d is %v, want %v", i, k, got, want)
			}
		}
	}
}

func TestInfer(t *testing.T) {
	r := start(t, net8.Bytes(), map[string]string{"POLDER_BATCH_MAX": "2"})
	for _, binary := range []bool{false, true} {
		same(t, r.infer(t, request(row(1)), binary), row(1))
		same(t, r.infer(t, request(row(1), row(2), row(3), row(4), row(5)), binary), row(1), row(2), row(3), row(4), row(5))
	}
	for path, want := range map[string]string{
		"/v2":                 `{"name":"polder-onnx","version":`,
		"/v2/":                `{"name":"polder-onnx","version":`,
		"/v2/health/live":     `{"live":true}`,
		"/v2/models/m":        `{"name":"m","versions":["sha256:00"],"platform":"onnxruntime_onnx","inputs":[{"name":"x","datatype":"FP32","shape":[-1,8]}],"outputs":[{"name":"probabilities","datatype":"FP32","shape":[-1,3]}]}`,
		"/v2/models/m/ready":  `{"ready":true}`,
		"/metrics":            `polder_onnx_requests_total{code="200"} 4`,
		"/v2/models/m?what=x": `"inputs"`,
	} {
		if code, text := r.get(t, path); code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s answered %d: %s; want %s", path, code, text, want)
		}
	}
}

func TestInferRefuses(t *testing.T) {
	r := start(t, net8.Bytes(), nil)
	good, _, err := func() ([]byte, int, error) { q := request(row(1)); return q.Append(nil) }()
	if err != nil {
		t.Fatal(err)
	}
	short, _, err := func() ([]byte, int, error) { q := request(row(1)[:7]); return q.Append(nil) }()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path, header string
		body               io.Reader
		code               int
		want               string
	}{
		{"shape", inferPath, "", bytes.NewReader(short), 400, "input x has shape [1 7]; expected [-1 8]"},
		{"empty", inferPath, "", strings.NewReader(""), 400, "the JSON ends after 0 bytes"},
		{"garbage of 10 MB", inferPath, "", bytes.NewReader(bytes.Repeat([]byte{0xa5}, 10<<20)), 400, "malformed"},
		{"brackets of 10 MB", inferPath, "", strings.NewReader(`{"inputs":[{"data":` + strings.Repeat("[", 10<<20)), 400, "nested deeper than 32"},
		{"numbers of 10 MB", inferPath, "", strings.NewReader(`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,8],"data":[` + strings.Repeat("1,", 5<<20) + `1]}]}`), 400, "holds more elements than the 8"},
		{"too large", inferPath, "", bytes.NewReader(make([]byte, bodyMax+1)), 413, "more than the 16777216 bytes"},
		{"too large, unannounced", inferPath, "", io.MultiReader(bytes.NewReader(make([]byte, bodyMax+1))), 413, "more than the 16777216 bytes"},
		{"header", inferPath, "9999999", bytes.NewReader(good), 400, "Inference-Header-Content-Length is 9999999"},
		{"model", "/v2/models/other/infer", "", bytes.NewReader(good), 404, `there is no model \"other\" here; the one that is served is \"m\"`},
		{"path", "/v1/models/m:predict", "", bytes.NewReader(good), 404, "there is no path /v1/models/m:predict; the model is at /v2/models/m, and takes requests at /v2/models/m/infer"},
		{"method", "/v2/models/m", "", bytes.NewReader(good), 405, "/v2/models/m takes GET, not POST"},
		{"output", inferPath, "", strings.NewReader(strings.TrimSuffix(string(good), "}") + `,"outputs":[{"name":"z"}]}`), 400, `outputs[0].name is \"z\"; this model has [\"probabilities\"]`},
	} {
		code, _, text := r.post(t, c.path, c.header, c.body)
		if code != c.code || !strings.Contains(string(text), c.want) {
			t.Errorf("%s: answered %d %s; want %d with %s", c.name, code, text, c.code, c.want)
		}
		if _, ok := infer.DecodeError(text); !ok {
			t.Errorf("%s: %s is no error of the protocol", c.name, text)
		}
	}
	if code, text := r.get(t, inferPath); code != 405 || !strings.Contains(text, inferPath+" takes POST, not GET") {
		t.Errorf("GET of %s: %d %s", inferPath, code, text)
	}
	same(t, r.infer(t, request(row(1)), false), row(1))
	if _, text := r.get(t, "/metrics"); !strings.Contains(text, "polder_onnx_body_bytes 0\n") {
		t.Error("large bodies are still held")
	}
}

// A model whose answer is no number says so, and whose fault it is.
func TestNaN(t *testing.T) {
	root := infertest.Graph{
		Inputs:  []infertest.Value{{Name: "x", Type: infertest.Float, Shape: []int64{-1, 1}}},
		Outputs: []infertest.Value{{Name: "values", Type: infertest.Float, Shape: []int64{-1, 1}}},
		Nodes:   []infertest.Node{{Op: "Sqrt", Inputs: []string{"x"}, Outputs: []string{"values"}}},
	}
	r := start(t, root.Bytes(), nil)
	for _, c := range []struct {
		x    float32
		code int
		want string
	}{
		{4, 200, `"data":[2]`},
		{-1, 500, "output values holds NaN in row 0"},
		{float32(math.NaN()), 400, "input x holds NaN in row 0"},
		{float32(math.Inf(1)), 500, "holds +Inf, which has no form in JSON; ask for binary data"},
	} {
		q := request([]float32{c.x})
		q.Inputs[0].Binary = true
		body, header, err := q.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if code, _, text := r.post(t, inferPath, strconv.Itoa(header), bytes.NewReader(body)); code != c.code || !strings.Contains(string(text), c.want) {
			t.Errorf("the root of %v: answered %d %s; want %d with %s", c.x, code, text, c.code, c.want)
		}
	}
}

// A thousand clients that send a part of a request and then nothing do not keep others
// from being answered.
func TestHanging(t *testing.T) {
	r := start(t, net8.Bytes(), nil)
	address := strings.TrimPrefix(r.url, "http://")
	parts := []string{
		"", "POST /v2/models/m/in", "POST " + inferPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{\"inputs\":",
		"POST " + inferPath + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"inp",
	}
	for i := range 1000 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, parts[i%len(parts)]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		same(t, r.infer(t, request(row(i)), i%2 == 0), row(i))
	}
}

// Large bodies that do not end are bounded together.
func TestHeld(t *testing.T) {
	r := start(t, net8.Bytes(), nil)
	address := strings.TrimPrefix(r.url, "http://")
	const most = bodiesMax / bodyMax
	for i := range most + 1 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{", inferPath, bodyMax)
		_, _ = c.Write(bytes.Repeat([]byte{' '}, bodyMax-2)) // the last may be closed meanwhile
		if i == most {
			if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "503") {
				t.Errorf("one too many was answered %q, %v", line, err)
			}
		}
	}
	same(t, r.infer(t, request(row(1)), false), row(1))
}

// Who asked before the end is answered, and everybody can see that the end is near.
func TestDrain(t *testing.T) {
	r := start(t, net8.Bytes(), nil)
	var g sync.WaitGroup
	stopped := make(chan struct{})
	for w := range 4 {
		g.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := 0; ; i++ {
				select {
				case <-stopped: // as a gateway does that has seen that it is not ready
					return
				default:
				}
				q := request(row(w))
				body, _, err := q.Append(nil)
				if err != nil {
					t.Error(err)
					return
				}
				res, err := client.Post(r.url+inferPath, infer.ContentJSON, bytes.NewReader(body))
				if err != nil || res.StatusCode != http.StatusOK {
					t.Errorf("request %d: %v, %v", i, res, err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
	}
	r.stop()
	for code := 0; code != http.StatusServiceUnavailable; {
		code, _ = r.get(t, "/v2/health/ready")
	}
	if code, _ := r.get(t, "/v2/health/live"); code != http.StatusOK {
		t.Errorf("a server that drains is alive, but answered %d", code)
	}
	close(stopped)
	g.Wait()
	if err := <-r.done; err != nil {
		t.Errorf("the server ended with %v", err)
	}
	close(r.done)
	if _, err := http.Get(r.url + "/v2/health/live"); err == nil {
		t.Error("the server still listens")
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, infer.ModelFile), []byte("corrupt"), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, d := range map[string]string{"is no model that onnxruntime": dir, "has no model.onnx": t.TempDir()} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		err = serve(t.Context(), slog.New(slog.DiscardHandler), config{dir: d, name: "m", threads: 1, rowsMax: 1}, l)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want one line with %q", err, want)
		}
	}
}

func TestRead(t *testing.T) {
	none := func(string) string { return "" }
	c, err := read(none)
	if err != nil || c.port != 8080 || c.dir != "/polder/model" || c.name != "model" || c.rowsMax != 32 || c.delay != 0 || c.threads < 1 {
		t.Errorf("defaults are %+v, %v", c, err)
	}
	for name, value := range map[string]string{
		"PORT": "http", "POLDER_BATCH_MAX": "0", "POLDER_BATCH_DELAY_MICROSECONDS": "-1", "POLDER_THREADS": "1e3",
	} {
		_, err := read(func(n string) string {
			if n == name {
				return value
			}
			return ""
		})
		if err == nil || !errors.Is(err, ErrEnvironment) || !strings.Contains(err.Error(), name+" is \""+value) {
			t.Errorf("%s=%s: got %v", name, value, err)
		}
	}
}

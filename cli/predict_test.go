package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/kubetest"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/infer"
	"polder.dev/polder/model/sheet"
)

// gatewayThat answers requests as one of a model of two numbers does, and says what it was
// asked.
func gatewayThat(t *testing.T, protocol v1alpha1.Protocol) (*asker, *[]string) {
	t.Helper()
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.Path+" "+string(body))
		switch {
		case r.Method == http.MethodGet:
			io.WriteString(w, `{"name":"m","platform":"onnx","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[]}`)
		case strings.Contains(string(body), "13"):
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"error":"input x has shape [1,3]; expected [-1,2]"}`)
		case strings.Contains(string(body), "14"):
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"error":{"message":"no replica came"}}`)
		case protocol == v1alpha1.ProtocolV2:
			io.WriteString(w, `{"model_name":"m","outputs":[{"name":"probabilities","datatype":"FP32","shape":[1,2],"data":[0.25,0.75]}]}`)
		default:
			w.Write(body)
		}
	}))
	t.Cleanup(s.Close)
	return &asker{client: s.Client(), base: s.URL + "/lab", name: "m", protocol: protocol}, &asked
}

func TestPredict(t *testing.T) {
	const rows = "POST /lab/v2/models/m/infer " + `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2.5]}]}`
	for name, tt := range map[string]struct {
		protocol   v1alpha1.Protocol
		file, text string
		path       string
		asked      string // last
		says       string
	}{
		"a row":       {v1alpha1.ProtocolV2, "-", "[1, 2.5]", "", rows, "0    1      0.7500       0.5000"},
		"rows":        {v1alpha1.ProtocolV2, "-", "[[1, 2.5]]\n", "", rows, "0.7500"},
		"a table":     {v1alpha1.ProtocolV2, "a.CSV", "width,height\n1, 2.5\n", "", rows, "0.7500"},
		"a request":   {v1alpha1.ProtocolV2, "-", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`, "", `POST /lab/v2/models/m/infer {"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`, "0.7500"},
		"a chat":      {v1alpha1.ProtocolOpenAI, "-", `{"messages":[]}`, "", `POST /lab/v1/chat/completions {"messages":[],"model":"m"}`, `"model": "m"`},
		"a prompt":    {v1alpha1.ProtocolOpenAI, "-", `{"prompt":"a","model":"other"}`, "", `POST /lab/v1/completions {"model":"other","prompt":"a"}`, "other"},
		"an embedder": {v1alpha1.ProtocolOpenAI, "-", `{"input":"a"}`, "", `POST /lab/v1/embeddings {"input":"a","model":"m"}`, "a"},
		"anything":    {v1alpha1.ProtocolHTTP, "-", "\x00bytes", "/a/b", "POST /lab/http/m/a/b \x00bytes", "\x00bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			a, asked := gatewayThat(t, tt.protocol)
			answer, err := a.ask(t.Context(), tt.file, []byte(tt.text), tt.path)
			if err != nil {
				t.Fatal(err)
			}
			if got := (*asked)[len(*asked)-1]; got != tt.asked {
				t.Errorf("asked was %q, not %q", got, tt.asked)
			}
			var out strings.Builder
			if err := a.print(&out, answer, false); err != nil || !strings.Contains(out.String(), tt.says) {
				t.Errorf("it prints %q, %v; not %q", out.String(), err, tt.says)
			}
			if out.Reset(); tt.protocol == v1alpha1.ProtocolV2 {
				if err := a.print(&out, answer, true); err != nil || !json.Valid([]byte(out.String())) {
					t.Errorf("for programs it prints %q", out.String())
				}
			}
		})
	}
}

func TestPredictIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		protocol   v1alpha1.Protocol
		file, text string
		want       string
		mine       bool // the person can put it right
	}{
		"nothing":         {v1alpha1.ProtocolV2, "-", " ", "nothing in it", true},
		"text":            {v1alpha1.ProtocolV2, "-", "hello", "write [[1, 2], [3, 4]]", true},
		"no row":          {v1alpha1.ProtocolV2, "-", "[]", "no row", true},
		"ragged":          {v1alpha1.ProtocolV2, "-", "[[1,2],[3]]", "row 1 has 1 numbers, and row 0 has 2", true},
		"too long":        {v1alpha1.ProtocolV2, "-", "[1,2,3]", "a row has 3 numbers, and the model takes 2", true},
		"no number":       {v1alpha1.ProtocolV2, "a.csv", "1,2\n3,x\n", `row 2, column x2: "x"`, true},
		"no names":        {v1alpha1.ProtocolV2, "a.csv", "1,x\n3,4\n", `row 1, column x2: "x"`, true},
		"not a number":    {v1alpha1.ProtocolV2, "a.csv", "1,2\n3,NaN\n", `"NaN" is not a number`, true},
		"no such request": {v1alpha1.ProtocolV2, "-", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1]}]}`, "no request of the Open Inference Protocol: inputs[0]", true},
		"by the model":    {v1alpha1.ProtocolV2, "-", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[13]}]}`, "m answers 400 Bad Request: input x has shape", true},
		"by the gateway":  {v1alpha1.ProtocolHTTP, "-", "14", "m answers 503 Service Unavailable: no replica came", false},
		"no JSON":         {v1alpha1.ProtocolOpenAI, "-", "hi", "no JSON object", true},
		"no question":     {v1alpha1.ProtocolOpenAI, "-", "{}", "none of messages, prompt and input", true},
	} {
		a, _ := gatewayThat(t, tt.protocol)
		_, err := a.ask(t.Context(), tt.file, []byte(tt.text), "")
		if err == nil || !strings.Contains(err.Error(), tt.want) || usage.Is(err) != tt.mine {
			t.Errorf("%s: %v, for the person: %v; want %q", name, err, usage.Is(err), tt.want)
		}
	}
}

// TestPredictComesBack: a client that was too fast waits for its turn, and not for long.
func TestPredictComesBack(t *testing.T) {
	for wait, want := range map[string]int{"1": 2, "3600": 1, "": 1} {
		asked := 0
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked == 1 {
				w.Header().Set("Retry-After", wait)
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			io.Copy(w, r.Body)
		}))
		a := &asker{client: s.Client(), base: s.URL, name: "m", protocol: v1alpha1.ProtocolHTTP}
		answer, err := a.ask(t.Context(), "-", []byte("hi"), "")
		if asked != want || (err == nil) != (want == 2) || want == 2 && string(answer) != "hi" {
			t.Errorf("Retry-After %q: asked %d times, %q, %v", wait, asked, answer, err)
		}
		s.Close()
	}
}

// TestTablesByName: columns in another order, and others besides, are no other question.
func TestTablesByName(t *testing.T) {
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			io.WriteString(w, `{"name":"m","platform":"onnx","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[],"serving":{"task":"classification","features":["age","income"],"labels":["good","bad"]}}`)
			return
		}
		body, _ := io.ReadAll(r.Body)
		asked = string(body)
		io.WriteString(w, `{"model_name":"m","outputs":[{"name":"probabilities","datatype":"FP32","shape":[1,2],"data":[0.25,0.75]}]}`)
	}))
	defer s.Close()
	a := &asker{client: s.Client(), base: s.URL, name: "m", protocol: v1alpha1.ProtocolV2}
	for _, text := range []string{"age,income\n30,5\n", "income;name;age\n5;ana;30\n", "30,5\n"} {
		answer, err := a.ask(t.Context(), "a.csv", []byte(text), "")
		var out strings.Builder
		if err != nil || !strings.Contains(asked, `"data":[30,5]`) || a.print(&out, answer, false) != nil || !strings.Contains(out.String(), "0    bad    0.7500") {
			t.Errorf("%q: asked %s, %v\n%s", text, asked, err, out.String())
		}
	}
	if _, err := a.ask(t.Context(), "a.csv", []byte("age,wage\n30,5\n"), ""); err == nil || !strings.Contains(err.Error(), `there is no column "income"`) || !usage.Is(err) {
		t.Errorf("a column is missing: %v", err)
	}
}

func TestRowsHaveTheModelsShape(t *testing.T) {
	m := &infer.ModelMetadata{Inputs: []infer.TensorMetadata{{Name: "x", Datatype: infer.FP32, Shape: []int64{-1, 2, -1}}}}
	b, err := rowsBody(m, [][]float64{{1, 2, 3, 4}, {5, 6, 7, 8}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := infer.DecodeRequest(b, len(b), infer.Limits{})
	if err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if d := cmp.Diff([]int64{2, 2, 2}, r.Inputs[0].Shape); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestProtocolOf(t *testing.T) {
	s := &v1alpha1.InferenceService{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "small"}, Spec: v1alpha1.InferenceServiceSpec{Protocol: v1alpha1.ProtocolOpenAI}}
	r := &v1alpha1.ModelRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "front"}, Spec: v1alpha1.ModelRouteSpec{Targets: []v1alpha1.RouteTarget{{Service: "small"}}}}
	gone := r.DeepCopy()
	gone.Name, gone.Spec.Targets[0].Service = "gone", "nothing"
	c := &kube.Client{WithWatch: kubetest.New(t, nil, s, r, gone), Namespace: "lab"}
	for name, want := range map[string]string{"small": "openai", "front": "openai", "gone": "which is not there", "nobody": "no service and no route nobody"} {
		got, err := protocolOf(t.Context(), c, name)
		if err != nil && (!usage.Is(err) || !strings.Contains(err.Error(), want)) || err == nil && string(got) != want {
			t.Errorf("%s: %s, %v; want %q", name, got, err, want)
		}
	}
	if _, err := newAsker(t.Context(), c, "small"); err == nil {
		t.Error("without a gateway it is asked")
	}
}

func FuzzReadRows(f *testing.F) {
	f.Add([]byte("a,b\n1,2\n"))
	f.Add([]byte("[[1,2],[3,4]]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		rows, err := readRows(text)
		if err != nil {
			s, err := sheet.Read(bytes.NewReader(text))
			if err != nil {
				return
			}
			if rows, err = numbers(s, nil); err != nil {
				return
			}
		}
		for _, r := range rows {
			if len(r) != len(rows[0]) || len(r) == 0 {
				t.Fatalf("rows of different length: %v", rows)
			}
		}
		if _, err := json.Marshal(rows); err != nil {
			t.Fatal(err)
		}
	})
}

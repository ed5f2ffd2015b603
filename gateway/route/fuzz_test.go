package route

import (
	"net/http"
	"strconv"
	"testing"

	"polder.dev/polder/model/infer"
)

// Whatever a client asks and two models answer, the client is answered something, nothing
// is held afterwards, and what cannot be judged did not come from the specialist alone.
func FuzzCascade(f *testing.F) {
	ask := `{"inputs":[{"name":"x","datatype":"FP32","shape":[2,1],"data":[1,2]}]}`
	small := `{"outputs":[{"name":"probabilities","datatype":"FP32","shape":[2,2],"data":[1,0,0.5,0.5]}]}`
	large := `{"outputs":[{"name":"probabilities","datatype":"FP32","shape":[1,2],"data":[0.25,0.75]}]}`
	f.Add([]byte(ask), 0, []byte(small), 0, []byte(large), 0)
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"BYTES","shape":[0],"data":[]}],"outputs":[{"name":"echo"}]}`), 0, []byte(small), 10, []byte(`{"outputs":[]}`), 3)
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"FP16","shape":[2,1],"parameters":{"binary_data_size":4}}]}abcd`), 89, []byte(small), 0, []byte(large), 0)
	f.Fuzz(func(t *testing.T, body []byte, header int, one []byte, oneHeader int, other []byte, otherHeader int) {
		w := start(t)
		w.Set(cascade("0.5"))
		says := func(body []byte, header int) http.HandlerFunc {
			return func(rw http.ResponseWriter, _ *http.Request) {
				if header > 0 {
					rw.Header().Set(infer.HeaderLength, strconv.Itoa(header))
				}
				_, _ = rw.Write(body)
			}
		}
		w.services["s"], w.services["l"] = says(one, oneHeader), says(other, otherHeader)
		h := http.Header{}
		if header > 0 {
			h.Set(infer.HeaderLength, strconv.Itoa(header))
		}
		r := w.do(request{body: body, header: h})
		if r.StatusCode != http.StatusOK && r.StatusCode != http.StatusBadRequest {
			t.Errorf("answered %d: %s", r.StatusCode, text(t, r))
		}
		if r.StatusCode == http.StatusOK && r.Header.Get(headerTarget) == "small" {
			answer, err := decoded(r.Header, []byte(text(t, r)))
			if err != nil || answer.Scores() == nil {
				t.Errorf("what cannot be judged was believed: %v", err)
			}
		}
		if n := w.Router.held.used.Load(); n != 0 {
			t.Errorf("%d bytes are held by nobody", n)
		}
	})
}

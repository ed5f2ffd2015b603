package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// attach pushes, as who, an artifact of the type that refers to subject, and returns its
// digest.
func (h *house) attach(who, repository, subject, artifactType string) string {
	h.t.Helper()
	if code := h.upload(who, repository, "{}"); code != http.StatusCreated {
		h.t.Fatalf("the blob: %d", code)
	}
	m := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[],
"subject":{"mediaType":%q,"digest":%q,"size":1},"annotations":{"a":%q}}`, manifestType, artifactType, digestOf("{}"), manifestType, subject, artifactType)
	w := h.do(who, "PUT", "/v2/"+repository+"/manifests/"+digestOf(m), m, "Content-Type", manifestType)
	if w.Code != http.StatusCreated || w.Header().Get(headerSubject) != subject {
		h.t.Errorf("pushing what refers to another: %d, subject %q", w.Code, w.Header().Get(headerSubject))
	}
	return digestOf(m)
}

// referrers asks, as who, for the digests of what refers to subject.
func (h *house) referrers(who, repository, subject, query string) []string {
	h.t.Helper()
	w := h.do(who, "GET", "/v2/"+repository+"/referrers/"+subject+query, "")
	var got struct {
		SchemaVersion int
		MediaType     string
		Manifests     []descriptor
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got.SchemaVersion != 2 || got.MediaType != indexType || got.Manifests == nil {
		h.t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if w.Header().Get("Content-Type") != indexType || (query != "") != (w.Header().Get("OCI-Filters-Applied") == "artifactType") {
		h.t.Errorf("the answer's headers are %v", w.Header())
	}
	out := []string{}
	for _, d := range got.Manifests {
		if d.MediaType != manifestType || d.Size == 0 || d.ArtifactType != d.Annotations["a"] {
			h.t.Errorf("an entry is %+v", d)
		}
		out = append(out, string(d.Digest))
	}
	return out
}

func TestReferrers(t *testing.T) {
	h := newHouse(t)
	const repository = "models/team-a/m"
	if code := h.push("ana", repository, "text"); code != 201 {
		t.Fatal(code)
	}
	subject := digestOf(manifestOf("text"))
	for _, r := range []string{repository, "models/team-a/none"} {
		if got := h.referrers("ana", r, subject, ""); len(got) != 0 {
			t.Errorf("to what nothing refers: %v", got)
		}
	}
	card, report := h.attach("ana", repository, subject, "t/card"), h.attach("ana", repository, subject, "t/report")
	deep := h.attach("ana", repository, card, "t/signature")
	both := []string{card, report}
	slices.Sort(both)
	for range 2 { // the second time from memory
		if got := h.referrers("vera", repository, subject, ""); !slices.Equal(got, both) {
			t.Errorf("%v, want %v", got, both)
		}
	}
	if got := h.referrers("ana", repository, subject, "?artifactType=t/report"); !slices.Equal(got, []string{report}) {
		t.Errorf("of one type: %v", got)
	}
	if got := h.referrers("ana", repository, subject, "?artifactType=other"); len(got) != 0 {
		t.Errorf("of another type: %v", got)
	}
	if got := h.referrers("ana", repository, card, ""); !slices.Equal(got, []string{deep}) {
		t.Errorf("to a card: %v", got)
	}
	if got := h.referrers("ana", "models/team-a/other", subject, ""); len(got) != 0 {
		t.Errorf("another repository: %v", got)
	}
	if w := h.do("ana", "DELETE", "/v2/"+repository+"/manifests/"+card, ""); w.Code != 202 {
		t.Fatal(w.Code)
	}
	if got := h.referrers("ana", repository, subject, ""); !slices.Equal(got, []string{report}) {
		t.Errorf("after one was removed: %v", got)
	}
	for i, tc := range []struct{ who, repository string }{{"ana", "models/team-b/m"}, {"nobody", repository}, {"vera", "code/team-b/m"}} {
		w := h.do(tc.who, "GET", "/v2/"+tc.repository+"/referrers/"+subject, "")
		if code, _ := h.refusal(w); w.Code != 403 || code != "DENIED" {
			t.Errorf("%d: %d %s", i, w.Code, code)
		}
	}
}

// TestManyReferAtOnce: nobody loses what another wrote.
func TestManyReferAtOnce(t *testing.T) {
	h := newHouse(t)
	const repository, many = "models/team-a/m", 16
	if code := h.push("ana", repository, "text"); code != 201 {
		t.Fatal(code)
	}
	subject := digestOf(manifestOf("text"))
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() { h.attach("ana", repository, subject, fmt.Sprintf("t/%d", i)) })
	}
	all.Wait()
	if got := h.referrers("ana", repository, subject, ""); len(got) != many {
		t.Errorf("%d of %d are listed", len(got), many)
	}
}

// TestReadingAheadChangesNothing: who stores a manifest sees what was sent.
func TestReadingAheadChangesNothing(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		body io.Reader
		size int
		err  error
	}{
		"none":       {strings.NewReader(""), 0, nil},
		"small":      {strings.NewReader("{}"), 2, nil},
		"at limit":   {strings.NewReader(strings.Repeat("x", manifestMax)), manifestMax, nil},
		"over limit": {strings.NewReader(strings.Repeat("x", manifestMax+7)), manifestMax + 7, nil},
		"broken":     {io.MultiReader(strings.NewReader("ab"), failing{broken}), 2, broken},
	} {
		r := httptest.NewRequest("PUT", "/", tc.body)
		announce(httptest.NewRecorder(), r)
		b, err := io.ReadAll(r.Body)
		if len(b) != tc.size || !errors.Is(err, tc.err) {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"subject":{"digest":"` + digestOf("") + `"},"artifactType":"x"}`))
	f.Add([]byte(`{"subject":null,"config":{"mediaType":"y"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m := parse(b); m.subject != "" {
			_ = m.subject.Encoded() // panics on what is none
		}
	})
}

// TestVersionsOutliveTheSweep: what lost its tag is kept with all that refers to it, for an
// alias may mean it; what no manifest has goes.
func TestVersionsOutliveTheSweep(t *testing.T) {
	h := newHouse(t)
	const repository = "models/team-a/m"
	for _, text := range []string{"first", "second"} {
		if code := h.push("ana", repository, text); code != 201 {
			t.Fatal(code)
		}
	}
	first := digestOf(manifestOf("first"))
	card := h.attach("ana", repository, first, "t/card")
	if code := h.upload("ana", repository, "half a push"); code != 201 {
		t.Fatal(code)
	}
	if err := sweep(t.Context(), h.kept.driver); err != nil {
		t.Fatal(err)
	}
	h = houseAt(t, h.o) // it is swept before it starts
	for target, want := range map[string]int{
		"/manifests/" + first: 200, "/blobs/" + digestOf("first"): 200, "/manifests/" + card: 200, "/manifests/latest": 200, "/blobs/" + digestOf("half a push"): 404,
	} {
		if w := h.do("ana", "GET", "/v2/"+repository+target, "", "Accept", manifestType); w.Code != want {
			t.Errorf("GET %s: %d, want %d", target, w.Code, want)
		}
	}
	if got := h.referrers("ana", repository, first, ""); !slices.Equal(got, []string{card}) {
		t.Errorf("what refers to it: %v", got)
	}
}

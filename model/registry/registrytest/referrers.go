package registrytest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var (
	manifestPath  = regexp.MustCompile(`^/v2/(.+)/manifests/([^/]+)$`)
	referrersPath = regexp.MustCompile(`^/v2/(.+)/referrers/([^/]+)$`)
)

// referring is a manifest that refers to another of its repository.
type referring struct {
	repository string
	subject    digest.Digest
	ocispec.Descriptor
}

// referrers lists what refers to a manifest, and removes its tags with it, as the cloud's
// own registry does. That of the library next calls an artifact by its configuration's
// type, and keeps tags of what is gone.
func referrers(next http.Handler) http.Handler {
	var mu sync.Mutex
	var all []referring
	tags := map[[2]string]string{} // digests by repository and tag
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m := referrersPath.FindStringSubmatch(r.URL.Path); m != nil && r.Method == http.MethodGet {
			mu.Lock()
			defer mu.Unlock()
			answer(w, all, m[1], digest.Digest(m[2]), r.URL.Query().Get("artifactType"))
			return
		}
		m := manifestPath.FindStringSubmatch(r.URL.Path)
		switch {
		case m != nil && r.Method == http.MethodPut:
			b, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(b))
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			if d := read(b); d.subject != "" && rec.Code == http.StatusCreated {
				d.repository = m[1]
				w.Header().Set("OCI-Subject", string(d.subject))
				mu.Lock()
				all = append(slices.DeleteFunc(all, func(o referring) bool { return o.repository == m[1] && o.Digest == d.Digest }), d)
				mu.Unlock()
			}
			if rec.Code == http.StatusCreated && !strings.Contains(m[2], ":") {
				mu.Lock()
				tags[[2]string{m[1], m[2]}] = string(digest.FromBytes(b))
				mu.Unlock()
			}
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
			return
		case m != nil && r.Method == http.MethodDelete:
			mu.Lock()
			all = slices.DeleteFunc(all, func(o referring) bool { return o.repository == m[1] && string(o.Digest) == m[2] })
			for t, d := range tags {
				if t[0] == m[1] && d == m[2] {
					next.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodDelete, "/v2/"+t[0]+"/manifests/"+t[1], nil))
					delete(tags, t)
				}
			}
			mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

func read(b []byte) referring {
	var m ocispec.Manifest
	if json.Unmarshal(b, &m) != nil || m.Subject == nil {
		return referring{}
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b)), ArtifactType: m.ArtifactType, Annotations: m.Annotations}
	if d.ArtifactType == "" {
		d.ArtifactType = m.Config.MediaType
	}
	return referring{subject: m.Subject.Digest, Descriptor: d}
}

func answer(w http.ResponseWriter, all []referring, repository string, subject digest.Digest, artifactType string) {
	out := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	out.SchemaVersion = 2
	for _, o := range all {
		if o.repository == repository && o.subject == subject && (artifactType == "" || o.ArtifactType == artifactType) {
			out.Manifests = append(out.Manifests, o.Descriptor)
		}
	}
	slices.SortFunc(out.Manifests, func(a, b ocispec.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	if artifactType != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	_ = json.NewEncoder(w).Encode(out) // fails when the asker is gone
}

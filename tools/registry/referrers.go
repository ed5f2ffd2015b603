package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Distribution keeps no list of what refers to a manifest, and leaves it to clients to
// write one under a tag, where two that write at once lose each other's. So the guard
// answers the question itself (OCI distribution 1.1, "Listing Referrers"), out of the
// manifests that are there: there is no list that could be wrong.

// Limits of what is answered, and of what is remembered of manifests.
const (
	referrersMax = 4096
	knownMax     = 1 << 16
	manifestMax  = 4 << 20
)

const (
	indexType     = "application/vnd.oci.image.index.v1+json"
	headerSubject = "OCI-Subject"
)

// referrersPath takes the names that the router of all else does.
var referrersPath = regexp.MustCompile(`^/v2/(` + reference.NameRegexp.String() + `)/referrers/([^/]+)$`)

// descriptor is one entry of the answer.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       digest.Digest     `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// referring is a manifest's descriptor and what it refers to, if to anything.
type referring struct {
	descriptor
	subject digest.Digest
}

// index finds what refers to manifests.
type index struct {
	store distribution.Namespace

	mu    sync.Mutex
	known map[digest.Digest]referring // what a digest means does not change
}

func newIndex(store distribution.Namespace) *index {
	return &index{store: store, known: map[digest.Digest]referring{}}
}

// referrers answers with what refers to a manifest of a repository. It returns an
// error, and has written nothing, when it cannot.
func (x *index) referrers(w http.ResponseWriter, r *http.Request, repository, subject string) error {
	d, err := digest.Parse(subject)
	if err != nil {
		return errcode.ErrorCodeDigestInvalid.WithMessage("what stands for a digest is none: write it as sha256: and 64 of 0-9 and a-f")
	}
	found, err := x.find(r.Context(), repository, d)
	if err != nil {
		return errcode.ErrorCodeUnknown.WithMessage("what refers to the manifest cannot be listed: " + err.Error())
	}
	if want := r.URL.Query().Get("artifactType"); want != "" {
		found = slices.DeleteFunc(found, func(d descriptor) bool { return d.ArtifactType != want })
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	w.Header().Set("Content-Type", indexType)
	_ = json.NewEncoder(w).Encode(map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": found}) // fails when the asker is gone
	return nil
}

// find lists what refers to subject, by digest.
func (x *index) find(ctx context.Context, repository string, subject digest.Digest) ([]descriptor, error) {
	named, err := reference.WithName(repository)
	if err != nil {
		return nil, err
	}
	repo, err := x.store.Repository(ctx, named)
	if err != nil {
		return nil, err
	}
	manifests, err := repo.Manifests(ctx)
	if err != nil {
		return nil, err
	}
	all, ok := manifests.(distribution.ManifestEnumerator)
	if !ok {
		return nil, errors.New("the manifests of a repository cannot be listed")
	}
	out := []descriptor{}
	err = all.Enumerate(ctx, func(d digest.Digest) error {
		m, err := x.read(ctx, manifests, d)
		if err != nil || m.subject != subject {
			return err
		}
		if out = append(out, m.descriptor); len(out) > referrersMax {
			return errors.New("there are too many")
		}
		return nil
	})
	var none driver.PathNotFoundError
	if err != nil && !errors.As(err, &none) { // nothing was pushed there
		return nil, err
	}
	slices.SortFunc(out, func(a, b descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	return out, nil
}

// read says what a manifest refers to. One that is removed meanwhile, or cannot be read,
// refers to nothing.
func (x *index) read(ctx context.Context, manifests distribution.ManifestService, d digest.Digest) (referring, error) {
	x.mu.Lock()
	m, ok := x.known[d]
	x.mu.Unlock()
	if ok {
		return m, nil
	}
	text, err := manifests.Get(ctx, d)
	if err != nil {
		return referring{}, ctx.Err()
	}
	media, b, err := text.Payload()
	if err != nil {
		return referring{}, nil
	}
	m = parse(b)
	m.MediaType, m.Digest, m.Size = media, d, int64(len(b))
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.known) >= knownMax {
		clear(x.known)
	}
	x.known[d] = m
	return m, nil
}

// parse reads of a manifest what is told of it to who asks for what refers to another.
func parse(b []byte) referring {
	var m struct {
		ArtifactType string
		Config       struct{ MediaType string }
		Subject      *struct{ Digest digest.Digest }
		Annotations  map[string]string
	}
	if json.Unmarshal(b, &m) != nil || m.Subject == nil || m.Subject.Digest.Validate() != nil {
		return referring{}
	}
	out := referring{subject: m.Subject.Digest}
	out.ArtifactType, out.Annotations = m.ArtifactType, m.Annotations
	if out.ArtifactType == "" {
		out.ArtifactType = m.Config.MediaType
	}
	return out
}

// announce tells a client that pushes a manifest with a subject that no list of
// referrers is asked of it. It reads the manifest ahead of who stores it.
func announce(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(io.LimitReader(r.Body, manifestMax+1))
	rest := r.Body
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b), failing{err}, rest), rest}
	if err != nil || len(b) > manifestMax {
		return // who stores it refuses it
	}
	if m := parse(b); m.subject != "" {
		w.Header().Set(headerSubject, string(m.subject))
	}
}

// failing returns an error that was met while reading ahead.
type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

package pack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	oras "oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// A file whose digest is known is sent only if the registry lacks it. To know the digest
// a file is read once more, which of a large one takes as long as sending it. So a file
// that is likely to be new is hashed while it is sent.
const (
	// streamBytesMin is the least that is worth it.
	streamBytesMin = 4 << 20
	// refusalBytesMax is the most that is read of a refusal.
	refusalBytesMax = 64 << 10
	// cancelLimit bounds the time to give up an upload.
	cancelLimit = 5 * time.Second
)

// likely are the sizes of the files of the version that identifier means. A file of
// another size than these is taken for new. It is not there yet in a repository that is
// not.
func likely(ctx context.Context, repo *oras.Repository, identifier string) map[int64]bool {
	out := map[int64]bool{}
	d, b, err := fetchManifest(ctx, repo, identifier)
	if errors.Is(err, errdef.ErrNotFound) {
		return out
	}
	a := Artifact{Digest: d.Digest}
	if err != nil || a.parse(b) != nil {
		return nil // nothing is known, so everything is hashed first
	}
	for _, l := range a.Manifest.Layers {
		out[l.Size] = true
	}
	return out
}

// stream sends f and hashes it on the way. tell, if not nil, is told how many bytes
// were read.
func stream(ctx context.Context, repo *oras.Repository, f File, tell func(n int)) (ocispec.Descriptor, error) {
	if err := place(f.Path); err != nil {
		return ocispec.Descriptor{}, err
	}
	r, err := f.Open()
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("opening %s: %w", f.Path, err)
	}
	defer r.Close()
	start := fmt.Sprintf("https://%s/v2/%s/blobs/uploads/", repo.Reference.Host(), repo.Reference.Repository)
	at, err := ask(ctx, repo, http.MethodPost, start, nil, 0, http.StatusAccepted)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	h := digest.Canonical.Digester()
	in := &reading{r: io.TeeReader(r, h.Hash()), tell: tell}
	next, err := ask(ctx, repo, http.MethodPatch, at, in, f.Size, http.StatusAccepted)
	if changed := in.fault(f); changed != nil {
		err = changed
	}
	if err != nil {
		cancel(ctx, repo, at)
		return ocispec.Descriptor{}, err
	}
	u, err := url.Parse(next)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("the registry answers with the place %q: %w", next, err)
	}
	q := u.Query()
	q.Set("digest", h.Digest().String())
	u.RawQuery = q.Encode()
	if _, err := ask(ctx, repo, http.MethodPut, u.String(), nil, 0, http.StatusCreated); err != nil {
		cancel(ctx, repo, next)
		return ocispec.Descriptor{}, err
	}
	return describes(f, h.Digest()), nil
}

// describes is the descriptor of the layer that f is.
func describes(f File, d digest.Digest) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType(f.Path), Digest: d, Size: f.Size, Annotations: map[string]string{pathAnnotation: f.Path}}
}

// reading is a file on its way. A client that got its answer early may still read it.
type reading struct {
	r    io.Reader
	tell func(n int)

	mu    sync.Mutex
	n     int64
	err   error
	ended bool
}

// Read implements io.Reader.
func (r *reading) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := r.r.Read(b)
	r.n += int64(n)
	if r.tell != nil {
		r.tell(n)
	}
	switch {
	case errors.Is(err, io.EOF):
		r.ended = true
	case err != nil:
		r.err = err
	}
	return n, err
}

// fault says whether the file, as far as it was read, is not what it was to be.
func (r *reading) fault(f File) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		return fmt.Errorf("reading %s: %w", f.Path, r.err)
	case r.ended && r.n != f.Size || r.n > f.Size:
		return fmt.Errorf("%s changed while it was read: %d bytes instead of %d", f.Path, r.n, f.Size)
	}
	return nil
}

// ask sends one request of an upload and returns where it goes on.
func ask(ctx context.Context, repo *oras.Repository, method, to string, body io.Reader, size int64, want int) (string, error) {
	r, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return "", err
	}
	if body != nil {
		r.ContentLength = size
		r.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := repo.Client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		return "", refusal(resp)
	}
	there := resp.Header.Get("Location")
	u, err := resp.Request.URL.Parse(there)
	if err != nil || there == "" && want == http.StatusAccepted {
		return "", fmt.Errorf("the registry does not say where the upload goes on, but %q", there)
	}
	if u.Host != resp.Request.URL.Host { // the certificate is for one registry
		return "", fmt.Errorf("the registry wants the upload to go on at %s, which is another", u.Host)
	}
	return u.String(), nil
}

// refusal is what the library makes of such an answer, too.
func refusal(resp *http.Response) error {
	var said struct{ Errors errcode.Errors }
	if json.NewDecoder(io.LimitReader(resp.Body, refusalBytesMax)).Decode(&said) != nil {
		said.Errors = nil // it is no registry's
	}
	return &errcode.ErrorResponse{Method: resp.Request.Method, URL: resp.Request.URL, StatusCode: resp.StatusCode, Errors: said.Errors}
}

// cancel gives an upload up; what is left of it goes when the registry next cleans up.
func cancel(ctx context.Context, repo *oras.Repository, at string) {
	ctx, end := context.WithTimeout(context.WithoutCancel(ctx), cancelLimit)
	defer end()
	_, _ = ask(ctx, repo, http.MethodDelete, at, nil, 0, http.StatusNoContent)
}

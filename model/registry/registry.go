// Package registry is the client of the cloud's OCI registry: images, models and
// what refers to them, by name and digest. Clients, system and the rooms of model
// import it. The registry itself is CNCF Distribution, a helper binary
// (tools/registry).
//
// A reference is "REPOSITORY[:TAG][@sha256:...]", with or without the registry's
// host (v1alpha1.RegistryHost) in front; "latest" is the tag that is left out.
// Connections are TLS; what they may do is up to the user of the certificate that is shown,
// or of the token that is sent.
package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	oras "oras.land/oras-go/v2/registry/remote"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/bulk"
)

// ErrNotFound says that the registry has no such image.
var ErrNotFound = errors.New("not found")

// ErrDenied says that the user may not do this.
var ErrDenied = errors.New("denied")

// ErrElsewhere says that a reference names another registry.
var ErrElsewhere = errors.New("reference names another registry")

// Client speaks to one registry.
type Client struct {
	http *http.Client
}

// New returns a client of the registry at address, an https URL. trust holds the
// certificate to show, if there is one, and the authority to believe; shows add to requests
// what else tells who asks.
func New(address string, trust *tls.Config, shows ...func(http.RoundTripper) (http.RoundTripper, error)) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("the registry's address %q is not an https URL", address)
	}
	var rt http.RoundTripper = &http.Transport{
		// The registry has one name, wherever it listens.
		DialTLSContext:        func(ctx context.Context, _, name string) (net.Conn, error) { return dial(ctx, u.Host, name, trust) },
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: 2 * time.Minute,
	}
	for _, show := range shows {
		if rt, err = show(rt); err != nil {
			return nil, err
		}
	}
	return &Client{http: &http.Client{Transport: rt}}, nil
}

// dialLimit bounds the time to connect.
const dialLimit = 10 * time.Second

// dial connects to address, where the one has to be whom name, a host and a port, names.
func dial(ctx context.Context, address, name string, trust *tls.Config) (net.Conn, error) {
	trust = trust.Clone()
	var err error
	if trust.ServerName, _, err = net.SplitHostPort(name); err != nil {
		return nil, err
	}
	ctx, end := context.WithTimeout(ctx, dialLimit)
	defer end()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := bulk.Client(raw, trust)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // nothing was said
		return nil, err
	}
	return c, nil
}

// repositoryShape is what the OCI distribution specification lets a repository be
// called; the library below also takes names such as a/../b.
var repositoryShape = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// Parse reads a reference.
func Parse(reference string) (name.Reference, error) {
	short := strings.TrimPrefix(reference, v1alpha1.RegistryHost+"/")
	if first, _, ok := strings.Cut(short, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return nil, fmt.Errorf("%w: %q; write it without %s/", ErrElsewhere, reference, first)
	}
	if short == "" {
		return nil, errors.New("the reference is empty; write one like runtimes/pytorch-cpu")
	}
	ref, err := name.ParseReference(v1alpha1.RegistryHost + "/" + short)
	if err != nil {
		return nil, fmt.Errorf("reference %q: %w", reference, err)
	}
	if !repositoryShape.MatchString(ref.Context().RepositoryStr()) {
		return nil, fmt.Errorf("reference %q: a repository is made of lower-case letters and digits, parted by '/', '.', '_' or '-'", reference)
	}
	return ref, nil
}

// Short is ref without the registry's host.
func Short(ref name.Reference) string {
	return strings.TrimPrefix(ref.Name(), v1alpha1.RegistryHost+"/")
}

func (c *Client) options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithTransport(c.http.Transport), remote.WithJobs(4)}
}

// Push writes img under reference and returns its digest. progress, if not nil,
// is told the bytes written so far and in all.
func (c *Client) Push(ctx context.Context, reference string, img v1.Image, progress func(done, total int64)) (v1.Hash, error) {
	ref, err := Parse(reference)
	if err != nil {
		return v1.Hash{}, err
	}
	digest, err := img.Digest()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("hashing image: %w", err)
	}
	opts := c.options(ctx)
	if progress != nil {
		updates := make(chan v1.Update, 16)
		told := make(chan struct{})
		go func() { // ends when Write closes updates
			defer close(told)
			for u := range updates {
				progress(u.Complete, u.Total)
			}
		}()
		defer func() { <-told }()
		opts = append(opts, remote.WithProgress(updates))
	}
	if err := remote.Write(ref, img, opts...); err != nil {
		err = explain(err, func() error { return remote.CheckPushPermission(ref, authn.NewMultiKeychain(), c.http.Transport) })
		return v1.Hash{}, fmt.Errorf("pushing %s: %w", Short(ref), Reason(err))
	}
	return digest, nil
}

// Image returns the image under reference; its layers are read when asked for,
// and checked against their digests.
func (c *Client) Image(ctx context.Context, reference string) (v1.Image, error) {
	ref, err := Parse(reference)
	if err != nil {
		return nil, err
	}
	img, err := remote.Image(ref, c.options(ctx)...)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", Short(ref), Reason(err))
	}
	return img, nil
}

// Digest returns the digest that reference has now.
func (c *Client) Digest(ctx context.Context, reference string) (v1.Hash, error) {
	ref, err := Parse(reference)
	if err != nil {
		return v1.Hash{}, err
	}
	d, err := remote.Head(ref, c.options(ctx)...)
	if err != nil {
		err = explain(err, func() error { _, err := remote.Get(ref, c.options(ctx)...); return err })
		return v1.Hash{}, fmt.Errorf("reading %s: %w", Short(ref), Reason(err))
	}
	return d.Digest, nil
}

// Exists reports whether the registry holds what reference means.
func (c *Client) Exists(ctx context.Context, reference string) (bool, error) {
	_, err := c.Digest(ctx, reference)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Remove removes the manifest that reference means, and with it every tag of it.
// Its blobs go when the registry next starts.
func (c *Client) Remove(ctx context.Context, reference string) error {
	digest, err := c.Digest(ctx, reference)
	if err != nil {
		return err
	}
	ref, err := Parse(reference)
	if err != nil {
		return err
	}
	if err := remote.Delete(ref.Context().Digest(digest.String()), c.options(ctx)...); err != nil {
		return fmt.Errorf("removing %s: %w", Short(ref), Reason(err))
	}
	return nil
}

// Referrers lists the manifests of the given artifact type that refer to the
// image at reference.
func (c *Client) Referrers(ctx context.Context, reference, artifactType string) ([]v1.Descriptor, error) {
	digest, err := c.Digest(ctx, reference)
	if err != nil {
		return nil, err
	}
	ref, err := Parse(reference)
	if err != nil {
		return nil, err
	}
	opts := append(c.options(ctx), remote.WithFilter("artifactType", artifactType))
	index, err := remote.Referrers(ref.Context().Digest(digest.String()), opts...)
	if err != nil {
		return nil, fmt.Errorf("listing what refers to %s: %w", Short(ref), Reason(err))
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("listing what refers to %s: %w", Short(ref), err)
	}
	return m.Manifests, nil
}

// Repository opens the repository of reference for artifacts that are no images.
func (c *Client) Repository(reference string) (*oras.Repository, name.Reference, error) {
	ref, err := Parse(reference)
	if err != nil {
		return nil, nil, err
	}
	repo, err := oras.NewRepository(ref.Context().Name())
	if err != nil {
		return nil, nil, fmt.Errorf("reference %q: %w", reference, err)
	}
	repo.Client = &auth.Client{Client: c.http}
	return repo, ref, nil
}

// Reason turns the answers of a registry that people cause into errors they know,
// with the registry's own words where it has any. It knows the errors of both
// libraries that speak to one.
func Reason(err error) error {
	code, words := answer(err)
	if errors.Is(err, errdef.ErrNotFound) {
		code = http.StatusNotFound
	}
	switch code {
	case http.StatusNotFound:
		return fmt.Errorf("%w in the cloud's registry; `polder image ls` shows what is there", ErrNotFound)
	case http.StatusForbidden, http.StatusUnauthorized:
		if words == "" {
			words = "this certificate may not do that"
		}
		return fmt.Errorf("%w: %s", ErrDenied, words)
	case http.StatusServiceUnavailable:
		if words != "" {
			return errors.New(words)
		}
	}
	return err
}

// explain returns err, or, where it is a refusal without words, as those to HEAD
// are, the one that the same gets in another way.
func explain(err error, again func() error) error {
	if code, words := answer(err); code != http.StatusForbidden || words != "" {
		return err
	}
	if said := again(); said != nil {
		return said
	}
	return err
}

// answer is the status that err is about, or 0, and what the registry says of it.
func answer(err error) (code int, words string) {
	var t *transport.Error
	var r *errcode.ErrorResponse
	switch {
	case errors.As(err, &t):
		code = t.StatusCode
		if len(t.Errors) > 0 {
			words = t.Errors[0].Message
		}
	case errors.As(err, &r):
		code = r.StatusCode
		if len(r.Errors) > 0 {
			words = r.Errors[0].Message
		}
	}
	return code, words
}

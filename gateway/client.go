package gateway

import (
	"context"
	"net/http"
)

// Client is who asks.
type Client struct {
	// Tenant that pays: the label polder.dev/tenant of Namespace, or its name without one.
	Tenant string
	// Namespace of the key or of the service account; of other users, the one that they
	// ask for.
	Namespace string
	// Name of the key's Secret, or of the user as Kubernetes knows it.
	Name string
	// Key says that it is a key and not a user.
	Key bool
}

// ID is Name, told apart from those of other namespaces and from users of the same name.
func (c Client) ID() string {
	if c.Key {
		return "key:" + c.Namespace + "/" + c.Name
	}
	return "user:" + c.Name
}

type (
	clientKey  struct{}
	visitorKey struct{}
)

// WithClient returns a context of a request of c.
func WithClient(ctx context.Context, c Client) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

// ClientOf returns who asks in ctx, as door has put it there.
func ClientOf(ctx context.Context) (Client, bool) {
	c, ok := ctx.Value(clientKey{}).(Client)
	return c, ok
}

// Visitor is somebody who is known.
type Visitor interface {
	// Client is who it is.
	Client() Client
	// May returns an error unless the visitor may ask for a route or service of namespace;
	// name "" is any. The error is a *Fault, or the context's.
	May(ctx context.Context, namespace string, route bool, name string) error
}

// WithVisitor returns a context of a request of v; see VisitorOf.
func WithVisitor(ctx context.Context, v Visitor) context.Context {
	return context.WithValue(WithClient(ctx, v.Client()), visitorKey{}, v)
}

// VisitorOf returns who asks in ctx, as door has put it there, for who has to know whether
// they may.
func VisitorOf(ctx context.Context) (Visitor, bool) {
	v, ok := ctx.Value(visitorKey{}).(Visitor)
	return v, ok
}

// Server answers a request of a client who is known, to a host that has rules of its own.
// body reads that of a request whole, within the door's bounds.
type Server func(w http.ResponseWriter, r *http.Request, c Client, body func(*http.Request) ([]byte, error))

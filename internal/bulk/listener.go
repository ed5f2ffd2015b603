package bulk

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// handshakeLimit bounds the time in which a client has to show who it is.
const handshakeLimit = 10 * time.Second

// NewListener returns a listener of Conns, for an http.Server. They speak HTTP/1.1: the
// windows of HTTP/2 are for many small bodies. failed is told of clients with which there
// is no TLS.
func NewListener(l net.Listener, config *tls.Config, failed func(client net.Addr, err error)) net.Listener {
	return &listener{l, config, failed}
}

type listener struct {
	net.Listener
	config *tls.Config
	failed func(net.Addr, error)
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &accepted{Server(c, l.config), l.failed}, nil
}

// accepted shakes hands when it is first asked who is there, which an http.Server does
// before all else, and not while others wait to be accepted.
type accepted struct {
	*Conn
	failed func(net.Addr, error)
}

// ConnectionState is that after the handshake. Where that fails, so does all reading.
func (a *accepted) ConnectionState() tls.ConnectionState {
	ctx, end := context.WithTimeout(context.Background(), handshakeLimit)
	defer end()
	if err := a.HandshakeContext(ctx); err != nil {
		a.failed(a.RemoteAddr(), err)
	}
	return a.Conn.ConnectionState()
}

// Package linger lets a client hear why its body is not wanted. Many send all of a body
// before they look at the answer; where a connection is closed on what was not read, the
// machine throws the answer away with it, and the client sees a reset (RFC 9112, section
// 9.6). net/http waits half a second, but not for clients that said Connection: close.
package linger

import (
	"net/http"
	"strings"
	"time"
)

// How many bytes are read that nobody wants, of somebody who is known and of one who is
// not; for how long, and for how long while nothing comes.
const (
	knownBytes   = 256 << 20
	unknownBytes = 1 << 20
	patience     = 10 * time.Second
	quiet        = time.Second
)

// Answer lets answer write a short answer to r, sends it, and then reads what is left of
// the body, more of it if it is known who asks: a connection whose body has ended goes on
// to its next request. Bodies that a client has not begun to send are not waited for. A w
// that wraps another has a method Unwrap, and one of its own for Flush if it took the
// connection over.
func Answer(w http.ResponseWriter, r *http.Request, known bool, answer func()) {
	if r.Body == nil || r.Body == http.NoBody || r.ProtoMajor != 1 { // HTTP/2 resets a stream and not a connection
		answer()
		return
	}
	control := http.NewResponseController(w)
	if strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		answer()
		_ = control.SetReadDeadline(time.Now().Add(quiet)) // net/http reads on without one; what cannot is no connection
		return
	}
	_ = control.EnableFullDuplex() // net/http would read 256 KiB before it answers
	answer()
	if control.Flush() != nil {
		return // nobody is there to hear it
	}
	// A body may set deadlines of its own when it is read, so the end is set meanwhile.
	end := time.AfterFunc(quiet, func() { _ = control.SetReadDeadline(time.Unix(1, 0)) }) // as above
	defer end.Stop()
	limit := unknownBytes
	if known {
		limit = knownBytes
	}
	piece := make([]byte, 32<<10)
	for until := time.Now().Add(patience); limit > 0 && time.Now().Before(until); end.Reset(quiet) {
		n, err := r.Body.Read(piece)
		if limit -= n; err != nil {
			return
		}
	}
}

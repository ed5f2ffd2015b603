package swift

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"polder.dev/polder/storage/swift/header"
)

// writer remembers what was answered.
type writer struct {
	http.ResponseWriter
	status int
	expose string // of CORS: headers that a script may read; "" where there is none
	vary   string // of CORS: a header that the answer depends on
	temp   *tempAnswer
	// override is sent in place of 200: that of an error which has a page of its own.
	override int
	// raw is the connection itself, where net/http would leave a header out.
	raw  *bufio.ReadWriter
	conn net.Conn
	sent int64  // bytes of the body
	told func() // is called once the status is known; nil is nobody
}

func (w *writer) WriteHeader(status int) {
	if w.override != 0 && status == http.StatusOK {
		status = w.override
	}
	if w.status == 0 {
		w.status = status
		if w.told != nil {
			w.told()
		}
		if w.temp != nil {
			w.temp.apply(w.Header(), status)
		}
		w.tell()
		if w.foreign() && w.hijack(status) {
			return
		}
	}
	if w.raw == nil {
		w.ResponseWriter.WriteHeader(status)
	}
}

// foreign says that a header's name is not ASCII.
func (w *writer) foreign() bool {
	for n := range w.Header() {
		if !header.Plain(n) {
			return true
		}
	}
	return false
}

// hijack writes the head itself; the connection ends with the answer.
func (w *writer) hijack(status int) bool {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return false // net/http leaves these headers out
	}
	w.raw, w.conn = rw, c
	h := w.Header()
	h.Set("Connection", "close")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	fmt.Fprintf(rw, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status)) // rw remembers its error for Flush
	clean := strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")
	for n, vs := range h {
		for _, v := range vs {
			fmt.Fprintf(rw, "%s: %s\r\n", clean.Replace(n), clean.Replace(v))
		}
	}
	_, _ = rw.WriteString("\r\n") // as above
	return true
}

// end closes what was hijacked.
func (w *writer) end() {
	if w.raw != nil {
		_ = w.raw.Flush() // a client that is gone is told nothing
		_ = w.conn.Close()
	}
}

// tell names the headers that are there and that a browser's script may read.
func (w *writer) tell() {
	if w.expose == "" {
		return
	}
	if w.vary != "" {
		w.Header().Add("Vary", w.vary)
	}
	list := w.expose
	for n := range w.Header() {
		n = strings.ToLower(n)
		for _, p := range []string{"x-container-meta-", "x-object-meta-", "x-account-meta-"} {
			if strings.HasPrefix(n, p) {
				list += ", " + n
			}
		}
	}
	w.Header().Set("Access-Control-Expose-Headers", list)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if len(p) == 0 {
		return 0, nil
	}
	to := io.Writer(w.ResponseWriter)
	if w.raw != nil {
		to = w.raw
	}
	n, err := to.Write(p)
	w.sent += int64(n)
	return n, err
}

// FlushError is what http.ResponseController flushes by.
func (w *writer) FlushError() error {
	if w.raw != nil {
		return w.raw.Flush()
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController reach the connection.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

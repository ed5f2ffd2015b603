package door

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/semaphore"

	"polder.dev/polder/gateway"
)

const (
	// bodyBytesMax of a request of a protocol of models, and heldBytesMax of all that are
	// held at once.
	bodyBytesMax = 32 << 20
	heldBytesMax = 512 << 20
	// firstBytes are set aside when a body begins to come; what is announced is no reason
	// for more.
	firstBytes = 8 << 10
	// slowest is how many bytes a second a client must send, beside patience.
	slowest  = 16 << 10
	patience = 30 * time.Second
)

// held is the memory for the bodies of one request.
type held struct {
	all  *semaphore.Weighted
	have int64
}

// grow sets more bytes aside, or says that there are none.
func (h *held) grow(by int64) bool {
	if !h.all.TryAcquire(by) {
		return false
	}
	h.have += by
	return true
}

func (h *held) free() {
	h.all.Release(h.have)
	h.have = 0
}

// whole reads the body of a request.
func whole(r *http.Request, h *held) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	large := func() error {
		return gateway.Faultf(http.StatusRequestEntityTooLarge, "too_large", "the body must be at most %d bytes", bodyBytesMax)
	}
	if r.ContentLength > bodyBytesMax {
		return nil, large()
	}
	size := int64(firstBytes)
	if 0 < r.ContentLength && r.ContentLength < size {
		size = r.ContentLength + 1 // to see the end
	}
	var buf []byte
	for {
		if int64(len(buf)) == size || buf == nil {
			if buf != nil {
				size *= 2
				if 0 < r.ContentLength && r.ContentLength < size {
					size = r.ContentLength + 1
				}
			}
			size = min(size, bodyBytesMax+1)
			if !h.grow(size - int64(len(buf))) {
				f := gateway.Faultf(http.StatusServiceUnavailable, "busy", "the gateway holds as many requests as it has memory for; try again")
				f.RetryAfter = time.Second
				return nil, f
			}
			buf = append(make([]byte, 0, size), buf...)
		}
		n, err := r.Body.Read(buf[len(buf):size])
		buf = buf[:len(buf)+n]
		if len(buf) > bodyBytesMax {
			return nil, large()
		}
		switch {
		case err == io.EOF: //nolint:errorlint // readers return it bare
			return buf, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, gateway.Faultf(http.StatusRequestTimeout, "slow", "the body came too slowly")
		case err != nil:
			return nil, &gateway.Fault{Status: http.StatusBadRequest, Code: "broken_off", Sentence: "the body broke off", Cause: err}
		}
	}
}

// paced is a body that may not come slower than is allowed.
type paced struct {
	io.ReadCloser
	control *http.ResponseController
	began   time.Time
	told    time.Time
	n       int64
	done    bool
}

func (b *paced) Read(p []byte) (int, error) {
	now := time.Now()
	if !b.done && now.Sub(b.told) > time.Second {
		b.told = now
		due := b.began.Add(patience + time.Duration(float64(b.n)/slowest*float64(time.Second)))
		if soon := now.Add(patience); due.After(soon) {
			due = soon
		}
		_ = b.control.SetReadDeadline(due) // what cannot is no network connection
	}
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if err != nil && !b.done { // the server watches the connection from here on
		b.done = true
		_ = b.control.SetReadDeadline(time.Time{}) // as above
	}
	return n, err
}

// reader is the writer of an answer, which bounds how slowly that may be taken: each piece
// within patience.
type reader struct {
	http.ResponseWriter
	control *http.ResponseController
	streams bool // HTTP/2, where a deadline that passes ends the stream at once
	code    int
	set     time.Time // when the deadline was
}

// WriteHeader implements http.ResponseWriter.
func (w *reader) WriteHeader(code int) {
	if w.code < http.StatusOK {
		w.code = code
	}
	defer w.bound()()
	w.ResponseWriter.WriteHeader(code)
}

// Write implements io.Writer.
func (w *reader) Write(p []byte) (int, error) {
	if w.code < http.StatusOK {
		w.code = http.StatusOK
	}
	defer w.bound()()
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (w *reader) Flush() {
	defer w.bound()()
	_ = w.control.Flush() // what cannot be sent fails at the next Write
}

// bound sets a deadline, and returns what takes it off.
func (w *reader) bound() func() {
	now := time.Now()
	if !w.streams { // the next piece has its own, also that of another request
		if now.Sub(w.set) > time.Second {
			w.set = now
			_ = w.control.SetWriteDeadline(now.Add(patience)) // what cannot is no network connection
		}
		return func() {}
	}
	_ = w.control.SetWriteDeadline(now.Add(patience))             // as above
	return func() { _ = w.control.SetWriteDeadline(time.Time{}) } // as above
}

// end has what is left sent in time. HTTP/1 sends it after the handler has returned.
func (w *reader) end() {
	if w.streams {
		w.Flush()
		return
	}
	w.bound()
}

// Unwrap lets http.ResponseController reach the connection.
func (w *reader) Unwrap() http.ResponseWriter { return w.ResponseWriter }

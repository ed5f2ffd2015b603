package s3

import (
	"io"
	"net/http"
	"strings"
)

// How much of a body is read that nobody wants any more: of somebody who is known, and of
// one who is not.
const (
	drainBytesMax        = 32 << 20
	drainUnknownBytesMax = 1 << 20
)

// drain reads what is left of the body before an error is answered. Many clients send all
// of it before they look at the answer; if the connection ended before, they would see
// that and not the answer. Who expects 100-continue has not begun to send.
func (q *request) drain() {
	limit := int64(drainUnknownBytesMax)
	if q.auth != nil {
		limit = drainBytesMax
	}
	if q.r.Body == nil || q.r.Body == http.NoBody || q.r.ContentLength > limit || strings.EqualFold(q.header("Expect"), "100-continue") {
		return
	}
	_, _ = io.CopyN(io.Discard, q.r.Body, limit) // what fails has an answer already
}

package route

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
)

const (
	// answerBytesMax of an answer that has to be read whole, because it is judged.
	answerBytesMax = 32 << 20
	// heldBytesMax of all such answers at a time.
	heldBytesMax = 512 << 20
	// pieceBytes that room is made for at a time.
	pieceBytes = 64 << 10
)

// errBusy: there is no room for another answer.
var errBusy = &gateway.Fault{Status: http.StatusServiceUnavailable, Code: "busy", Sentence: "the gateway holds as many answers as it has memory for; try again", RetryAfter: time.Second}

// first asks targets in order until one answers with a status below 500, and returns that
// answer, or the last. body is sent instead of the request's own if it is not nil, and head
// changes its header.
func (p *pass) first(targets []int, body []byte, head func(http.Header)) (resp *http.Response, target int, err error) {
	if p.call.Protocol == v1alpha1.ProtocolHTTP && p.r.ContentLength != 0 {
		targets = targets[:1] // its body passes by once
	}
	for i, at := range targets {
		resp, err = p.one(at, body, head)
		if i == len(targets)-1 || p.r.Context().Err() != nil || err == nil && resp.StatusCode < http.StatusInternalServerError {
			return resp, at, err
		}
		if err == nil {
			waste(resp)
		}
		p.gauges.fellBack(p.live.key, p.name(at))
	}
	return nil, 0, fmt.Errorf("route %s has no target to ask", p.live.key)
}

// one asks one target.
func (p *pass) one(target int, body []byte, head func(http.Header)) (*http.Response, error) {
	to := p.settings.route.Targets[target]
	out, err := p.call.For(p.r, to.Service, body)
	if err != nil {
		return nil, gateway.Faultf(http.StatusBadRequest, "invalid_request", "%v", err)
	}
	if p.call.Body != nil {
		out.Header.Del("Accept-Encoding") // answers are judged, compared and kept as they are
	}
	if head != nil {
		head(out.Header)
	}
	resp, err := p.cfg.Services.Do(types.NamespacedName{Namespace: p.call.Namespace, Name: to.Service}, out)
	if err == nil && p.infers {
		p.spent += to.Cost
	}
	return resp, err
}

// waste reads a little of an answer that nobody wants, so that its connection can be used
// again, and closes it.
func waste(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // if there is more, the connection is closed
	_ = resp.Body.Close()
}

// read returns the whole body of an answer and closes it. Its memory is the pass's until
// that ends.
func (p *pass) read(resp *http.Response) ([]byte, error) {
	body, n, err := whole(resp, p.Router.held)
	p.has += n
	return body, err
}

// free gives back the memory of answers that were read.
func (p *pass) free() {
	p.Router.held.free(p.has)
	p.has = 0
}

// whole reads an answer into memory that is set aside as it comes, and closes it.
func whole(resp *http.Response, from *room) (body []byte, taken int64, err error) {
	defer resp.Body.Close()
	var b bytes.Buffer
	for {
		if !from.take(pieceBytes) {
			return nil, taken, errBusy
		}
		taken += pieceBytes
		_, err := io.CopyN(&b, resp.Body, pieceBytes)
		switch {
		case errors.Is(err, io.EOF):
			return b.Bytes(), taken, nil
		case err != nil:
			return nil, taken, err
		case b.Len() > answerBytesMax:
			return nil, taken, fmt.Errorf("an answer of more than %d bytes cannot be judged", answerBytesMax)
		}
	}
}

// again makes body the body of an answer that was read.
func again(resp *http.Response, body []byte) *http.Response {
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.TransferEncoding, resp.Trailer = nil, nil
	resp.Header.Del("Trailer")
	resp.Header.Del("Transfer-Encoding")
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return resp
}

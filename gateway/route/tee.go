package route

import (
	"io"
	"net/http"
)

// captureBytesMax of an answer that is kept, recorded or compared.
const captureBytesMax = 4 << 20

// tee listens to an answer while it is sent.
type tee struct {
	io.ReadCloser
	status int
	header http.Header
	body   []byte
	max    int // 0: nobody listens
	over   bool
	ended  bool
	pass   *pass // whose memory it is
}

// listen has the answer's body listened to, if anybody wants to know it.
func (p *pass) listen(resp *http.Response) *tee {
	t := &tee{ReadCloser: resp.Body, status: resp.StatusCode, header: resp.Header.Clone(), pass: p}
	if resp.StatusCode == http.StatusOK && p.call.Body != nil && (p.settings.cache != nil || p.decision.Log || p.decision.Shadow >= 0) {
		t.max = captureBytesMax
		resp.Body = t
	}
	return t
}

// Read implements io.Reader.
func (t *tee) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	switch {
	case t.over:
	case len(t.body)+n > t.max || !t.pass.hold(int64(n)):
		t.over, t.body = true, nil
	default:
		t.body = append(t.body, b[:n]...)
	}
	if err == io.EOF {
		t.ended = true
	}
	return n, err
}

// hold sets memory aside until the pass ends.
func (p *pass) hold(n int64) bool {
	if !p.Router.held.take(n) {
		return false
	}
	p.has += n
	return true
}

// end returns what was sent, and whether that is all of it.
func (t *tee) end() (body []byte, whole bool) { return t.body, t.max > 0 && t.ended && !t.over }

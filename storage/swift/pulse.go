package swift

import (
	"io"
	"net/http"
	"time"
)

// heartbeat is how often a byte is sent while a long operation runs, so that nobody on
// the way takes the connection for dead.
const heartbeat = 10 * time.Second

// pulse is an answer whose text comes at the end of a long operation.
type pulse struct {
	c       *call
	status  int
	kind    string
	beating bool // the answer has begun; the goroutine's until gone is closed
	done    chan struct{}
	gone    chan struct{}
}

// beat begins one. The status is sent with the first beat, which comes at once if now is
// set, or with the end.
func (c *call) beat(status int, kind string, now bool) *pulse {
	p := &pulse{c: c, status: status, kind: kind, done: make(chan struct{}), gone: make(chan struct{})}
	// The body is still being read while the answer begins.
	_ = http.NewResponseController(c.w.ResponseWriter).EnableFullDuplex() // what cannot do it has no beats in between
	if now {
		p.once()
	}
	go func() {
		defer close(p.gone)
		t := time.NewTicker(heartbeat)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				p.once()
			case <-p.done:
				return
			}
		}
	}()
	return p
}

func (p *pulse) once() {
	if !p.beating {
		p.begin()
	}
	p.beating = true
	_, _ = io.WriteString(p.c.w, " ") // a client that is gone is told nothing, nor below
	_ = p.c.w.FlushError()
}

func (p *pulse) begin() {
	p.c.w.Header().Set("Content-Type", p.kind)
	p.c.w.WriteHeader(p.status)
}

// end writes the text.
func (p *pulse) end(text string) error {
	close(p.done)
	<-p.gone
	if p.beating {
		text = "\r\n\r\n" + text
	} else {
		p.begin()
	}
	_, err := io.WriteString(p.c.w, text)
	return err
}

package swift

import (
	"io"
	"net/http"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/accesslog"
)

// watch sees what an access log tells of a call. There is one only if the container that the
// call is about asks for logs: with S3's PutBucketLogging, since Swift has no word for it.
type watch struct {
	info storage.BucketInfo

	began, heard, answered time.Time // heard is the last of the body
	size                   int64     // below 0 is not known
}

// observe begins to watch the call, if the container wants it.
func (c *call) observe(info *storage.BucketInfo) {
	c.observed = true
	if c.watch != nil || !c.h.cfg.Access.Wants(info) {
		return
	}
	now := c.h.cfg.Now()
	w := &watch{info: *info, began: now, heard: now, size: -1}
	c.watch = w
	c.w.told = func() { w.answered = c.h.cfg.Now() }
	if c.r.Body != nil && c.r.Body != http.NoBody {
		c.r.Body = &heard{c.r.Body, c}
	}
}

// watchFailed is for a call that ends with an error, perhaps before its container was opened.
func (c *call) watchFailed() {
	if c.observed || c.h.cfg.Access == nil || c.container == "" || !c.acct.known() {
		return
	}
	b, err := c.h.cfg.Space.Container(c.ctx, c.acct.name, c.container)
	if err != nil {
		return
	}
	if info, err := b.Info(c.ctx); err == nil {
		c.observe(&info)
	}
}

func (c *call) watchSize(n int64) {
	if c.watch != nil {
		c.watch.size = n
	}
}

// heard is a body of which it is noted when the last came.
type heard struct {
	io.ReadCloser
	c *call
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	if h.c.watch.answered.IsZero() { // what comes after the answer is only thrown away
		h.c.watch.heard = h.c.h.cfg.Now()
	}
	return n, err
}

// record tells the log of the call, if it was watched.
func (c *call) record() {
	w := c.watch
	if w == nil {
		return
	}
	r := c.recordOf()
	resource := "CONTAINER"
	if c.object != "" {
		resource = "OBJECT"
	}
	r.Operation, r.Key, r.Version = "SWIFT."+c.method()+"."+resource, c.object, c.q["version-id"]
	r.Status, r.Sent, r.Size = c.w.status, c.w.sent, w.size
	r.Total = c.h.cfg.Now().Sub(w.began)
	if !w.answered.IsZero() {
		r.Turn = max(w.answered.Sub(w.heard), 0)
	}
	c.h.cfg.Access.Add(&w.info, &r)
}

// touched is what a call does to an object beside the one that it is about.
type touched struct {
	key    string
	status int   // where there is no error
	size   int64 // below 0 is not known
	err    error
}

// recordOther tells the log of a container what a call did there that has a record of its
// own: the other end of a copy, a segment, an old version. The request's line is not in it,
// which would tell one container's owner of another container.
func (c *call) recordOther(b *box, operation string, t touched) {
	if !c.h.cfg.Access.Wants(&b.info) {
		return
	}
	r := c.recordOf()
	r.RequestLine = ""
	r.Operation, r.Key, r.Status, r.Size = operation, t.key, t.status, t.size
	if t.err != nil {
		r.Status = faultOf(t.err).status
	}
	c.h.cfg.Access.Add(&b.info, &r)
}

// recordOf is what all records of a call have in common.
func (c *call) recordOf() accesslog.Record {
	r := accesslog.Of(c.r)
	r.Time, r.Requester, r.RequestID = c.h.cfg.Now(), accesslog.Requester(c.who), c.trans
	if c.watch != nil {
		r.Time = c.watch.began
	}
	switch {
	case c.q.has("temp_url_sig"):
		r.AuthType = "QueryString"
	case !c.who.Anonymous():
		r.AuthType = "AuthHeader"
	}
	return r
}

package s3

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/accesslog"
	"polder.dev/polder/storage/iam"
)

// watch sees what an access log tells of a request. There is one only if the bucket that the
// request is about asks for logs.
type watch struct {
	http.ResponseWriter
	now  func() time.Time
	info storage.BucketInfo

	began, heard, answered time.Time // heard is the last of the body
	status                 int
	sent, size             int64 // below 0 is not known
	err                    error
	byACL                  atomic.Bool // objects of one request are judged at once
}

// watched is what sees the request, or nil.
func (q *request) watched() *watch {
	w, _ := q.w.(*watch)
	return w
}

// observe begins to watch the request, if the bucket wants it.
func (q *request) observe(info *storage.BucketInfo) {
	if !q.s.access.Wants(info) || q.watched() != nil {
		return
	}
	now := q.s.now()
	w := &watch{ResponseWriter: q.w, now: q.s.now, info: *info, began: now, heard: now, size: -1}
	q.w = w
	if q.r.Body != nil && q.r.Body != http.NoBody {
		q.r.Body = &heard{q.r.Body, w}
	}
}

// watchFailed is for a request that ends with an error, perhaps before its bucket was opened.
func (q *request) watchFailed(err error) {
	if q.bucket == nil && q.watched() == nil && q.s.access != nil && q.name != "" {
		if _, info, _, e := q.s.lookup(q.ctx, q.who.Account, q.name); e == nil {
			q.observe(&info)
		}
	}
	if w := q.watched(); w != nil {
		w.err = err
	}
}

func (q *request) watchSize(n int64) {
	if w := q.watched(); w != nil {
		w.size = n
	}
}

// noteACL notes whether what was allowed would not be without ACLs.
func (w *watch) noteACL(rules *iam.Rules, ask iam.Request) {
	if rules.ACL == nil && ask.Object == nil {
		return
	}
	without := *rules
	without.ACL, ask.Object = nil, nil
	if !without.Allows(&ask) {
		w.byACL.Store(true)
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *watch) WriteHeader(code int) {
	if code >= 200 && w.status == 0 {
		w.status, w.answered = code, w.now()
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *watch) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *watch) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// heard is a body of which it is noted when the last came.
type heard struct {
	io.ReadCloser
	w *watch
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	if h.w.status == 0 { // what comes after the answer is only thrown away
		h.w.heard = h.w.now()
	}
	return n, err
}

// record tells the log of the request, if it was watched.
func (q *request) record() {
	w := q.watched()
	if w == nil {
		return
	}
	r := q.recordOf()
	r.Operation, r.Key, r.Version = q.operation(), q.key, q.query.Get("versionId")
	r.Status, r.Sent, r.Size, r.ByACL = w.status, w.sent, w.size, w.byACL.Load()
	r.Total = w.now().Sub(w.began)
	if w.status != 0 {
		r.Turn = max(w.answered.Sub(w.heard), 0)
	}
	if w.err != nil {
		r.ErrorCode = asError(w.err).Code
	}
	q.s.access.Add(&w.info, &r)
}

// touched is what a request does to an object beside the one that it is about.
type touched struct {
	key, version string
	status       int // where there is no error
	size         int64
	err          error
}

// recordOther tells the log of a bucket what a request did there that has a record of its
// own: an object of a batch, the source of a copy, what an object is made of. The request's
// line is not in it, which would tell one bucket's owner of another bucket.
func (q *request) recordOther(info *storage.BucketInfo, operation string, t touched) {
	if !q.s.access.Wants(info) {
		return
	}
	r := q.recordOf()
	r.RequestLine = ""
	r.Operation, r.Key, r.Version, r.Status, r.Size = operation, t.key, t.version, t.status, t.size
	if t.err != nil {
		e := asError(t.err)
		r.Status, r.ErrorCode = e.Status, e.Code
	}
	q.s.access.Add(info, &r)
}

// recordOf is what all records of a request have in common.
func (q *request) recordOf() accesslog.Record {
	r := accesslog.Of(q.r)
	r.Time, r.Requester, r.RequestID, r.HostID = q.s.now(), accesslog.Requester(q.who), q.id, q.s.host[0]
	if w := q.watched(); w != nil {
		r.Time = w.began
	}
	if q.auth == nil {
		return r
	}
	r.Signature = q.auth.Version()
	switch {
	case q.auth.Presigned:
		r.AuthType = "QueryString"
	case q.r.Header["Authorization"] != nil: // and not a form's
		r.AuthType = "AuthHeader"
	}
	return r
}

// resources are the names of operations in Amazon's logs, by parameter, where they are not
// the parameter in capitals.
var resources = map[string]string{
	"delete": "MULTI_OBJECT_DELETE", "versions": "BUCKETVERSIONS", "policy": "BUCKETPOLICY", "logging": "LOGGING_STATUS",
	"list-type": "BUCKET", "uploadId": "UPLOAD", "requestPayment": "REQUEST_PAYMENT", "publicAccessBlock": "PUBLIC_ACCESS_BLOCK",
	"ownershipControls": "OWNERSHIP_CONTROLS", "policyStatus": "POLICY_STATUS", "object-lock": "OBJECT_LOCK_CONFIGURATION",
	"attributes": "OBJECT_ATTRIBUTES",
}

// operation is what a log calls what was asked for.
func (q *request) operation() string {
	method, param, copied := q.r.Method, "", false
	if q.op != nil {
		param, copied = strings.CutSuffix(q.op.param, "+copy")
	}
	resource, known := resources[param]
	switch {
	case param == "" && (q.level == object || q.op != nil && q.op.name == "PostObject"):
		resource = "OBJECT"
	case param == "":
		resource = "BUCKET"
	case param == "uploadId" && method == http.MethodPut:
		resource = "PART"
	case param == "tagging" && q.level == object:
		resource = "OBJECT_TAGGING"
	case !known:
		resource = strings.ToUpper(strings.ReplaceAll(param, "-", "_"))
	}
	protocol := "REST"
	switch {
	case method == http.MethodOptions:
		resource = "PREFLIGHT"
	case q.visiting:
		protocol = "WEBSITE"
	case copied:
		method = "COPY"
	}
	return protocol + "." + method + "." + resource
}

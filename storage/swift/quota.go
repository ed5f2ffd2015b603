package swift

import (
	"io"
	"maps"
	"math"

	"polder.dev/polder/storage/iam"
)

const (
	quotaBytes = "X-Container-Meta-Quota-Bytes"
	quotaCount = "X-Container-Meta-Quota-Count"
)

// quotaHeaders checks what a container's quotas are set to.
func (c *call) quotaHeaders(ch changes) error {
	for n, what := range map[string]string{quotaBytes: "bytes", quotaCount: "count"} {
		if v, ok := ch[n]; ok && v != "" {
			if _, ok := number(v); !ok {
				return refusef(400, "Invalid %s quota.", what)
			}
		}
	}
	return nil
}

var errQuota = plainf(413, "Upload exceeds quota.")

// within bounds a body by the quotas of container and account and by the largest object;
// size is its length, or -1.
func (c *call) within(b *box, body io.Reader, size int64) (io.Reader, error) {
	room, err := c.room(b)
	if err != nil {
		return nil, err
	}
	if size > room || room < 0 {
		return nil, overQuota()
	}
	if size > c.h.cfg.ObjectBytesMax {
		return nil, plainf(413, "Your request is too large.")
	}
	if size >= 0 {
		return body, nil
	}
	if room < c.h.cfg.ObjectBytesMax {
		return &limited{r: body, left: room, fault: overQuota()}, nil
	}
	return &limited{r: body, left: c.h.cfg.ObjectBytesMax, fault: plainf(413, "Your request is too large.")}, nil
}

// overQuota is a fault of its own each time, as answers add to it.
func overQuota() *fault {
	f := *errQuota
	f.kind, f.header = kindHTML, maps.Clone(errQuota.header)
	return &f
}

// room is how many bytes quotas leave for one more object; -1 is none.
func (c *call) room(b *box) (int64, error) {
	room := int64(math.MaxInt64)
	for _, name := range []string{iam.LabelQuota, iam.LabelSwiftQuota} {
		if n, ok := number(b.label(name)); ok {
			room = min(room, n-held(&b.info))
		}
	}
	if n, ok := number(b.label(labelHeader + quotaCount)); ok && b.info.Usage.Objects.Number+1 > n {
		return -1, nil
	}
	r, _, err := c.h.book.Find(c.ctx, b.acct.name)
	if err != nil {
		return 0, err
	}
	if n, ok := number(r.Headers[accountQuota]); ok && !c.who.Operator {
		all, _, err := c.totals(b.acct)
		if err != nil {
			return 0, err
		}
		room = min(room, n-all.bytes)
	}
	if room < 0 {
		room = -1
	}
	return room, nil
}

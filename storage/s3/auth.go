package s3

import (
	"polder.dev/polder/storage/s3/sigv4"
)

// authenticate finds out who asks. What proves no identity is an error; what does not
// try to is anonymous.
func (q *request) authenticate() error {
	r := sigv4.Request{Request: q.r, Query: q.query}
	if q.virtual {
		r.Bucket = q.name
	}
	a, err := sigv4.Parse(r)
	if err != nil || a == nil {
		return err
	}
	who, secret, err := q.s.people.Key(q.ctx, a.AccessKey)
	if err != nil {
		return err
	}
	if err := a.Verify(r, secret, q.s.now(), &q.s.keys); err != nil {
		return err
	}
	q.auth, q.who = a, who
	return nil
}

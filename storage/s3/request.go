package s3

import (
	"context"
	"errors"
	"net/http"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/s3/sigv4"
	"polder.dev/polder/storage/seal"
)

// request is one on its way through the door. It is its goroutine's own.
type request struct {
	s   *Server
	w   http.ResponseWriter
	r   *http.Request
	ctx context.Context
	id  string

	level     level
	name, key string // of bucket and object, as the client says them
	virtual   bool   // the host names the bucket
	visiting  bool   // it is at a web site
	query     sigv4.Query

	auth *sigv4.Auth // nil for an anonymous request
	who  iam.Identity
	op   *operation

	// Of requests about a bucket that must be there:
	bucket storage.Bucket // it is vault
	vault  *seal.Bucket
	info   storage.BucketInfo // settings must not be changed
	rules  *iam.Rules

	requested map[string]string // tags that the body asks for, which a policy may judge

	begun bool // the answer's head is sent
}

func (q *request) serve() error {
	var err error
	if q.query, err = sigv4.ParseQuery(q.r.URL.RawQuery); err != nil {
		return fail("InvalidArgument", "The query cannot be read: %v.", err)
	}
	if err := q.address(); err != nil {
		return err
	}
	if q.r.Header["Origin"] != nil || q.r.Method == http.MethodOptions {
		q.allowOrigin()
	}
	if q.r.Method == http.MethodOptions {
		return q.preflight()
	}
	if err := q.authenticate(); err != nil {
		return err
	}
	if q.op, err = q.route(); err != nil {
		return err
	}
	if q.level != service && !q.op.makes {
		if err := q.open(); err != nil {
			return err
		}
	}
	if q.op.action != "" {
		if err := q.authorise(q.op.action); err != nil {
			return err
		}
	}
	return q.op.do(q)
}

// open finds the bucket with its rules.
func (q *request) open() error {
	b, info, rules, err := q.s.lookup(q.ctx, q.who.Account, q.name)
	if errors.Is(err, storage.ErrNoBucket) {
		if bad := naming.CheckS3(q.name); bad != nil { // Swift's containers may have such names
			return fail("InvalidBucketName", "%s", message("The specified bucket is not valid", bad))
		}
	}
	if err != nil {
		return err
	}
	q.observe(&info)
	if want := q.r.Header["X-Amz-Expected-Bucket-Owner"]; want != nil && want[0] != rules.Owner {
		return fail("AccessDenied", "The bucket is not account %s's, as x-amz-expected-bucket-owner says.", want[0])
	}
	q.info, q.rules = info, rules
	key, err := q.customer(sseCustomer)
	q.vault = seal.Over(b, seal.Opener{Keys: q.s.keyring, Customer: key})
	q.bucket = q.vault
	return err
}

// lookup finds a bucket as an account's client names it.
func (s *Server) lookup(ctx context.Context, account, name string) (storage.Bucket, storage.BucketInfo, *iam.Rules, error) {
	b, err := s.space.Resolve(ctx, account, name)
	if err != nil {
		return nil, storage.BucketInfo{}, nil, err
	}
	info, err := b.Info(ctx)
	if err != nil {
		return nil, storage.BucketInfo{}, nil, err
	}
	rules, err := s.rules.of(&info)
	return b, info, rules, err
}

// label is a setting of the bucket, "" where it is not set.
func (q *request) label(name string) string { return q.info.Settings.Labels[name] }

// setLabel changes a setting of the bucket for good; "" takes it away.
func (q *request) setLabel(name, value string) error {
	return q.bucket.Configure(q.ctx, func(s *storage.Settings) error {
		switch {
		case value == "":
			delete(s.Labels, name)
		case s.Labels == nil:
			s.Labels = map[string]string{name: value}
		default:
			s.Labels[name] = value
		}
		return nil
	})
}

// header is a header of the request, by its canonical name.
func (q *request) header(name string) string {
	if v := q.r.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// set sets a header of the answer, by its canonical name.
func (q *request) set(name, value string) { q.w.Header()[name] = []string{value} }

// status answers without a body.
func (q *request) status(code int) error {
	q.begun = true
	q.w.WriteHeader(code)
	return nil
}

// gone says that a client went away, which is nobody's fault.
func gone(err error) bool { return errors.Is(err, context.Canceled) || errors.Is(err, errGone) }

package swift

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/swift/account"
)

const (
	accountMeta  = "X-Account-Meta-"
	accountQuota = "X-Account-Meta-Quota-Bytes"
)

// secretHeaders are an owner's own.
var secretHeaders = []string{
	"X-Account-Meta-Temp-Url-Key", "X-Account-Meta-Temp-Url-Key-2", headerAccountACL,
	"X-Container-Meta-Temp-Url-Key", "X-Container-Meta-Temp-Url-Key-2",
	"X-Container-Sync-Key", "X-Container-Sync-To", headerRead, headerWrite,
}

// total is what containers hold.
type total struct{ containers, objects, bytes int64 }

func (t *total) add(b *storage.BucketInfo) {
	t.containers++
	t.objects += b.Usage.Objects.Number
	t.bytes += held(b)
}

// held is what a container is charged for: older versions as well.
func held(b *storage.BucketInfo) int64 { return b.Usage.Objects.Bytes + b.Usage.Older.Bytes }

// totals sums over an account, and by storage policy.
func (c *call) totals(a accountRef) (all total, byPolicy map[string]*total, err error) {
	byPolicy = map[string]*total{}
	for _, full := range c.h.cfg.Space.Owned(a.name) {
		info, err := c.bucketInfo(full)
		if errors.Is(err, storage.ErrNoBucket) {
			continue
		}
		if err != nil {
			return all, nil, err
		}
		p := c.h.cfg.policyOf(&info.Settings).Name
		if byPolicy[p] == nil {
			byPolicy[p] = &total{}
		}
		all.add(&info)
		byPolicy[p].add(&info)
	}
	return all, byPolicy, nil
}

func (c *call) bucketInfo(full string) (storage.BucketInfo, error) {
	b, err := c.h.cfg.Space.Store().Bucket(c.ctx, full)
	if err != nil {
		return storage.BucketInfo{}, err
	}
	return b.Info(c.ctx)
}

// timestamp is a time as Swift writes it.
func timestamp(t time.Time) string {
	return fmt.Sprintf("%010d.%05d", t.Unix(), t.Nanosecond()/10_000)
}

func (c *call) accountGet() error {
	lvl := c.level(c.acct)
	if lvl == none {
		return c.denied()
	}
	f, err := c.format()
	if err != nil {
		return err
	}
	if err := c.checkTexts(); err != nil {
		return err
	}
	limit, err := c.limit()
	if err != nil {
		return err
	}
	r, there, err := c.h.book.Find(c.ctx, c.acct.name)
	if err != nil {
		return err
	}
	if !r.Deleted.IsZero() {
		return refuse(410).with("X-Account-Status", "Deleted")
	}
	all, byPolicy, err := c.totals(c.acct)
	if err != nil {
		return err
	}
	h := c.w.Header()
	there = there || all.containers > 0
	c.accountHeaders(h, &r, there, lvl)
	h.Set("X-Account-Container-Count", strconv.FormatInt(all.containers, 10))
	h.Set("X-Account-Object-Count", strconv.FormatInt(all.objects, 10))
	h.Set("X-Account-Bytes-Used", strconv.FormatInt(all.bytes, 10))
	for p, t := range byPolicy {
		h.Set("X-Account-Storage-Policy-"+p+"-Container-Count", strconv.FormatInt(t.containers, 10))
		h.Set("X-Account-Storage-Policy-"+p+"-Object-Count", strconv.FormatInt(t.objects, 10))
		h.Set("X-Account-Storage-Policy-"+p+"-Bytes-Used", strconv.FormatInt(t.bytes, 10))
	}
	if c.method() == http.MethodHead {
		h.Set("Content-Type", string(f)+"; charset=utf-8")
		status := 204
		if !there {
			status = 200
		}
		c.answer(status, "")
		return nil
	}
	return c.accountList(f, limit)
}

func (c *call) accountHeaders(h http.Header, r *account.Record, there bool, lvl level) {
	for n, v := range r.Headers {
		if lvl == owner || !slices.Contains(secretHeaders, n) {
			h.Set(n, v)
		}
	}
	if there {
		h.Set("Accept-Ranges", "bytes")
		h.Set("X-Timestamp", timestamp(r.Created))
		return
	}
	now := timestamp(c.h.cfg.Now())
	h.Set("X-Timestamp", now)
	h.Set("X-Put-Timestamp", now)
}

// accountList writes containers, in one page at most.
func (c *call) accountList(f format, limit int) error {
	page := c.accountPage(limit)
	l := c.list(f, true, c.shown, len(page) == 0)
	if l == nil {
		return nil
	}
	for _, e := range page {
		if err := l.add(e); err != nil {
			return err
		}
	}
	return l.end()
}

// accountPage is what a listing holds; containers with the same beginning up to the
// delimiter are one entry.
func (c *call) accountPage(limit int) []entry {
	prefix, delimiter := c.q["prefix"], c.q["delimiter"]
	seen := c.q["marker"]
	if on(c.q["reverse"]) {
		seen = c.q["end_marker"]
	}
	var out []entry
	last := ""
	for _, full := range c.window(c.h.cfg.Space.Owned(c.acct.name)) {
		if len(out) == limit {
			break
		}
		name := naming.Name(full)
		if i := strings.Index(name[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			sub := name[:len(prefix)+i+len(delimiter)]
			if sub != last && sub != seen {
				out = append(out, entry{subdir: sub})
			}
			last = sub
			continue
		}
		info, err := c.bucketInfo(full)
		if err != nil {
			continue // it was deleted meanwhile
		}
		out = append(out, entry{Name: name, Count: &info.Usage.Objects.Number, Bytes: held(&info), LastModified: stamp(info.Created)})
	}
	return out
}

// window is what marker, end_marker and prefix leave, in the order of the listing.
func (c *call) window(names []string) []string {
	reverse := on(c.q["reverse"])
	marker, end := c.q["marker"], c.q["end_marker"]
	if reverse {
		marker, end = end, marker
	}
	names = slices.DeleteFunc(names, func(full string) bool {
		n := naming.Name(full)
		return !strings.HasPrefix(n, c.q["prefix"]) || marker != "" && n <= marker || end != "" && n >= end
	})
	return backwards(names, reverse)
}

func (c *call) accountPut() error {
	if !c.who.Operator {
		return c.denied()
	}
	if len(c.shown) > 256 {
		return refusef(400, "Account name length of %d longer than %d", len(c.shown), 256)
	}
	return c.accountChange(true)
}

func (c *call) accountPost() error {
	if !c.owns(c.acct) {
		return c.denied()
	}
	return c.accountChange(false)
}

// accountChange keeps what headers say of an account.
func (c *call) accountChange(put bool) error {
	ch, err := metaChanges(c.r.Header, "Account")
	if err != nil {
		return err
	}
	if err := c.accountSpecials(ch); err != nil {
		return err
	}
	old, there, err := c.h.book.Find(c.ctx, c.acct.name)
	if err != nil {
		return err
	}
	fresh := !there || !old.Deleted.IsZero()
	err = c.h.book.Change(c.ctx, c.acct.name, c.h.cfg.Now(), func(r *account.Record) error {
		if !r.Deleted.IsZero() {
			*r = account.Record{Created: c.h.cfg.Now(), Headers: map[string]string{}}
		}
		return ch.apply(r.Headers, accountMeta)
	})
	switch {
	case err != nil:
		return err
	case put && fresh:
		return c.done(201)
	case put:
		return c.done(202)
	}
	c.answer(204, "")
	return nil
}

// accountSpecials checks the headers that mean something.
func (c *call) accountSpecials(ch changes) error {
	if v := c.r.Header.Values(headerAccountACL); len(v) > 0 {
		clean, err := cleanAccountACL(v[0])
		if err != nil {
			return err
		}
		ch[headerAccountACL] = clean
	} else if c.header("X-Remove-Account-Access-Control") != "" {
		ch[headerAccountACL] = ""
	}
	if q, ok := ch[accountQuota]; ok {
		if !c.who.Operator {
			return c.denied()
		}
		if _, ok := number(q); q != "" && !ok {
			return refuse(400)
		}
	}
	return switchHeader(c.r.Header, "X-Account-Rfc-Compliant-Etags", ch)
}

// switchHeader keeps a header that is a word for yes or no.
func switchHeader(h http.Header, name string, ch changes) error {
	if v := h.Values(name); len(v) > 0 {
		switch {
		case v[0] == "":
			ch[name] = ""
		case on(v[0]):
			ch[name] = "True"
		default:
			ch[name] = "False"
		}
	}
	return nil
}

// accountDelete takes an account's record away. Unlike Swift's reaper it deletes no
// containers: an account that has some is refused.
func (c *call) accountDelete() error {
	if !c.who.Operator {
		return c.denied()
	}
	owned := len(c.h.cfg.Space.Owned(c.acct.name))
	_, there, err := c.h.book.Find(c.ctx, c.acct.name)
	switch {
	case err != nil:
		return err
	case !there && owned == 0:
		return refuse(404)
	case owned > 0:
		return refusef(409, "The account has %d containers. Delete them first.", owned)
	}
	err = c.h.book.Change(c.ctx, c.acct.name, c.h.cfg.Now(), func(r *account.Record) error {
		r.Deleted, r.Headers = c.h.cfg.Now(), nil
		return nil
	})
	if err != nil {
		return err
	}
	c.w.Header().Set("X-Account-Status", "Deleted")
	c.answer(204, "")
	return nil
}

// exist makes sure that an account has a record, so that it has a time.
func (c *call) exist(a accountRef) error {
	r, there, err := c.h.book.Find(c.ctx, a.name)
	if err != nil || there && r.Deleted.IsZero() {
		return err
	}
	return c.h.book.Change(c.ctx, a.name, c.h.cfg.Now(), func(r *account.Record) error {
		if !r.Deleted.IsZero() {
			*r = account.Record{Created: c.h.cfg.Now()}
		}
		return nil
	})
}

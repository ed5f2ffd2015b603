package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/lifecycle"

	"polder.dev/polder/internal/usage"
)

// Headers in which Polder's store hears and tells what S3 has no word for. Others
// ignore them.
const (
	durabilityHeader = "X-Polder-Durability"
	copiesHeader     = "X-Polder-Copies"
	etagHeader       = "X-Polder-Etag"
	shownHeader      = "X-Polder-Shown"
)

// BucketOptions are what a new bucket is asked to be.
type BucketOptions struct {
	Versioning, ObjectLock bool
	Durability             string // "synced" or "written"; "" is the store's default
	Copies                 int    // 0 is the store's default
	// PlainETag allows ETags that are no MD5, which makes writing faster.
	PlainETag bool
}

// CreateBucket makes a bucket. One that is there is an error: its settings may be others,
// and S3 does not always tell.
func (c *Client) CreateBucket(ctx context.Context, name string, o BucketOptions) error {
	if _, _, err := c.ask(ctx, http.MethodHead, name, nil, nil, nil); err == nil {
		return usage.Errorf("there is a bucket %s already", Printable(name))
	}
	h := http.Header{}
	if o.ObjectLock {
		h.Set("X-Amz-Bucket-Object-Lock-Enabled", "true")
	}
	if o.Durability != "" {
		h.Set(durabilityHeader, o.Durability)
	}
	if o.Copies > 0 {
		h.Set(copiesHeader, strconv.Itoa(o.Copies))
	}
	if o.PlainETag {
		h.Set(etagHeader, "any")
	}
	var body []byte
	if c.cfg.Region != "us-east-1" {
		type place struct {
			XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CreateBucketConfiguration"`
			Location string   `xml:"LocationConstraint"`
		}
		body, _ = xml.Marshal(place{Location: c.cfg.Region})
	}
	_, _, err := c.ask(ctx, http.MethodPut, name, nil, h, body)
	switch codeOf(err) {
	case "BucketAlreadyOwnedByYou", "BucketAlreadyExists":
		return usage.Errorf("there is a bucket %s already", Printable(name))
	case "InvalidBucketName":
		return usage.Errorf("%s cannot be a bucket's name: it has 3 to 63 lower-case letters, digits, dots and dashes", Printable(name))
	}
	if err != nil || !o.Versioning || o.ObjectLock { // a lock brings versioning with it
		return explain(err, Address{Bucket: name})
	}
	return c.SetVersioning(ctx, name, true)
}

// Bucket is what the store tells of one. Empty fields are not known.
type Bucket struct {
	Name       string    `json:"name"`
	Created    time.Time `json:"created,omitzero"`
	Versioning string    `json:"versioning,omitempty"` // on, off, suspended
	ObjectLock bool      `json:"objectLock,omitempty"`
	Policy     bool      `json:"policy"`
	Lifecycle  int       `json:"lifecycleRules"`
	Logging    *Logging  `json:"logging,omitempty"` // nil is no access log, or not known
	Durability string    `json:"durability,omitempty"`
	Copies     string    `json:"copies,omitempty"`
	ETag       string    `json:"etag,omitempty"`
	// Shown says where the data lies, if that is another store, of which this one shows it.
	Shown string `json:"shown,omitempty"`
	// Objects and Bytes are the current ones; nil where nobody counted.
	Objects *int64 `json:"objects,omitempty"`
	Bytes   *int64 `json:"bytes,omitempty"`
}

// Buckets lists those of the access key's owner.
func (c *Client) Buckets(ctx context.Context) ([]Bucket, error) {
	a := Address{Path: c.base.String()}
	_, text, err := c.ask(ctx, http.MethodGet, "", nil, nil, nil)
	if err != nil {
		return nil, explain(err, a)
	}
	var list struct {
		Buckets struct {
			Bucket []struct {
				Name         string
				CreationDate time.Time
				Shown        string // which is Polder's own
			}
		}
	}
	if err := xml.Unmarshal(text, &list); err != nil {
		return nil, explain(fmt.Errorf("reading the list of buckets: %w", err), a)
	}
	out := make([]Bucket, 0, len(list.Buckets.Bucket))
	for _, b := range list.Buckets.Bucket {
		out = append(out, Bucket{Name: b.Name, Created: b.CreationDate, Shown: b.Shown})
	}
	return out, nil
}

// ShowBucket asks for all that is known of a bucket. Where the store does not tell how
// many objects it holds, they are counted if count says so.
func (c *Client) ShowBucket(ctx context.Context, name string, count bool) (Bucket, error) {
	a := Address{Bucket: name}
	h, _, err := c.ask(ctx, http.MethodHead, name, nil, nil, nil)
	if err != nil {
		return Bucket{}, explain(err, a)
	}
	b := Bucket{Name: name, Durability: h.Get(durabilityHeader), Copies: h.Get(copiesHeader), ETag: h.Get(etagHeader), Shown: h.Get(shownHeader)}
	b.Objects, b.Bytes = number(h, "X-Polder-Objects", "X-Rgw-Object-Count"), number(h, "X-Polder-Bytes", "X-Rgw-Bytes-Used")
	v, err := c.s3.GetBucketVersioning(ctx, name)
	if known(err) {
		b.Versioning = map[string]string{"": "off", "Enabled": "on", "Suspended": "suspended"}[v.Status]
	}
	policy, perr := c.s3.GetBucketPolicy(ctx, name)
	b.Policy = policy != ""
	rules, lerr := c.s3.GetBucketLifecycle(ctx, name)
	if lerr == nil {
		b.Lifecycle = len(rules.Rules)
	}
	lock, _, _, _, oerr := c.s3.GetObjectLockConfig(ctx, name)
	b.ObjectLock = oerr == nil && lock == "Enabled"
	logs, gerr := c.Logging(ctx, name)
	if gerr == nil {
		b.Logging = &logs
	}
	for _, err := range []error{err, perr, lerr, oerr} {
		if !known(err) && codeOf(err) == "" {
			return Bucket{}, explain(err, a)
		}
	}
	list, err := c.Buckets(ctx)
	if err == nil { // not everybody may, and then the date is not known
		for _, l := range list {
			if l.Name == name {
				b.Created = l.Created
			}
		}
	}
	if count && b.Objects == nil {
		err = c.count(ctx, a, &b)
	}
	return b, err
}

// known says that err is none, or one in which the store tells that nothing is set.
func known(err error) bool { return err == nil || strings.HasPrefix(codeOf(err), "NoSuch") }

func number(h http.Header, names ...string) *int64 {
	for _, n := range names {
		if v, err := strconv.ParseInt(h.Get(n), 10, 64); err == nil {
			return &v
		}
	}
	return nil
}

func (c *Client) count(ctx context.Context, a Address, b *Bucket) error {
	var objects, size int64
	for e, err := range c.List(ctx, a, true) {
		if err != nil {
			return err
		}
		objects++
		size += e.Size
	}
	b.Objects, b.Bytes = &objects, &size
	return nil
}

// RemoveBucket removes an empty bucket.
func (c *Client) RemoveBucket(ctx context.Context, name string) error {
	err := c.s3.RemoveBucket(ctx, name)
	if codeOf(err) == "BucketNotEmpty" {
		return usage.Errorf("bucket %s is not empty", Printable(name))
	}
	return explain(err, Address{Bucket: name})
}

// AbortUploads gives up uploads to a bucket that were begun and not completed.
func (c *Client) AbortUploads(ctx context.Context, name string) error {
	return explain(c.abortAll(ctx, name), Address{Bucket: name})
}

// SetVersioning has later writes keep what they replace, or not.
func (c *Client) SetVersioning(ctx context.Context, name string, on bool) error {
	set := c.s3.SuspendVersioning
	if on {
		set = c.s3.EnableVersioning
	}
	return explain(set(ctx, name), Address{Bucket: name})
}

// Policy is the bucket's policy in JSON; ErrNotFound if it has none.
func (c *Client) Policy(ctx context.Context, name string) (string, error) {
	text, err := c.s3.GetBucketPolicy(ctx, name)
	if err == nil && text == "" {
		return "", missing("bucket %s has no policy", Printable(name))
	}
	return text, explain(err, Address{Bucket: name})
}

// SetPolicy sets a policy in JSON; "" removes it.
func (c *Client) SetPolicy(ctx context.Context, name, text string) error {
	if text != "" && !json.Valid([]byte(text)) {
		return usage.Errorf("the policy is no JSON")
	}
	return explain(c.s3.SetBucketPolicy(ctx, name, text), Address{Bucket: name})
}

// Lifecycle is the bucket's rules in JSON; ErrNotFound if it has none.
func (c *Client) Lifecycle(ctx context.Context, name string) (string, error) {
	rules, err := c.s3.GetBucketLifecycle(ctx, name)
	if codeOf(err) == "NoSuchLifecycleConfiguration" {
		return "", missing("bucket %s has no lifecycle rules", Printable(name))
	}
	if err != nil {
		return "", explain(err, Address{Bucket: name})
	}
	text, err := json.MarshalIndent(rules, "", "  ")
	return string(text), err
}

// SetLifecycle sets rules, in S3's XML or in the JSON that Lifecycle and the AWS tools
// write; "" removes them.
func (c *Client) SetLifecycle(ctx context.Context, name, text string) error {
	rules := lifecycle.NewConfiguration()
	var err error
	switch t := strings.TrimSpace(text); {
	case t == "":
	case strings.HasPrefix(t, "<"):
		err = xml.Unmarshal([]byte(t), rules)
	default:
		d := json.NewDecoder(bytes.NewReader([]byte(t)))
		d.DisallowUnknownFields()
		err = d.Decode(rules)
	}
	if err == nil && text != "" && rules.Empty() {
		err = errors.New("there are none")
	}
	if err != nil {
		return usage.Errorf("reading lifecycle rules: %w", err)
	}
	return explain(c.s3.SetBucketLifecycle(ctx, name, rules), Address{Bucket: name})
}

// tiersQuery asks for a bucket's policy of tiers, which is Polder's own.
var tiersQuery = url.Values{"x-polder-tiers": {""}}

// Tiers is the bucket's policy of tiers, in JSON.
func (c *Client) Tiers(ctx context.Context, name string) (string, error) {
	_, text, err := c.ask(ctx, http.MethodGet, name, tiersQuery, nil, nil)
	return string(text), explain(err, Address{Bucket: name})
}

// SetTiers replaces it; an empty text leaves it to the store.
func (c *Client) SetTiers(ctx context.Context, name, text string) error {
	method := http.MethodPut
	if text == "" {
		method = http.MethodDelete
	}
	_, _, err := c.ask(ctx, method, name, tiersQuery, nil, []byte(text))
	return explain(err, Address{Bucket: name})
}

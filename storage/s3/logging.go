package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"strings"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/accesslog"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/lock"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/residency"
	"polder.dev/polder/storage/seal"
)

// loggingXML is BucketLoggingStatus; without Enabled there are no logs.
type loggingXML struct {
	XMLName xml.Name        `xml:"BucketLoggingStatus"`
	Space   string          `xml:"xmlns,attr"`
	Enabled *loggingEnabled `xml:"LoggingEnabled"`
}

type loggingEnabled struct {
	TargetBucket string
	TargetPrefix *string
	Format       *logKeyFormat `xml:"TargetObjectKeyFormat"`
	Grants       *struct {
		Grant []struct{}
	} `xml:"TargetGrants"`
}

type logKeyFormat struct {
	Simple      *struct{}                                       `xml:"SimplePrefix"`
	Partitioned *struct{ PartitionDateSource accesslog.Layout } `xml:"PartitionedPrefix"`
}

// layout is what the element asks for; nil is not there.
func (f *logKeyFormat) layout() (accesslog.Layout, error) {
	switch {
	case f == nil:
		return "", nil
	case (f.Simple == nil) == (f.Partitioned == nil):
		return "", fail("MalformedXML", "TargetObjectKeyFormat needs SimplePrefix or PartitionedPrefix, and not both.")
	case f.Simple != nil:
		return accesslog.Simple, nil
	}
	switch by := f.Partitioned.PartitionDateSource; by {
	case accesslog.ByEvent, accesslog.ByDelivery:
		return by, nil
	default:
		return "", fail("MalformedXML", "PartitionDateSource must be EventTime or DeliveryTime, not %q.", by)
	}
}

// config checks what a client sent; nil is no logs.
func (f *loggingXML) config() (*accesslog.Config, error) {
	e := f.Enabled
	if e == nil {
		return nil, nil
	}
	if e.TargetBucket == "" || e.TargetPrefix == nil {
		return nil, fail("MalformedXML", "LoggingEnabled needs a TargetBucket and a TargetPrefix, which may be empty.")
	}
	if e.Grants != nil && len(e.Grants.Grant) > 0 {
		return nil, fail("NotImplemented", "TargetGrants are not kept here; let the policy of bucket %s say who may read the logs.", e.TargetBucket)
	}
	layout, err := e.Format.layout()
	return &accesslog.Config{Bucket: e.TargetBucket, Prefix: *e.TargetPrefix, Layout: layout}, err
}

// logging implements GetBucketLogging.
func (q *request) logging() error {
	c, err := accesslog.Parse(q.label(accesslog.Label))
	if err != nil {
		return err
	}
	x := newXML().root("BucketLoggingStatus")
	if c != nil {
		x.open("LoggingEnabled").text("TargetBucket", c.Bucket).text("TargetPrefix", c.Prefix)
		switch c.Layout {
		case "":
		case accesslog.Simple:
			x.open("TargetObjectKeyFormat").open("SimplePrefix").close("SimplePrefix").close("TargetObjectKeyFormat")
		default:
			x.open("TargetObjectKeyFormat").open("PartitionedPrefix").text("PartitionDateSource", string(c.Layout)).close("PartitionedPrefix").close("TargetObjectKeyFormat")
		}
		x.close("LoggingEnabled")
	}
	return q.reply(x.close("BucketLoggingStatus"))
}

// putLogging implements PutBucketLogging.
func (q *request) putLogging() error {
	var f loggingXML
	if err := q.decode(&f); err != nil {
		return err
	}
	c, err := f.config()
	if err != nil {
		return err
	}
	label := ""
	if c != nil {
		if q.s.access == nil {
			return fail("NotImplemented", "This server does not log accesses into a bucket.")
		}
		if err := q.mayLogTo(c); err != nil {
			return err
		}
		label = c.Encode()
	}
	if err := q.setLabel(accesslog.Label, label); err != nil {
		return err
	}
	return q.status(http.StatusOK)
}

// mayLogTo judges whether logs of the bucket may go where c says: now, and as who asks.
func (q *request) mayLogTo(c *accesslog.Config) error {
	from := accesslog.SourceOf(&q.info)
	key := c.Key(&from, q.s.region, q.s.now(), q.s.now(), strings.Repeat("0", 16))
	if len(key) > storage.KeyBytesMax {
		return fail("InvalidArgument", "TargetPrefix is too long: a log's key would have %d bytes, and a key has at most %d.", len(key), storage.KeyBytesMax)
	}
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	_, info, rules, err := q.s.logTarget(q.ctx, &from, c.Bucket, key)
	if err != nil {
		return err
	}
	if err := q.authoriseIn(rules, c.Bucket, iam.PutObject, key, nil); err != nil {
		return fail("AccessDenied", "Access denied: who has logs put into bucket %s needs the right to put objects there.", c.Bucket)
	}
	conf, err := lock.ParseConfig(info.Settings)
	if err != nil {
		return err
	}
	if conf != nil && conf.Mode != "" {
		return fail("InvalidTargetBucketForLogging", "Bucket %s retains what is put into it by default; choose one without a default retention.", c.Bucket)
	}
	return nil
}

// logTarget finds the bucket that logs go to, if it may have them: it is the same owner's,
// no statement of its policy denies them to logging.s3.amazonaws.com, and it lies nowhere
// where the logged bucket's bytes may not. That the owner is the same is right enough.
func (s *Server) logTarget(ctx context.Context, from *accesslog.Source, name, key string) (storage.Bucket, storage.BucketInfo, *iam.Rules, error) {
	none := func(err error) (storage.Bucket, storage.BucketInfo, *iam.Rules, error) {
		return nil, storage.BucketInfo{}, nil, err
	}
	b, err := s.space.Container(ctx, from.Owner, name)
	if errors.Is(err, storage.ErrNoBucket) {
		return none(fail("InvalidTargetBucketForLogging", "Bucket %s does not exist, or is not owned by account %s, which owns bucket %s.", name, from.Owner, from.Name))
	}
	if err != nil {
		return none(err)
	}
	info, err := b.Info(ctx)
	if err != nil {
		return none(err)
	}
	rules, err := s.rules.of(&info)
	if err != nil {
		return none(err)
	}
	err = residency.Flow(residency.Bucket{Name: from.Name, Residency: from.Residency}, residency.Bucket{Name: name, Residency: info.Settings.Residency})
	if err != nil {
		return none(fail("CrossLocationLoggingProhibited", "Logs of a bucket go only where its data may: %v.", err))
	}
	ask := iam.Request{
		Service: iam.LogService, Action: iam.PutObject, Bucket: name, Key: key,
		Context: map[string][]string{
			"aws:sourcearn": {"arn:aws:s3:::" + from.Name}, "aws:sourceaccount": {from.Owner},
			"aws:securetransport": {"true"}, "aws:currenttime": {s.now().UTC().Format(time.RFC3339)},
		},
	}
	if rules.Denies(&ask) {
		return none(fail("InvalidTargetBucketForLogging", "The policy of bucket %s denies %s to put logs there.", name, iam.LogService))
	}
	return b, info, rules, nil
}

// PutLog implements accesslog.Options.Put. The object is as one that the owner puts: the
// bucket's quota, default encryption and retention hold for it. No log tells of it.
func (s *Server) PutLog(ctx context.Context, from *accesslog.Source, bucket, key string, text []byte) error {
	b, info, rules, err := s.logTarget(ctx, from, bucket, key)
	if err != nil {
		return err
	}
	q := &request{
		s: s, r: &http.Request{Header: http.Header{}}, ctx: ctx, name: naming.Name(info.Name), key: key,
		who: iam.Identity{Account: from.Owner, Admin: true}, info: info, rules: rules, vault: seal.Over(b, seal.Opener{Keys: s.keyring}),
	}
	q.bucket = q.vault
	m := storage.Meta{ContentType: "text/plain"}
	if err := q.sealNew(&m); err != nil {
		return err
	}
	if err := q.room(int64(len(text))); err != nil {
		return err
	}
	_, err = q.bucket.Put(ctx, key, bytes.NewReader(text), storage.PutOptions{Meta: m, Size: int64(len(text))})
	return err
}

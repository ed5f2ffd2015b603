package s3

import (
	"encoding/xml"
	"net/http"
	"strings"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/lock"
)

// Limits of a bucket's own retention.
const (
	lockDaysMax  = 36_500
	lockYearsMax = 100
)

type lockXML struct {
	XMLName           xml.Name `xml:"ObjectLockConfiguration"`
	ObjectLockEnabled string
	Rule              *struct {
		DefaultRetention *struct {
			Mode        lock.Mode
			Days, Years *int
		}
	}
}

// config checks what a client sent.
func (f *lockXML) config() (*lock.Config, error) {
	if f.ObjectLockEnabled != "Enabled" {
		return nil, fail("MalformedXML", "ObjectLockEnabled must be Enabled.")
	}
	c := &lock.Config{}
	if f.Rule == nil {
		return c, nil
	}
	d := f.Rule.DefaultRetention
	switch {
	case d == nil || !d.Mode.Valid():
		return nil, fail("MalformedXML", "A Rule needs a DefaultRetention with Mode GOVERNANCE or COMPLIANCE.")
	case (d.Days == nil) == (d.Years == nil):
		return nil, fail("MalformedXML", "DefaultRetention needs Days or Years, and not both.")
	case d.Days != nil && (*d.Days < 1 || *d.Days > lockDaysMax):
		return nil, fail("InvalidRetentionPeriod", "Days must be 1 to %d, not %d.", lockDaysMax, *d.Days)
	case d.Years != nil && (*d.Years < 1 || *d.Years > lockYearsMax):
		return nil, fail("InvalidRetentionPeriod", "Years must be 1 to %d, not %d.", lockYearsMax, *d.Years)
	}
	c.Mode = d.Mode
	if d.Days != nil {
		c.Days = *d.Days
	} else {
		c.Years = *d.Years
	}
	return c, nil
}

func (q *request) lockConfig() error {
	c, err := lock.ParseConfig(q.info.Settings)
	if err != nil {
		return err
	}
	if c == nil {
		return fail("ObjectLockConfigurationNotFoundError", "Object lock is not enabled for this bucket.")
	}
	x := newXML().root("ObjectLockConfiguration").text("ObjectLockEnabled", "Enabled")
	if c.Mode != "" {
		x.open("Rule").open("DefaultRetention").text("Mode", string(c.Mode))
		if c.Days > 0 {
			x.number("Days", int64(c.Days))
		} else {
			x.number("Years", int64(c.Years))
		}
		x.close("DefaultRetention").close("Rule")
	}
	return q.reply(x.close("ObjectLockConfiguration"))
}

func (q *request) putLockConfig() error {
	var f lockXML
	if err := q.decode(&f); err != nil {
		return err
	}
	c, err := f.config()
	if err != nil {
		return err
	}
	err = q.bucket.Configure(q.ctx, func(s *storage.Settings) error {
		if s.Versioning != storage.Versioned {
			return fail("InvalidBucketState", "Object lock needs versioning to be enabled for the bucket.")
		}
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		s.Labels[lock.Label] = c.Encode()
		return nil
	})
	if err != nil {
		return err
	}
	return q.status(http.StatusOK)
}

// newLock reads the header of CreateBucket.
func (q *request) newLock(set *storage.Settings) error {
	switch v := q.header("X-Amz-Bucket-Object-Lock-Enabled"); {
	case v == "" || strings.EqualFold(v, "false"):
		return nil
	case !strings.EqualFold(v, "true"):
		return fail("InvalidArgument", "x-amz-bucket-object-lock-enabled must be true or false, not %q.", v)
	}
	set.Versioning = storage.Versioned
	set.Labels[lock.Label] = (&lock.Config{}).Encode()
	return nil
}

// sealLock puts a lock on what a request creates, by its headers or by the bucket's rule.
func (q *request) sealLock(m *storage.Meta) error {
	c, err := lock.ParseConfig(q.info.Settings)
	if err != nil {
		return err
	}
	lock.State{}.Put(m) // a copy has its own
	mode, until, hold := q.header("X-Amz-Object-Lock-Mode"), q.header("X-Amz-Object-Lock-Retain-Until-Date"), q.header("X-Amz-Object-Lock-Legal-Hold")
	if c == nil {
		if mode+until+hold != "" {
			return fail("InvalidRequest", "The bucket has no object lock; leave x-amz-object-lock-* out.")
		}
		return nil
	}
	var s lock.State
	if q.op.name != "CreateMultipartUpload" { // whose object is made when it is completed
		s = c.State(q.s.now())
	}
	if (mode == "") != (until == "") {
		return fail("InvalidArgument", "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied.")
	}
	if mode != "" {
		if err := q.authorise("s3:PutObjectRetention"); err != nil {
			return err
		}
		if s, err = q.retention(lock.Mode(mode), until); err != nil {
			return err
		}
	}
	if hold != "" {
		if err := q.authorise("s3:PutObjectLegalHold"); err != nil {
			return err
		}
		if s.Hold = lock.Hold(hold); s.Hold != lock.On && s.Hold != lock.Off {
			return fail("InvalidArgument", "x-amz-object-lock-legal-hold must be ON or OFF, not %q.", hold)
		}
	}
	s.Put(m)
	return nil
}

// sealCompleted puts the bucket's own retention on an object that was made of parts, if
// its upload did not ask for one.
func (q *request) sealCompleted(m *storage.Meta) error {
	c, err := lock.ParseConfig(q.info.Settings)
	if err != nil || c == nil || c.Mode == "" {
		return err
	}
	s, err := lock.Of(*m)
	if err != nil || s.Mode != "" {
		return err
	}
	hold := s.Hold
	s = c.State(q.s.now())
	s.Hold = hold
	s.Put(m)
	return nil
}

// retention checks a mode and a date that go together.
func (q *request) retention(mode lock.Mode, until string) (lock.State, error) {
	if !mode.Valid() {
		return lock.State{}, fail("InvalidArgument", "The mode of a retention must be GOVERNANCE or COMPLIANCE, not %q.", string(mode))
	}
	t, err := parseDate(until)
	if err != nil {
		return lock.State{}, fail("InvalidArgument", "The retain until date %q is not of the form 2030-01-01T00:00:00Z.", until)
	}
	if !t.After(q.s.now()) {
		return lock.State{}, fail("InvalidArgument", "The retain until date %s must be in the future.", until)
	}
	return lock.State{Mode: mode, Until: t}, nil
}

// parseDate reads ISO 8601, with or without parts of a second.
func parseDate(s string) (time.Time, error) {
	return time.Parse(time.RFC3339Nano, strings.TrimSpace(s))
}

// lockSubject finds a version of a bucket that has object lock.
func (q *request) lockSubject(verb, aspect string) (*storage.Info, lock.State, error) {
	if !lock.Enabled(q.info.Settings) {
		return nil, lock.State{}, fail("InvalidRequest", "Object lock is not enabled for this bucket.")
	}
	there, err := q.subject(verb, aspect)
	if err != nil {
		return nil, lock.State{}, err
	}
	s, err := lock.Of(there.Meta)
	return there, s, err
}

func noLock() error {
	return fail("NoSuchObjectLockConfiguration", "The version has no such object lock.")
}

func (q *request) objectRetention() error {
	_, s, err := q.lockSubject("s3:GetObject", "Retention")
	if err != nil {
		return err
	}
	if s.Mode == "" {
		return noLock()
	}
	return q.reply(newXML().root("Retention").text("Mode", string(s.Mode)).time("RetainUntilDate", s.Until).close("Retention"))
}

func (q *request) putObjectRetention() error {
	var f struct {
		XMLName         xml.Name `xml:"Retention"`
		Mode            lock.Mode
		RetainUntilDate string
	}
	if err := q.decode(&f); err != nil {
		return err
	}
	there, _, err := q.lockSubject("s3:PutObject", "Retention")
	if err != nil {
		return err
	}
	var to lock.State // none, which takes the retention away
	if string(f.Mode)+f.RetainUntilDate != "" {
		if !f.Mode.Valid() || f.RetainUntilDate == "" {
			return fail("MalformedXML", "A Retention needs Mode, which is GOVERNANCE or COMPLIANCE, and RetainUntilDate.")
		}
		if to, err = q.retention(f.Mode, f.RetainUntilDate); err != nil {
			return err
		}
	}
	bypass := q.bypass(there)
	return q.edit(there, func(m *storage.Meta) error {
		s, err := lock.Of(*m)
		if err != nil {
			return err
		}
		if s, err = s.Retain(to, q.s.now(), bypass); err != nil {
			return err
		}
		s.Put(m)
		return nil
	})
}

// bypass says that a request asks to be let past governance, and may be.
func (q *request) bypass(there *storage.Info) bool {
	return strings.EqualFold(q.header("X-Amz-Bypass-Governance-Retention"), "true") &&
		q.authoriseOn("s3:BypassGovernanceRetention", there.Key, there) == nil
}

func (q *request) legalHold() error {
	_, s, err := q.lockSubject("s3:GetObject", "LegalHold")
	if err != nil {
		return err
	}
	if s.Hold == "" {
		return noLock()
	}
	return q.reply(newXML().root("LegalHold").text("Status", string(s.Hold)).close("LegalHold"))
}

func (q *request) putLegalHold() error {
	var f struct {
		XMLName xml.Name `xml:"LegalHold"`
		Status  lock.Hold
	}
	if err := q.decode(&f); err != nil {
		return err
	}
	if f.Status != lock.On && f.Status != lock.Off {
		return fail("MalformedXML", "Status must be ON or OFF.")
	}
	there, _, err := q.lockSubject("s3:PutObject", "LegalHold")
	if err != nil {
		return err
	}
	return q.edit(there, func(m *storage.Meta) error {
		s, err := lock.Of(*m)
		if err != nil {
			return err
		}
		s.Hold = f.Status
		s.Put(m)
		return nil
	})
}

// guardRemoval refuses to remove a version for good that must stay.
func (q *request) guardRemoval(v *storage.Info) error {
	s, err := lock.Of(v.Meta)
	if err != nil {
		return err
	}
	now := q.s.now()
	if s.Removable(now, false) == nil {
		return nil
	}
	return s.Removable(now, q.bypass(v))
}

// describeLock tells of a lock, to whom it may be told.
func (q *request) describeLock(h http.Header, v *storage.Info) {
	s, err := lock.Of(v.Meta)
	if err != nil {
		return // whoever deletes is told
	}
	may := func(a iam.Action) bool { return q.authoriseOn(a, v.Key, v) == nil }
	if s.Mode != "" && may("s3:GetObjectRetention") {
		h["X-Amz-Object-Lock-Mode"] = []string{string(s.Mode)}
		h["X-Amz-Object-Lock-Retain-Until-Date"] = []string{s.Until.UTC().Format(timeForm)}
	}
	if s.Hold != "" && may("s3:GetObjectLegalHold") {
		h["X-Amz-Object-Lock-Legal-Hold"] = []string{string(s.Hold)}
	}
}

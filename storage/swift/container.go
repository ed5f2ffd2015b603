package swift

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/naming"
)

const (
	containerMeta = "X-Container-Meta-"
	headerRead    = "X-Container-Read"
	headerWrite   = "X-Container-Write"
	headerPolicy  = "X-Storage-Policy"
	headerEnabled = "X-Versions-Enabled"
	headerStack   = "X-Versions-Location"
	headerHistory = "X-History-Location"
	headerRFC     = "X-Container-Rfc-Compliant-Etags"
)

// Labels of a bucket's settings that are Swift's own. Headers are kept by their names.
const (
	labelHeader   = "swift.header."
	labelModified = "swift.modified" // Unix seconds and a fraction, of the last PUT or POST
)

// headersOf are the headers that were kept of a container.
func headersOf(b *box) map[string]string {
	out := map[string]string{}
	for k, v := range b.info.Settings.Labels {
		if n, ok := strings.CutPrefix(k, labelHeader); ok {
			out[n] = v
		}
	}
	return out
}

// created is a container's time, modified that of its last PUT or POST.
func (b *box) modified() time.Time {
	s, frac, _ := strings.Cut(b.label(labelModified), ".")
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return b.info.Created
	}
	f, _ := strconv.ParseInt(frac, 10, 64) // "" is 0
	return time.Unix(n, f*10_000)
}

// containerHeaders are what GET and HEAD answer.
func (c *call) containerHeaders(b *box) {
	h := c.w.Header()
	owner := c.owns(b.acct)
	show := func(n, v string) {
		if v != "" && (owner || !slices.Contains(secretHeaders, n)) {
			h.Set(n, v)
		}
	}
	for n, v := range headersOf(b) {
		show(n, v)
	}
	show(headerRead, b.label(iam.LabelSwiftRead))
	show(headerWrite, b.label(iam.LabelSwiftWrite))
	switch b.info.Settings.Versioning {
	case storage.Versioned:
		h.Set(headerEnabled, "True")
	case storage.Suspended:
		h.Set(headerEnabled, "False")
	}
	h.Set("Accept-Ranges", "bytes")
	h.Set("X-Container-Object-Count", strconv.FormatInt(b.info.Usage.Objects.Number, 10))
	h.Set("X-Container-Bytes-Used", strconv.FormatInt(held(&b.info), 10))
	h.Set(headerPolicy, c.h.cfg.policyOf(&b.info.Settings).Name)
	h.Set("X-Timestamp", timestamp(b.info.Created))
	h.Set("Last-Modified", httpTime(b.modified()))
}

func (c *call) containerPut() error {
	if len(c.container) > naming.ContainerNameBytesMax {
		return refusef(400, "Container name length of %d longer than %d", len(c.container), naming.ContainerNameBytesMax)
	}
	if c.level(c.acct) < readWrite {
		return c.denied()
	}
	pol, err := c.wantedPolicy()
	if err != nil {
		return err
	}
	change, err := c.containerChange()
	if err != nil {
		return err
	}
	if err := c.exist(c.acct); err != nil {
		return err
	}
	err = c.makeContainer(c.container, pol, change)
	if err == nil {
		c.answer(201, "")
		return nil
	}
	if !errors.Is(err, storage.ErrBucketExists) {
		return err
	}
	b, err := c.box(c.shown, c.container)
	if err != nil {
		return err
	}
	if have := c.h.cfg.policyOf(&b.info.Settings); pol != nil && pol.Name != have.Name {
		return refuse(409)
	}
	if err := c.permit(b, iam.EditBucket, ""); err != nil {
		return err
	}
	if err := b.Configure(c.ctx, change); err != nil {
		return err
	}
	return c.done(202)
}

// makeContainer makes one with a policy's settings.
func (c *call) makeContainer(name string, pol *Policy, change func(*storage.Settings) error) error {
	set := storage.Settings{Labels: map[string]string{}}
	if pol == nil {
		pol = &c.h.cfg.Policies[0]
	}
	set.Durability, set.Copies = pol.Durability, pol.Copies
	if pol != &c.h.cfg.Policies[0] {
		set.Labels[LabelPolicy] = pol.Name
	}
	if err := change(&set); err != nil {
		return err
	}
	_, err := c.h.cfg.Space.CreateContainer(c.ctx, c.acct.name, name, set)
	return err
}

// wantedPolicy reads X-Storage-Policy; nil is none.
func (c *call) wantedPolicy() (*Policy, error) {
	name := c.header(headerPolicy)
	if name == "" {
		return nil, nil
	}
	p := c.h.cfg.policy(name)
	switch {
	case p == nil:
		return nil, plainf(400, "Invalid %s '%s'", headerPolicy, name)
	case p.Deprecated:
		return nil, plainf(400, "Storage Policy '%s' is deprecated", p.Name)
	}
	return p, nil
}

// containerPost changes what is kept of a container. Another storage policy changes
// nothing, as with Swift, whose clients send it along; the answer says which one stays.
func (c *call) containerPost() error {
	b, err := c.box(c.shown, c.container)
	if err != nil {
		return err
	}
	if c.level(b.acct) < readWrite {
		return c.denied()
	}
	if err := c.permit(b, iam.EditBucket, ""); err != nil {
		return err
	}
	pol, err := c.wantedPolicy()
	if err != nil {
		return err
	}
	if pol != nil {
		c.w.Header().Set(headerPolicy, c.h.cfg.policyOf(&b.info.Settings).Name)
	}
	change, err := c.containerChange()
	if err != nil {
		return err
	}
	if err := b.Configure(c.ctx, change); err != nil {
		return err
	}
	c.answer(204, "")
	return nil
}

// containerChange reads what headers say of a container.
func (c *call) containerChange() (func(*storage.Settings) error, error) {
	ch, err := metaChanges(c.r.Header, "Container")
	if err != nil {
		return nil, err
	}
	if err := c.quotaHeaders(ch); err != nil {
		return nil, err
	}
	labels := changes{}
	isOwner := c.owns(c.acct)
	for n, label := range map[string]string{headerRead: iam.LabelSwiftRead, headerWrite: iam.LabelSwiftWrite} {
		if v := c.r.Header.Values(n); len(v) > 0 && isOwner {
			clean, err := iam.CleanSwiftACL(n, v[0])
			if err != nil {
				return nil, refusef(400, "%s", strings.TrimPrefix(err.Error(), storage.ErrInvalid.Error()+": "))
			}
			labels[label] = clean
		} else if c.header(strings.Replace(n, "X-", "X-Remove-", 1)) != "" && isOwner {
			labels[label] = ""
		}
	}
	if !isOwner {
		maps.DeleteFunc(ch, func(n, _ string) bool { return slices.Contains(secretHeaders, n) })
	}
	if err := switchHeader(c.r.Header, headerRFC, ch); err != nil {
		return nil, err
	}
	versioning, err := c.versionChange(ch)
	if err != nil {
		return nil, err
	}
	now := timestamp(c.h.cfg.Now())
	return func(s *storage.Settings) error {
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		kept := map[string]string{}
		for k, v := range s.Labels {
			if n, ok := strings.CutPrefix(k, labelHeader); ok {
				kept[n] = v
				delete(s.Labels, k)
			}
		}
		if err := ch.apply(kept, containerMeta); err != nil {
			return err
		}
		for n, v := range kept {
			s.Labels[labelHeader+n] = v
		}
		s.Labels[labelModified] = now
		for k, v := range labels {
			s.Labels[k] = v
			if v == "" {
				delete(s.Labels, k)
			}
		}
		return versioning(s)
	}, nil
}

func (c *call) containerDelete() error {
	b, err := c.box(c.shown, c.container)
	if err != nil {
		return err
	}
	if c.level(b.acct) < readWrite {
		return c.denied()
	}
	if err := c.permit(b, iam.EditBucket, ""); err != nil {
		return err
	}
	if err := c.spared(b, "s3:DeleteBucket", ""); err != nil {
		return err
	}
	if err := c.h.cfg.Space.Delete(c.ctx, b.Bucket); err != nil {
		if errors.Is(err, storage.ErrNotEmpty) && b.info.Usage.Objects.Number == 0 && b.info.Usage.Older.Number > 0 {
			return refusef(409, "Delete all versions before deleting container.")
		}
		return err
	}
	c.answer(204, "")
	return nil
}

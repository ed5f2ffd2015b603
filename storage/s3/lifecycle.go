package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/lifecycle"
)

// lifeCache keeps parsed lifecycle rules of buckets as long as their text is the same. Texts
// that are one in memory are compared at once, however long they are.
type lifeCache struct {
	mu  sync.RWMutex
	all map[string]cachedLife
}

type cachedLife struct {
	text  string
	rules *lifecycle.Config
}

const livesMax = 1000

func (c *lifeCache) of(info *storage.BucketInfo) (*lifecycle.Config, error) {
	text := info.Settings.Labels[lifecycle.Label]
	if text == "" {
		return nil, nil
	}
	c.mu.RLock()
	l := c.all[info.Name]
	c.mu.RUnlock()
	if l.text == text {
		return l.rules, nil
	}
	rules, err := lifecycle.Parse(info.Settings)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= livesMax {
		c.all = map[string]cachedLife{}
	}
	c.all[info.Name] = cachedLife{text, rules}
	return rules, nil
}

// Reclass changes the storage class that is told of a version, for lifecycle.Options.Move
// of a store that keeps all classes alike.
func Reclass(ctx context.Context, b storage.Bucket, v storage.Info, class string) (bool, error) {
	if classOf(&v.Meta) == class {
		return false, nil
	}
	_, err := b.Edit(ctx, v.Key, storage.EditOptions{Version: v.Version, If: storage.Conditions{Match: []string{v.ETag}}, Change: func(m *storage.Meta) error {
		if m.System == nil {
			m.System = map[string]string{}
		}
		m.System[systemClass] = class
		return nil
	}})
	return err == nil, err
}

func (q *request) lifecycle() error {
	c, err := lifecycle.Parse(q.info.Settings)
	if err != nil {
		return err
	}
	if c == nil {
		return fail("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist.")
	}
	c.Space = xmlns
	return q.replyWith(c)
}

func (q *request) putLifecycle() error {
	c := &lifecycle.Config{}
	if err := q.decode(c); err != nil {
		return err
	}
	movable := func(class string) bool { return classes[class] && class != "STANDARD" }
	err := c.Check(movable, func() string { return strings.ToLower(rand.Text()) })
	switch {
	case errors.Is(err, lifecycle.ErrForm):
		return fail("MalformedXML", "%s", sentence(err.Error()))
	case errors.Is(err, lifecycle.ErrArgument):
		return fail("InvalidArgument", "%s", sentence(err.Error()))
	case errors.Is(err, lifecycle.ErrConflict):
		return fail("InvalidRequest", "%s", sentence(err.Error()))
	case err != nil:
		return err
	}
	if err := q.setLabel(lifecycle.Label, c.Encode()); err != nil {
		return err
	}
	return q.status(http.StatusOK)
}

func (q *request) deleteLifecycle() error {
	if err := q.setLabel(lifecycle.Label, ""); err != nil {
		return err
	}
	return q.status(http.StatusNoContent)
}

// describeExpiry tells when a rule ends the object.
func (q *request) describeExpiry(h http.Header, v *storage.Info) {
	c, err := q.s.lives.of(&q.info)
	if err != nil {
		q.s.log.Error("lifecycle rules cannot be read", "bucket", q.name, "error", err)
	}
	if c == nil || q.query.Has("versionId") {
		return
	}
	if at, id, ok := c.Expiry(v); ok {
		h["X-Amz-Expiration"] = []string{fmt.Sprintf(`expiry-date="%s", rule-id="%s"`, at.UTC().Format(http.TimeFormat), id)}
	}
}

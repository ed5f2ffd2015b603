package s3

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/lifecycle"
)

// lifeCache keeps parsed lifecycle rules by the text that they were parsed from.
type lifeCache struct {
	mu  sync.RWMutex
	all map[string]*lifecycle.Config
}

const livesMax = 1000

func (c *lifeCache) of(set storage.Settings) (*lifecycle.Config, error) {
	text := set.Labels[lifecycle.Label]
	if text == "" {
		return nil, nil
	}
	c.mu.RLock()
	l := c.all[text]
	c.mu.RUnlock()
	if l != nil {
		return l, nil
	}
	l, err := lifecycle.Parse(set)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= livesMax {
		c.all = map[string]*lifecycle.Config{}
	}
	c.all[text] = l
	return l, nil
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
	c, err := q.s.lives.of(q.info.Settings)
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

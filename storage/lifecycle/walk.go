package lifecycle

import (
	"context"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/lock"
)

// page is how many versions are read at a time.
const page = 1000

// walker goes through one bucket.
type walker struct {
	*Runner
	bucket storage.Bucket
	config *Config
	now    time.Time
}

// group is what is known of the versions of the key that is being read.
type group struct {
	key     string
	newer   time.Time // when the last version that was seen was made
	older   int       // how many older versions were seen
	pending *storage.Info
}

// versions reads on from the place, and says whether it came to the end. A page's last
// version is judged with the next page, because only that tells whether it is alone.
func (w *walker) versions(ctx context.Context, left *int) (bool, error) {
	p := &w.place
	for *left > 0 {
		l, err := w.bucket.Versions(ctx, storage.ListOptions{After: p.after, AfterID: p.id, Limit: min(page, *left)})
		if err != nil {
			return false, err
		}
		*left -= len(l.Objects)
		w.count(func(c *Counts) { c.Seen += int64(len(l.Objects)) })
		for i := range l.Objects {
			v := l.Objects[i]
			if err := w.judge(ctx, p.group.pending, p.group.pending != nil && p.group.pending.Key != v.Key); err != nil {
				return false, err
			}
			p.group.pending = &v
		}
		if !l.More {
			err := w.judge(ctx, p.group.pending, true)
			p.group = group{}
			return true, err
		}
		p.after, p.id = l.Next, l.NextID
	}
	return false, nil
}

// judge does what is due for a version. last says that the key has no older one.
func (w *walker) judge(ctx context.Context, v *storage.Info, last bool) error {
	if v == nil {
		return nil
	}
	g := &w.place.group
	if v.Key != g.key || v.Latest {
		g.key, g.older = v.Key, 0
		g.newer = time.Time{}
	}
	is := Version{Info: v, Alone: last}
	if !v.Latest {
		is.Since, is.Newer = g.newer, g.older
		if is.Since.IsZero() {
			is.Since = w.now // its newer version is not known: it begins to count now
		}
		g.older++
	}
	g.newer = v.Modified
	action, class := w.config.Due(is, w.now, w.o.Day)
	return w.act(ctx, v, action, class)
}

func (w *walker) act(ctx context.Context, v *storage.Info, a Action, class string) error {
	guard := lock.Guard(w.now, false)
	switch a {
	case Expire:
		same := storage.Conditions{Match: []string{v.ETag}, UnmodifiedSince: v.Modified}
		_, err := w.bucket.Delete(ctx, v.Key, storage.DeleteOptions{If: same, Guard: guard})
		return w.outcome(ctx, v, err, func(c *Counts) { c.Expired++ })
	case Remove:
		_, err := w.bucket.Delete(ctx, v.Key, storage.DeleteOptions{Version: v.Version, Guard: guard})
		return w.outcome(ctx, v, err, func(c *Counts) { c.Removed++ })
	case Move:
		if w.o.Move == nil {
			return nil
		}
		moved, err := w.o.Move(ctx, w.bucket, *v, class)
		if err == nil && !moved {
			return nil
		}
		return w.outcome(ctx, v, err, func(c *Counts) { c.Moved++ })
	}
	return nil
}

// uploads reads on from the place, and says whether it came to the end.
func (w *walker) uploads(ctx context.Context, left *int) (bool, error) {
	p := &w.place
	for *left > 0 {
		l, err := w.bucket.Uploads(ctx, storage.ListOptions{After: p.after, AfterID: p.id, Limit: min(page, *left)})
		if err != nil {
			return false, err
		}
		*left -= len(l.Uploads)
		w.count(func(c *Counts) { c.Seen += int64(len(l.Uploads)) })
		for _, u := range l.Uploads {
			if !w.config.Overdue(u, w.now, w.o.Day) {
				continue
			}
			err := w.bucket.Abort(ctx, u.Key, u.ID)
			if err := w.outcome(ctx, &storage.Info{Key: u.Key}, err, func(c *Counts) { c.Aborted++ }); err != nil {
				return false, err
			}
		}
		if !l.More {
			return true, nil
		}
		p.after, p.id = l.Next, l.NextID
	}
	return false, nil
}

package s3

import (
	"maps"
	"sync"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
)

// rulesMax bounds the cache.
const rulesMax = 10_000

// ruleCache keeps parsed rules as long as what they were parsed from is the same.
type ruleCache struct {
	mu  sync.RWMutex
	all map[string]*cachedRules
}

type cachedRules struct {
	labels map[string]string
	rules  *iam.Rules
}

func (c *ruleCache) of(info *storage.BucketInfo) (*iam.Rules, error) {
	c.mu.RLock()
	e := c.all[info.Name]
	c.mu.RUnlock()
	if e != nil && maps.Equal(e.labels, info.Settings.Labels) {
		return e.rules, nil
	}
	rules, err := iam.ParseRules(info.Settings)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= rulesMax {
		c.all = map[string]*cachedRules{}
	}
	c.all[info.Name] = &cachedRules{info.Settings.Labels, rules}
	return rules, nil
}

// authorise returns AccessDenied unless the bucket's rules allow an action on what the
// request is about.
func (q *request) authorise(a iam.Action) error {
	return q.authoriseOn(a, q.key, nil)
}

// authoriseOn is authorise for a key of the bucket, with the object that is there, or
// nil.
func (q *request) authoriseOn(a iam.Action, key string, there *storage.Info) error {
	return q.authoriseIn(q.rules, q.name, a, key, there)
}

// authoriseIn is authoriseOn in any bucket.
func (q *request) authoriseIn(rules *iam.Rules, name string, a iam.Action, key string, there *storage.Info) error {
	ask := iam.Request{Who: q.who, Action: a, Bucket: name, Key: key}
	if there != nil {
		acl, err := iam.ParseACL(there.Meta.System[iam.ObjectACL])
		if err != nil {
			return err
		}
		ask.Object = acl
	}
	if rules.Policy != nil || len(rules.Access) > 0 {
		ask.Context = q.context(there)
	}
	if rules.Allows(&ask) {
		if w := q.watched(); w != nil {
			w.noteACL(rules, ask)
		}
		return nil
	}
	return q.denied(a)
}

func (q *request) denied(a iam.Action) error {
	if q.who.Anonymous() {
		return fail("AccessDenied", "Access denied: the request is anonymous, and %s is not public here.", a)
	}
	return fail("AccessDenied", "Access denied: %s is not allowed here to who signed this request.", a)
}

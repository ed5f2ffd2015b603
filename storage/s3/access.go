package s3

import (
	"maps"
	"net"
	"sync"
	"time"

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

// context is what a policy's conditions may ask for.
func (q *request) context(there *storage.Info) map[string][]string {
	c := map[string][]string{
		"aws:currenttime":     {q.s.now().UTC().Format(time.RFC3339)},
		"aws:securetransport": {"false"},
	}
	if q.r.TLS != nil {
		c["aws:securetransport"] = []string{"true"}
	}
	if host, _, err := net.SplitHostPort(q.r.RemoteAddr); err == nil {
		c["aws:sourceip"] = []string{host}
	}
	for key, header := range map[string]string{
		"aws:useragent": "User-Agent", "aws:referer": "Referer",
		"s3:x-amz-acl": "X-Amz-Acl", "s3:x-amz-copy-source": "X-Amz-Copy-Source", "s3:x-amz-metadata-directive": "X-Amz-Metadata-Directive",
		"s3:x-amz-storage-class": "X-Amz-Storage-Class", "s3:x-amz-server-side-encryption": "X-Amz-Server-Side-Encryption",
		"s3:x-amz-grant-full-control": "X-Amz-Grant-Full-Control", "s3:x-amz-grant-read": "X-Amz-Grant-Read", "s3:x-amz-grant-write": "X-Amz-Grant-Write",
		"s3:x-amz-grant-read-acp": "X-Amz-Grant-Read-Acp", "s3:x-amz-grant-write-acp": "X-Amz-Grant-Write-Acp",
		"s3:x-amz-server-side-encryption-aws-kms-key-id": sseKMS, "s3:x-amz-server-side-encryption-customer-algorithm": sseCustomer + "Algorithm",
		"s3:object-lock-mode": "X-Amz-Object-Lock-Mode", "s3:object-lock-retain-until-date": "X-Amz-Object-Lock-Retain-Until-Date",
		"s3:object-lock-legal-hold": "X-Amz-Object-Lock-Legal-Hold", "s3:x-amz-website-redirect-location": "X-Amz-Website-Redirect-Location",
	} {
		if v := q.header(header); v != "" {
			c[key] = []string{v}
		}
	}
	for key, param := range map[string]string{"s3:prefix": "prefix", "s3:delimiter": "delimiter", "s3:max-keys": "max-keys", "s3:versionid": "versionId"} {
		if v, ok := q.query.Find(param); ok {
			c[key] = []string{v}
		}
	}
	if there != nil {
		for k, v := range there.Meta.Tags {
			c["s3:existingobjecttag/"+k] = []string{v}
		}
	}
	asked := q.requested
	if v := q.header("X-Amz-Tagging"); v != "" && asked == nil {
		asked, _ = headerTags(v) // what is malformed is refused when it is used
	}
	for k, v := range asked {
		c["s3:requestobjecttag/"+k] = []string{v}
		c["s3:requestobjecttagkeys"] = append(c["s3:requestobjecttagkeys"], k)
	}
	return c
}

package s3

import (
	"fmt"

	"polder.dev/polder/storage/iam"
)

// room refuses n more bytes where they would be above the bucket's quota. Bodies that
// come at once are each judged by what is there before them, so that a bucket may end a
// few objects above. Parts are counted until they are an object, and as it afterwards.
func (q *request) room(n int64) error {
	u := &q.info.Usage
	return q.below(max(u.Objects.Bytes+u.Older.Bytes, u.Parts.Bytes), n)
}

// roomForWhole is room for an object whose parts are there.
func (q *request) roomForWhole(p *parts) error {
	var n int64
	for _, size := range p.sizes {
		n += size
	}
	return q.below(q.info.Usage.Objects.Bytes+q.info.Usage.Older.Bytes, n)
}

func (q *request) below(used, n int64) error {
	for _, name := range []string{iam.LabelQuota, iam.LabelSwiftQuota} {
		label := q.label(name)
		if label == "" {
			continue
		}
		quota, ok := digits(label)
		if !ok {
			return fmt.Errorf("bucket %s: the quota %q is no number", q.name, label)
		}
		if err := q.over(used, n, quota); err != nil {
			return err
		}
	}
	return nil
}

func (q *request) over(used, n, quota int64) error {
	if used+max(n, 1) > quota {
		return fail("QuotaExceeded", "The bucket may hold %d bytes and holds %d; delete some, or have the quota raised.", quota, used)
	}
	return nil
}

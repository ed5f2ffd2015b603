package s3

import (
	"strconv"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/show"
)

// What S3 has no word for is asked for by these headers of CreateBucket.
const (
	headerDurability = "X-Polder-Durability" // synced or written
	headerCopies     = "X-Polder-Copies"     // on different disks
	headerETag       = "X-Polder-Etag"       // md5 or any
)

// promises reads what a bucket is asked to promise.
func (q *request) promises(set *storage.Settings) error {
	switch v := q.r.Header.Get(headerDurability); v {
	case "", "synced":
	case "written":
		set.Durability = storage.Written
	default:
		return fail("InvalidArgument", "%s: %q is not known; write synced or written.", headerDurability, v)
	}
	switch v := q.r.Header.Get(headerETag); v {
	case "", "md5":
	case "any":
		set.PlainETag = true
	default:
		return fail("InvalidArgument", "%s: %q is not known; write md5 or any.", headerETag, v)
	}
	if v := q.r.Header.Get(headerCopies); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return fail("InvalidArgument", "%s: %q is no number above 0.", headerCopies, v)
		}
		set.Copies = n
	}
	return nil
}

// headerShown tells the owner of a bucket with data of another store where that lies.
const headerShown = "X-Polder-Shown"

// tellPromises says in the head of HeadBucket what a bucket promises and holds. What
// another store holds it promises, and nobody here has counted.
func (q *request) tellPromises() {
	if from := q.label(show.Label); from != "" {
		if q.who.Account == q.rules.Owner || q.who.Operator {
			q.set(headerShown, from)
		}
		return
	}
	set, use := q.info.Settings, q.info.Usage.Objects
	q.set(headerDurability, map[storage.Durability]string{storage.Synced: "synced", storage.Written: "written"}[set.Durability])
	q.set(headerETag, map[bool]string{false: "md5", true: "any"}[set.PlainETag])
	q.set(headerCopies, strconv.Itoa(max(set.Copies, 1)))
	q.set("X-Polder-Objects", strconv.FormatInt(use.Number, 10))
	q.set("X-Polder-Bytes", strconv.FormatInt(use.Bytes, 10))
}

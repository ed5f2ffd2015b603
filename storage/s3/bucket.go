package s3

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/show"
)

// listBuckets implements ListBuckets: those of the account of who asks, for its admins and
// for those who have a role in it. Nobody has none.
func (q *request) listBuckets() error {
	if !q.who.Anonymous() && !q.who.Admin && !q.who.Operator && q.who.Role == "" {
		return q.denied("s3:ListAllMyBuckets")
	}
	limit := 10_000
	if v, ok := q.query.Find("max-buckets"); ok {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > limit {
			return fail("InvalidArgument", "max-buckets must be 1 to %d, not %q.", limit, v)
		}
		limit = n
	}
	prefix, after := q.query.Get("prefix"), q.query.Get("continuation-token")
	x := newXML().root("ListAllMyBucketsResult")
	x.owner("Owner", q.who.Account, q.who.DisplayName).open("Buckets")
	count, last, more := 0, "", false
	for _, full := range q.s.space.Owned(q.who.Account) {
		name := naming.Name(full)
		if !strings.HasPrefix(name, prefix) || name <= after {
			continue
		}
		if count == limit {
			more = true
			break
		}
		b, err := q.s.space.Store().Bucket(q.ctx, full)
		if errors.Is(err, storage.ErrNoBucket) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		info, err := b.Info(q.ctx)
		if errors.Is(err, storage.ErrNoBucket) {
			continue
		}
		if err != nil {
			return err
		}
		x.open("Bucket").text("Name", name).time("CreationDate", info.Created).some("Shown", info.Settings.Labels[show.Label]).close("Bucket")
		count, last = count+1, name
	}
	x.close("Buckets").some("Prefix", prefix)
	if more {
		x.text("ContinuationToken", last)
	}
	return q.reply(x.close("ListAllMyBucketsResult"))
}

// createBucket implements CreateBucket.
func (q *request) createBucket() error {
	if !q.who.Admin && !q.who.Operator || q.who.Anonymous() {
		return q.denied("s3:CreateBucket")
	}
	if err := naming.CheckS3(q.name); err != nil {
		return fail("InvalidBucketName", "%s", message("The specified bucket is not valid", err))
	}
	set := storage.Settings{Labels: map[string]string{}}
	if err := q.constraint(&set); err != nil {
		return err
	}
	acl, err := q.newACL(q.who.Account, "")
	if err != nil {
		return err
	}
	if acl != nil {
		set.Labels[iam.LabelACL] = acl.Encode()
	}
	if err := q.newBucket(&set); err != nil {
		return err
	}
	if err := q.promises(&set); err != nil {
		return err
	}
	create := q.s.space.CreateBucket
	if q.s.own {
		create = q.s.space.CreateContainer
	}
	_, err = create(q.ctx, q.who.Account, q.name, set)
	if errors.Is(err, storage.ErrBucketExists) && !errors.Is(err, naming.ErrTaken) {
		err = q.sameBucket(acl)
	}
	if err != nil {
		return err
	}
	q.set("Location", "/"+q.name)
	q.set("X-Amz-Bucket-Arn", "arn:aws:s3:::"+q.name)
	return q.status(http.StatusOK)
}

// sameBucket judges who makes their own bucket again: in S3's first region that changes
// nothing and is no error, unless the access is another than it has, which could only be a
// mistake. In all other regions it is one.
func (q *request) sameBucket(acl *iam.ACL) error {
	if q.s.region != firstRegion {
		return storage.ErrBucketExists
	}
	_, _, rules, err := q.s.lookup(q.ctx, q.who.Account, q.name)
	if err != nil {
		return err
	}
	if alone(acl) && alone(rules.ACL) || acl.Encode() == rules.ACL.Encode() {
		return nil
	}
	return fail("BucketAlreadyExists", "You have this bucket already, with another ACL: use PutBucketAcl to change it.")
}

// alone says that an ACL gives nothing to anybody but its owner.
func alone(a *iam.ACL) bool {
	return a == nil || len(a.Grants) == 1 && a.Grants[0].Account == a.Owner && a.Grants[0].Permission == iam.FullControl
}

// constraint reads the body of CreateBucket, which may be empty: where the bucket shall
// be, and its first tags.
func (q *request) constraint(set *storage.Settings) error {
	if q.r.ContentLength == 0 {
		return nil
	}
	var c struct {
		LocationConstraint string
		Location           struct{ Name, Type string }
		Tags               struct{ Tag []tag }
	}
	if err := q.decode(&c); err != nil {
		return err
	}
	if len(c.Tags.Tag) > 0 {
		tags, err := tagMap(c.Tags.Tag, bucketTagsMax)
		if err != nil {
			return err
		}
		if set.Labels[labelTags], err = encodeTags(tags); err != nil {
			return err
		}
	}
	switch c.LocationConstraint {
	case "", q.s.region, firstRegion:
		return nil
	}
	return fail("InvalidLocationConstraint", "The location constraint %q is not this server's region, which is %s.", c.LocationConstraint, q.s.region)
}

// headBucket implements HeadBucket.
func (q *request) headBucket() error {
	q.set("X-Amz-Bucket-Region", q.s.region)
	q.tellPromises()
	return q.status(http.StatusOK)
}

// deleteBucket implements DeleteBucket.
func (q *request) deleteBucket() error {
	if err := q.s.space.Delete(q.ctx, q.bucket); err != nil {
		return err
	}
	return q.status(http.StatusNoContent)
}

// location implements GetBucketLocation. S3's first region is told as nothing.
func (q *request) location() error {
	x := newXML().root("LocationConstraint")
	if q.s.region != firstRegion {
		escape(&x.b, q.s.region)
	}
	return q.reply(x.close("LocationConstraint"))
}

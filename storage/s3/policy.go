package s3

import (
	"net/http"
	"strconv"

	"polder.dev/polder/storage/iam"
)

func (q *request) policy() error {
	text := q.label(iam.LabelPolicy)
	if text == "" {
		return fail("NoSuchBucketPolicy", "The bucket has no policy.")
	}
	q.set("Content-Type", "application/json")
	q.set("Content-Length", strconv.Itoa(len(text)))
	q.begun = true
	q.w.WriteHeader(http.StatusOK)
	_, _ = q.w.Write([]byte(text)) // a client that went away
	return nil
}

func (q *request) putPolicy() error {
	b, err := q.readAll(xmlBytesMax)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return fail("MalformedPolicy", "The body is empty; it must be a policy in JSON.")
	}
	p, err := iam.ParsePolicy(string(b))
	if err == nil {
		err = p.Within(q.name)
	}
	if err != nil {
		return fail("MalformedPolicy", "%s", sentence(err.Error()))
	}
	if q.rules.Public.BlockPolicy && p.Public() {
		return fail("AccessDenied", "Access denied: the bucket's public access block refuses public policies.")
	}
	if err := q.setLabel(iam.LabelPolicy, string(b)); err != nil {
		return err
	}
	return q.status(http.StatusNoContent)
}

func (q *request) deletePolicy() error {
	if err := q.setLabel(iam.LabelPolicy, ""); err != nil {
		return err
	}
	return q.status(http.StatusNoContent)
}

// policyStatus says whether policy or ACL let everybody in.
func (q *request) policyStatus() error {
	public := q.rules.Policy.Public() && !q.rules.Public.RestrictBuckets ||
		q.rules.ACL.Public() && !q.rules.Public.IgnoreACLs && q.rules.Ownership != iam.BucketOwnerEnforced
	return q.reply(newXML().root("PolicyStatus").flag("IsPublic", public).close("PolicyStatus"))
}

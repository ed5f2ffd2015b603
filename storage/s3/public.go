package s3

import (
	"encoding/xml"
	"net/http"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
)

// publicBlock implements GetPublicAccessBlock.
func (q *request) publicBlock() error {
	if q.label(iam.LabelPublic) == "" {
		return fail("NoSuchPublicAccessBlockConfiguration", "The bucket has no public access block.")
	}
	p := q.rules.Public
	return q.reply(newXML().root("PublicAccessBlockConfiguration").
		flag("BlockPublicAcls", p.BlockACLs).flag("IgnorePublicAcls", p.IgnoreACLs).
		flag("BlockPublicPolicy", p.BlockPolicy).flag("RestrictPublicBuckets", p.RestrictBuckets).
		close("PublicAccessBlockConfiguration"))
}

func (q *request) putPublicBlock() error {
	var f struct {
		XMLName               xml.Name `xml:"PublicAccessBlockConfiguration"`
		BlockPublicAcls       bool
		IgnorePublicAcls      bool
		BlockPublicPolicy     bool
		RestrictPublicBuckets bool
	}
	if err := q.decode(&f); err != nil {
		return err
	}
	p := iam.PublicBlock{BlockACLs: f.BlockPublicAcls, IgnoreACLs: f.IgnorePublicAcls, BlockPolicy: f.BlockPublicPolicy, RestrictBuckets: f.RestrictPublicBuckets}
	if err := q.setLabel(iam.LabelPublic, p.Encode()); err != nil {
		return err
	}
	return q.status(http.StatusOK)
}

func (q *request) deletePublicBlock() error {
	if err := q.setLabel(iam.LabelPublic, ""); err != nil {
		return err
	}
	return q.status(http.StatusNoContent)
}

// ownership implements GetBucketOwnershipControls.
func (q *request) ownership() error {
	if q.rules.Ownership == "" {
		return fail("OwnershipControlsNotFoundError", "The bucket has no ownership controls.")
	}
	return q.reply(newXML().root("OwnershipControls").open("Rule").
		text("ObjectOwnership", string(q.rules.Ownership)).close("Rule").close("OwnershipControls"))
}

func (q *request) putOwnership() error {
	var f struct {
		XMLName xml.Name `xml:"OwnershipControls"`
		Rule    []struct{ ObjectOwnership iam.Ownership }
	}
	if err := q.decode(&f); err != nil {
		return err
	}
	if len(f.Rule) != 1 || !f.Rule[0].ObjectOwnership.Valid() {
		return fail("MalformedXML", "OwnershipControls needs one Rule with BucketOwnerEnforced, BucketOwnerPreferred or ObjectWriter.")
	}
	o := f.Rule[0].ObjectOwnership
	if err := enforceable(o, q.rules.ACL, q.rules.Owner); err != nil {
		return err
	}
	if err := q.setLabel(iam.LabelOwnership, string(o)); err != nil {
		return err
	}
	return q.status(http.StatusOK)
}

func (q *request) deleteOwnership() error {
	if err := q.setLabel(iam.LabelOwnership, ""); err != nil {
		return err
	}
	return q.status(http.StatusNoContent)
}

// enforceable refuses an ownership without ACLs for a bucket whose ACL says something.
func enforceable(o iam.Ownership, a *iam.ACL, owner string) error {
	if o == iam.BucketOwnerEnforced && a != nil && !ownersAlone(a, owner) {
		return fail("InvalidBucketAclWithObjectOwnership", "The bucket's ACL gives others something, which BucketOwnerEnforced would take away; make it private first.")
	}
	return nil
}

// newOwnership reads the header of CreateBucket.
func (q *request) newOwnership(set *storage.Settings) error {
	o := iam.Ownership(q.header("X-Amz-Object-Ownership"))
	if o == "" {
		return nil
	}
	if !o.Valid() {
		return fail("InvalidArgument", "x-amz-object-ownership must be BucketOwnerEnforced, BucketOwnerPreferred or ObjectWriter, not %q.", string(o))
	}
	a, err := iam.ParseACL(set.Labels[iam.LabelACL])
	if err != nil {
		return err
	}
	set.Labels[iam.LabelOwnership] = string(o)
	return enforceable(o, a, q.who.Account)
}

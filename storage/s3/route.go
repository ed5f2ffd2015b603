package s3

import "polder.dev/polder/storage/iam"

// operation is one line of the table.
type operation struct {
	level  level
	method string
	// param is the query parameter that tells the operation from others; with "+copy"
	// behind it if the request must have x-amz-copy-source as well.
	param string
	name  string // in the S3 API Reference
	// action must be allowed for the bucket before the operation begins. Where it is "",
	// the operation asks for itself, because an object's ACL or a version has its say.
	action iam.Action
	do     func(*request) error
	// makes says that the bucket need not be there.
	makes bool
}

// table has every operation that is served. What S3 knows besides is in unserved.
var table = []operation{
	{service, "GET", "", "ListBuckets", "", (*request).listBuckets, false},

	{bucket, "PUT", "", "CreateBucket", "", (*request).createBucket, true},
	{bucket, "HEAD", "", "HeadBucket", "s3:ListBucket", (*request).headBucket, false},
	{bucket, "DELETE", "", "DeleteBucket", "s3:DeleteBucket", (*request).deleteBucket, false},
	{bucket, "GET", "location", "GetBucketLocation", "s3:GetBucketLocation", (*request).location, false},
}

// unserved are parameters by which S3 tells operations apart that are not in the table.
// Without them, PUT ?replication would be the plain PUT.
var unserved = []string{
	"accelerate", "acl", "analytics", "cors", "encryption", "intelligent-tiering", "inventory", "legal-hold", "lifecycle",
	"logging", "metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock",
	"replication", "requestPayment", "restore", "retention", "select", "tagging", "torrent", "website",
}

package iam

// What an object's storage.Meta.System says of access to it.
const (
	ObjectOwner = "owner"  // the account that wrote it
	ObjectACL   = "s3.acl" // JSON of ACL
)

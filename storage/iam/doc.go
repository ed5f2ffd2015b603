// Package iam says who asks the object store for something, and whether they may. The
// front doors (S3, Swift) import it, and nobody below them: a backend never knows who
// asks.
//
// A Directory knows identities by access key, password or token. Rules are what a bucket
// says of access: its owner, an S3 policy and ACL, and Swift's ACLs. They hold whichever
// door a request comes through, so that neither is a way around the other.
//
// What nobody allows is denied. It refuses to know protocols: a door names the action
// and maps a refusal to its own code.
package iam

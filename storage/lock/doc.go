// Package lock says which versions must stay: S3's object lock, as pure functions over
// settings and metadata. Every door, and whatever else removes versions, imports it and
// passes Guard along with a delete, so that a lock holds whoever deletes.
//
// A bucket with a Config keeps all versions, for good: who would suspend versioning there
// must ask Enabled first. It refuses to know who may bypass a lock.
package lock

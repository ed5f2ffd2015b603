// Package lock says which versions must stay: S3's object lock, as pure functions over
// settings and metadata. The engine judges every removal by it, so that a lock holds
// whoever deletes and through whichever door; S3's door passes a Guard of its own, for
// those who may bypass governance.
//
// A bucket with a Config keeps all versions, for good: who would suspend versioning there
// must ask Enabled first. It refuses to know who may bypass a lock.
package lock

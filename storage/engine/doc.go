// Package engine makes a storage.Store of a Ledger: an ordered map of small entries,
// some with a blob, that commits a few changes at once. All that buckets, versions,
// conditions, listings and uploads mean is said here once, so that backends differ only
// in where entries and blobs lie.
//
// The backends of storage import it. It keeps nothing but the names of buckets in
// memory, spawns nothing that outlives a call, and never decides what is durable: a
// Ledger does.
package engine

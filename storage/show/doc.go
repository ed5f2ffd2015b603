// Package show makes buckets of ours of data that lies in other stores already, without a
// copy. Both front doors serve such a bucket like any other; storage/server makes a Store
// of it above the tiers.
//
// The settings of such a bucket are ours: who owns it, its policy and ACLs, and where its
// bytes may lie, in an empty bucket of the same name in the store below. The invariants:
//
//   - Nobody but the account that the configuration names has access, until it gives some.
//     When a bucket shows something else, or belongs to another account, all that was given
//     is taken back.
//   - What the other store says decides nothing here: of a bucket that may only be read,
//     no metadata of our front doors' own is believed.
//   - A bucket that is shown no longer is never taken for an empty one: it is unavailable,
//     until it is shown again or its owner deletes it.
//   - That the other store is away, refuses us or has lost its bucket is
//     storage.ErrUnavailable; what it said is logged, and no client's to know.
//
// It refuses to keep settings that only the other store could honour: versioning, copies,
// lifecycle rules, locks, quotas.
package show

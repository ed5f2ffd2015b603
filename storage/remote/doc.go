// Package remote keeps objects in somebody else's store: any S3, or OpenStack Swift. A
// Store is a tier below storage/tier, and shows data that is in such a store already as
// a bucket of ours.
//
// Whoever runs a store makes one with NewS3 or NewSwift. The invariants:
//
//   - The remote alone is the truth. Nothing is kept here but which buckets were opened.
//   - An object becomes visible by one request of the remote, whole or not at all.
//   - A reader gives bytes of one version, or an error: each request asks for the ETag
//     that Open saw. Bytes read whole are checked against an ETag that is their MD5.
//   - Metadata lies where the protocol has a word for it, so that others read it too;
//     the rest lies in metadata of the object named polder-0, polder-1, ... (words.go).
//     What others stored, without any of ours, reads as what it is.
//   - Credentials are in no error and no log; requests hold them in headers alone.
//
// What a protocol cannot promise is an error that says so (ErrCannot), or weaker where
// the method's comment does: a reader of an object that is replaced meanwhile fails
// (ErrReplaced); conditions of writes are judged before the write, and hold at its moment
// only where the remote has conditional writes; and Edit without Touch keeps Modified in
// Stat and Open, while listings tell when the remote wrote last. Usage is what the remote
// counts: S3 counts nothing, so it is zero there.
package remote

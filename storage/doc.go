// Package storage says what Polder's object store is: buckets of objects, and the
// promises that every backend keeps. It is plain Go: it knows no protocol, no disk and
// no Kubernetes. Front doors (S3, Swift) speak to a Store and map the errors of this
// package to their own once; backends (mem, disk) implement it. storage/storagetest
// proves a backend.
//
// The promises, each kept by every backend unless a method says otherwise:
//
//   - Atomic: an object is as one Put or Complete left it, never a mix of two, and
//     never half of one. What fails leaves nothing behind.
//   - Strong: what was acknowledged is seen by every read and every listing that
//     begins afterwards. Operations on one key have one order.
//   - Durable before acknowledged: see Durability, which a bucket chooses. In a bucket
//     that is Synced, what a read has shown is durable as well.
//   - Checked: bytes are stored with checksums and verified on every read, so that what
//     was damaged is an error (ErrCorrupt) and never data.
//   - Streaming: no operation holds a whole object in memory, however slow its client.
//   - Listings are in the order of the keys' bytes, and a page takes as long in the
//     middle of a million keys as at their start.
//
// Anybody may import it. It refuses to know who asks: identity and permission are the
// front doors'.
package storage

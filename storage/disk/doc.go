// Package disk is the store on the machine's disks: one pool of any number of them, to
// which disks are added, and from which they are drained, while it works. Each disk is a
// shelf (storage/disk/shelf) and complete for what it holds; this package decides which
// disk holds what, keeps copies where a bucket asks for them, and moves and mends.
//
// A Store is a storage.Tier. Whoever runs a store opens one, and has Run look after it.
// What it promises about power cuts is proved on a made-up disk (drivetest).
package disk

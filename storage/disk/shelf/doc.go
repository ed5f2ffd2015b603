// Package shelf is one disk of the store: a log of records in volumes of a gigabyte,
// files for what is large, and an index that finds both. Records are self-describing,
// so the index can be made anew. docs/formats/store.md describes every byte; this
// package and that page change together.
//
//	commit -> queue -> one leader writes the group, syncs once, applies it to the index
//
// Only storage/disk imports it. It does not know what entries mean, other than that the
// first nine bytes of a key say where it is counted.
package shelf

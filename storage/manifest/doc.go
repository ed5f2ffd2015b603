// Package manifest reads objects that are made of others: Swift's static large objects
// (SLO), dynamic large objects (DLO) and symlinks. It turns them into a storage.Object
// that reads like any other, so that every front door can serve them. The front doors
// import it.
//
// What an object is stands in Meta.System under keys that begin with "swift."; a static
// manifest is the object's own data. Segments are opened one at a time, when they are
// read, and at most one page of a dynamic listing is held.
//
// It refuses to judge: a Source opens what a manifest names, and knows whether the one
// who asks may see it.
package manifest

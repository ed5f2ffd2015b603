// Package s3 is the front door for clients of Amazon's S3: it turns HTTP requests into
// calls of a storage.Store, and their results into what the S3 API Reference says.
//
// A request goes through the same gates, whatever it asks for: its bucket and key are
// found (address.go), its signature is checked (auth.go), its operation is looked up in
// one table (route.go), its bucket is opened and the bucket's rules are asked
// (access.go). Only then is its body read. Every error is mapped to a code of S3 in
// error.go. At hosts of web sites visitors are shown a bucket's pages instead (site.go).
//
// The handler must see paths as they were sent: a mux in front of it that cleans paths
// would change keys.
//
// Times belong to whoever serves it: an http.Server should have a ReadHeaderTimeout, and
// no ReadTimeout or WriteTimeout, for objects may be large and networks slow.
//
// Whoever serves HTTP imports it. It refuses to hold state: all that it knows of a bucket
// or an object lies in the store's settings and metadata, so that Swift's door and
// another process see the same. What it caches, it can lose.
package s3

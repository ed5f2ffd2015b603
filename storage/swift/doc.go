// Package swift is the front door of the object store for OpenStack Swift's clients: the
// v1 API with what Swift 2.30's proxy adds to it (large objects, symlinks, versions,
// temporary URLs, form posts, bulk operations, static sites). The system makes one
// Handler and lets requests in for which Handles is true; both doors share a port.
//
// A container is a bucket and an account one of naming's, so that S3's clients see the
// same objects; iam's rules hold for both. What an object is made of stands in
// Meta.System and is read by storage/manifest. Nothing holds a whole object: bodies are
// streams, listings are written as pages come, and archives are unpacked as they arrive.
//
// A request is a call. It goes through the same steps as Swift's pipeline: names, bulk,
// signed access, who asks, static sites, and then account, container or object. What
// fails is a fault, which is written in one place. It makes no outbound connection, and
// headers that only Swift's own servers may send mean nothing here.
package swift

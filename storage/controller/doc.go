// Package controller keeps the store's buckets and keys as the API's objects say. It runs
// in the process of the store, with the store's buckets in hand, so that no protocol for
// administrators is needed. Only system imports it.
//
//   - Each tenant's namespace has a Secret "polder-store" with a key that may do all in
//     the tenant's account, and "polder-store-job" with one that reads and writes objects.
//     A Secret that is removed is made anew with another key, and the old one is refused
//     at once.
//   - A Secret of type polder.dev/store-key in a tenant's namespace is a key of that
//     tenant, and of no other. Keys is the iam.Directory of them, and of what bears a
//     token of Kubernetes.
//   - A Bucket object is one bucket; what its settings say of durability, access and
//     quota comes from the object, what S3 or Swift clients set otherwise stays.
//   - A Dataset is frozen once, and never changes.
//
// It is the only writer of the status of Buckets and Datasets.
package controller

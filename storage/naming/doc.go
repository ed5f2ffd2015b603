// Package naming says which bucket a client means. The front doors import it. S3 has one
// set of names for all, Swift one for each account, and here both are the same buckets:
//
//   - A bucket with a name that S3 allows has that name alone ("data") in the store, if it
//     was free when the bucket was made. Its owner sees it as bucket and as container;
//     other accounts reach it through S3 by the same name, and through Swift in the
//     owner's account, as far as its rules allow.
//   - A container whose name S3 does not allow, or that another account's bucket has, is
//     "ACCOUNT/CONTAINER" in the store. Its account reaches it through both doors, if the
//     client lets the name pass; others through Swift.
//
// An account's own container comes before another's bucket of the same name. Buckets with
// a dot in front are the store's own, and no client's.
//
// It refuses to judge: whether somebody may use a bucket is iam's.
package naming

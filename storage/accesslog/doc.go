// Package accesslog keeps the access logs of buckets: who asked what of a bucket, as lines in
// the form of Amazon S3's server access logs, put as objects into a bucket that the owner
// names. The front doors import it and tell it of each request to a bucket that asks for
// logs; whoever serves the store runs it, and hands it the means to put an object.
//
// It is best effort, as Amazon's is. Records wait in memory, of which there is a bound, for a
// minute or until there is a mebibyte of a bucket's; whatever cannot be delivered is counted
// and said in the process's own log, and no request ever waits for it. A process that is
// killed takes its last minute along.
//
// A line is one line with the same number of fields whatever a client sent, and no secret of
// a request reaches it: see Redact.
//
// It refuses to know doors and rights: Options.Put judges whether a log may go where its
// configuration says.
package accesslog

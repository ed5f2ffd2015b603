// Package sigv4 checks and makes the signatures of S3 requests: AWS Signature Version 4
// in a header, in a query (presigned) and over a body's chunks, and Version 2 for old
// clients. It follows "Authenticating Requests (AWS Signature Version 4)" of the Amazon
// S3 API Reference. S3's front door imports it, and clients that speak to one.
//
// It is pure: time, secrets and requests come from its caller. It compares in constant
// time, holds no secret but in its cache of derived keys, and puts none into an error.
// It refuses to know who may do what.
package sigv4

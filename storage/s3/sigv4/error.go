package sigv4

import "errors"

// The kinds of failure. What wraps them says what is wrong and what would be right.
var (
	// ErrMalformed says that an Authorization header cannot be read, ErrQuery the same of
	// a presigned query, ErrUnsupported that it is of a kind that S3 does not have.
	ErrMalformed   = errors.New("the authorization header is malformed")
	ErrQuery       = errors.New("the query parameters that authorise are malformed")
	ErrUnsupported = errors.New("unsupported authorization type")
	// ErrAbsent says that there is an Authorization header, and nothing in it.
	ErrAbsent = errors.New("the authorization header is empty")
	// ErrForm says that the fields of a form that authorise it are incomplete.
	ErrForm = errors.New("the fields that authorise the form are incomplete")
	// ErrSignature says that the signature is not the one that the secret makes.
	ErrSignature = errors.New("the signature does not match")
	// ErrSkew says that the request is of another time, ErrExpired that a presigned one
	// is of the past, ErrDate that no time can be read.
	ErrSkew    = errors.New("the request's time is too far from the server's")
	ErrExpired = errors.New("the request has expired")
	ErrDate    = errors.New("the request has no valid date")
	// ErrUnsigned says that a header which must be signed is not.
	ErrUnsigned = errors.New("a header is not signed")
	// ErrChunk says that a body is not in the form of aws-chunked, or ends too soon.
	ErrChunk = errors.New("the aws-chunked body is malformed")
)

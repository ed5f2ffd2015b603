package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/lock"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/s3/sigv4"
)

// Error is an answer that says no: a code of the S3 API Reference ("Error responses"),
// the HTTP status that goes with it, and what is wrong in words.
type Error struct {
	Code    string
	Status  int
	Message string
	// Extra are further elements of the answer.
	Extra []Field
}

// Field is an element of an Error's answer.
type Field struct{ Name, Value string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// fail makes an Error of a code that statuses has.
func fail(code, format string, args ...any) *Error {
	status, ok := statuses[code]
	if !ok {
		panic("s3: no status is known for code " + code)
	}
	return &Error{Code: code, Status: status, Message: fmt.Sprintf(format, args...)}
}

// with adds an element.
func (e *Error) with(name, value string) *Error {
	e.Extra = append(e.Extra, Field{name, value})
	return e
}

// statuses has the codes that are used.
var statuses = map[string]int{
	"AccessControlListNotSupported":                  400,
	"AccessDenied":                                   403,
	"AccessForbidden":                                403,
	"AuthorizationHeaderMalformed":                   400,
	"AuthorizationQueryParametersError":              400,
	"BadDigest":                                      400,
	"BadRequest":                                     400,
	"BucketAlreadyExists":                            409,
	"BucketAlreadyOwnedByYou":                        409,
	"BucketNotEmpty":                                 409,
	"CrossLocationLoggingProhibited":                 403,
	"EntityTooLarge":                                 400,
	"EntityTooSmall":                                 400,
	"IllegalVersioningConfigurationException":        400,
	"IncompleteBody":                                 400,
	"InternalError":                                  500,
	"InvalidAccessKeyId":                             403,
	"InvalidArgument":                                400,
	"InvalidBucketAclWithObjectOwnership":            400,
	"InvalidBucketName":                              400,
	"InvalidBucketState":                             409,
	"InvalidDigest":                                  400,
	"InvalidEncryptionAlgorithmError":                400,
	"InvalidLocationConstraint":                      400,
	"InvalidPart":                                    400,
	"InvalidPartOrder":                               400,
	"InvalidPolicyDocument":                          400,
	"InvalidRange":                                   416,
	"InvalidRequest":                                 400,
	"InvalidRetentionPeriod":                         400,
	"InvalidRedirectLocation":                        400,
	"InvalidStorageClass":                            400,
	"InvalidTag":                                     400,
	"InvalidTargetBucketForLogging":                  400,
	"KMS.NotFoundException":                          400,
	"KeyTooLongError":                                400,
	"MalformedACLError":                              400,
	"MalformedPOSTRequest":                           400,
	"MalformedPolicy":                                400,
	"MalformedXML":                                   400,
	"MaxMessageLengthExceeded":                       400,
	"MaxPostPreDataLengthExceeded":                   400,
	"MetadataTooLarge":                               400,
	"MethodNotAllowed":                               405,
	"MissingContentLength":                           411,
	"MissingSecurityHeader":                          400,
	"NoSuchBucket":                                   404,
	"NoSuchBucketPolicy":                             404,
	"NoSuchCORSConfiguration":                        404,
	"NoSuchConfiguration":                            404,
	"NoSuchKey":                                      404,
	"NoSuchLifecycleConfiguration":                   404,
	"NoSuchObjectLockConfiguration":                  404,
	"NoSuchPublicAccessBlockConfiguration":           404,
	"NoSuchTagSet":                                   404,
	"NoSuchUpload":                                   404,
	"NoSuchVersion":                                  404,
	"NoSuchWebsiteConfiguration":                     404,
	"NotImplemented":                                 501,
	"NotModified":                                    304,
	"ObjectLockConfigurationNotFoundError":           404,
	"OwnershipControlsNotFoundError":                 404,
	"PreconditionFailed":                             412,
	"QuotaExceeded":                                  403,
	"ReplicationConfigurationNotFoundError":          404,
	"RequestTimeTooSkewed":                           403,
	"RequestTimeout":                                 400,
	"ServerSideEncryptionConfigurationNotFoundError": 404,
	"ServiceUnavailable":                             503,
	"SignatureDoesNotMatch":                          403,
	"StorageFull":                                    507,
	"UnexpectedContent":                              400,
	"UnresolvableGrantByEmailAddress":                400,
	"UserKeyMustBeSpecified":                         400,
	"XAmzContentChecksumMismatch":                    400,
	"XAmzContentSHA256Mismatch":                      400,
}

// causes say which code an error becomes; the first that fits.
var causes = []struct {
	err  error
	code string
	text string
}{
	{naming.ErrTaken, "BucketAlreadyExists", "The requested bucket name is not available: all accounts share the names. Choose another"},
	{storage.ErrBucketExists, "BucketAlreadyOwnedByYou", "You have this bucket already"},
	{storage.ErrNoBucket, "NoSuchBucket", "The specified bucket does not exist"},
	{storage.ErrNotEmpty, "BucketNotEmpty", "The bucket you tried to delete is not empty: delete all objects, versions and delete markers first"},
	{storage.ErrNotModified, "NotModified", "The object was not modified"},
	{storage.ErrNoObject, "NoSuchKey", "The specified key does not exist"}, // also as the reason of ErrPrecondition
	{storage.ErrPrecondition, "PreconditionFailed", "At least one of the preconditions you specified did not hold"},
	{storage.ErrNoVersion, "NoSuchVersion", "The specified version does not exist"},
	{storage.ErrNoUpload, "NoSuchUpload", "The specified upload does not exist: its id may be wrong, or it is completed or aborted"},
	{storage.ErrDeleted, "MethodNotAllowed", "The specified method is not allowed against a delete marker"},
	{storage.ErrRange, "InvalidRange", "The requested range is not satisfiable"},
	{storage.ErrOrder, "InvalidPartOrder", "The list of parts was not in ascending order"},
	{storage.ErrTooSmall, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size: every part but the last has 5 MiB or more"},
	{storage.ErrPart, "InvalidPart", "One or more of the specified parts could not be found, or are not as specified"},
	{storage.ErrDigest, "BadDigest", "The body is not what the request says of it"},
	{storage.ErrForbiddenPlace, "AccessDenied", "The data may not lie there"},
	{storage.ErrReadOnly, "MethodNotAllowed", "The bucket shows data of another store, and may only be read"},
	{storage.ErrNoHandover, "MethodNotAllowed", "Send the file's bytes instead"},
	{storage.ErrFull, "StorageFull", "The disks have no room for this"},
	{storage.ErrUnavailable, "ServiceUnavailable", "A disk or a store that is needed is away; try again later"},
	{storage.ErrClosed, "ServiceUnavailable", "The server is stopping; try again"},
	{storage.ErrInvalid, "InvalidArgument", "An argument is invalid"},
	{lock.ErrLocked, "AccessDenied", "Access denied because the object is protected by object lock"},

	{iam.ErrNoIdentity, "InvalidAccessKeyId", "The access key id you provided does not exist in our records"},
	{sigv4.ErrMalformed, "AuthorizationHeaderMalformed", ""},
	{sigv4.ErrQuery, "AuthorizationQueryParametersError", ""},
	{sigv4.ErrForm, "InvalidArgument", ""},
	{sigv4.ErrSignature, "SignatureDoesNotMatch", ""},
	{sigv4.ErrSkew, "RequestTimeTooSkewed", ""},
	{sigv4.ErrExpired, "AccessDenied", ""},
	{sigv4.ErrDate, "AccessDenied", ""},
	{sigv4.ErrUnsigned, "AccessDenied", ""},
	{sigv4.ErrAbsent, "AccessDenied", ""},
	{sigv4.ErrUnsupported, "InvalidArgument", ""},
	{sigv4.ErrChunk, "IncompleteBody", ""},

	{io.ErrUnexpectedEOF, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header"},
	{context.DeadlineExceeded, "RequestTimeout", "The request took too long"},
}

// asError is what a client is told of an error. What is in no list is ours, and its text
// stays here.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if e := sealError(err); e != nil {
		return e
	}
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return &Error{Code: c.code, Status: statuses[c.code], Message: message(c.text, err)}
		}
	}
	return fail("InternalError", "The server failed; try again, and tell its operator the request id.")
}

// message joins what a code means with what happened here.
func message(text string, err error) string {
	if text == "" {
		return sentence(err.Error())
	}
	return text + " (" + err.Error() + ")."
}

// sentence makes a message of an error's text.
func sentence(s string) string {
	if s == "" {
		return s
	}
	if c := s[0]; c >= 'a' && c <= 'z' {
		s = string(c-'a'+'A') + s[1:]
	}
	return s + "."
}

// fail answers with an error.
func (q *request) fail(err error) {
	e := asError(err)
	if e.Status >= 500 && !gone(err) {
		q.s.log.Error("request failed", "id", q.id, "method", q.r.Method, "bucket", q.name, "key", q.key, "error", err)
	}
	if q.begun {
		panic(http.ErrAbortHandler) // a client must not take what it got for the whole
	}
	h := q.w.Header()
	delete(h, "Content-Length")
	if e.Status != http.StatusNotModified { // what was said of an object that is not sent
		for _, k := range kept {
			delete(h, k)
		}
		delete(h, "Etag")
		if !errors.Is(err, storage.ErrDeleted) { // of which it was told on purpose
			delete(h, "Last-Modified")
		}
	}
	if e.Status != http.StatusRequestedRangeNotSatisfiable {
		delete(h, "Content-Range")
	}
	if errors.Is(err, storage.ErrDeleted) {
		h["X-Amz-Delete-Marker"] = []string{"true"}
	}
	if q.r.Method == http.MethodHead || e.Status == http.StatusNotModified {
		_ = q.status(e.Status)
		return
	}
	q.begun = true
	x := newXML()
	defer x.free()
	x.open("Error").text("Code", e.Code).text("Message", e.Message)
	for _, f := range e.Extra {
		x.text(f.Name, f.Value)
	}
	if q.name != "" {
		x.text("BucketName", q.name)
	}
	x.text("Resource", q.r.URL.Path).text("RequestId", q.id).text("HostId", q.s.host[0]).close("Error")
	x.send(q.w, e.Status)
}

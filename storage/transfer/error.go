package transfer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

var (
	// ErrChanged says that a file or an object became another while it was read.
	ErrChanged = errors.New("it changed while it was being read")
	// ErrDigest says that what arrived is not what was sent.
	ErrDigest = errors.New("checksum does not match")
	// ErrNotFound says that the store has no such bucket or object.
	ErrNotFound = errors.New("not found")

	errStalled = errors.New("no data came for a minute")
	errShort   = errors.New("the answer was cut")
)

// tries is how often a request that fails for a while is made, each time after a
// longer pause, the longest waitMax.
const (
	tries   = 7
	waitMax = 10 * time.Second
)

// try repeats f while it fails for reasons that pass. A store that never answered is
// not waited for: its address may be wrong.
func (c *Client) try(ctx context.Context, f func() error) error {
	wait := c.backoff
	for i := 1; ; i++ {
		err := f()
		if err == nil || i == tries || ctx.Err() != nil || !temporary(err) || !c.reached.Load() {
			return err
		}
		if err := pause(ctx, wait/2+rand.N(wait/2+1)); err != nil {
			return err
		}
		wait = min(2*wait, waitMax)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// temporary says that the same request may succeed later.
func temporary(err error) bool {
	var s3 minio.ErrorResponse
	if errors.As(err, &s3) {
		switch s3.Code {
		case "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "RequestTimeTooSkewed", "IncompleteBody":
			return true
		}
		switch s3.StatusCode {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	if errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &cert) || errors.As(err, &record) {
		return false
	}
	var path *fs.PathError
	if errors.As(err, &path) || errors.Is(err, context.Canceled) || errors.Is(err, ErrChanged) {
		return false
	}
	var web *url.Error
	var network net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, errStalled) || errors.Is(err, errShort) ||
		errors.As(err, &web) && !strings.Contains(err.Error(), "HTTP response to HTTPS client") || errors.As(err, &network)
}

// codeOf is the S3 code of err, or "".
func codeOf(err error) string {
	var s3 minio.ErrorResponse
	if errors.As(err, &s3) {
		return s3.Code
	}
	return ""
}

// explain puts an error of the store in words that name what it was about.
func explain(err error, a Address) error {
	if err == nil {
		return nil
	}
	var s3 minio.ErrorResponse
	if !errors.As(err, &s3) {
		return fmt.Errorf("%s: %w", a, err)
	}
	switch s3.Code {
	case minio.NoSuchBucket:
		return missing("there is no bucket %s", Printable(a.Bucket))
	case minio.NoSuchKey, "NotFound":
		return missing("there is no object %s", a)
	case minio.PreconditionFailed:
		return fmt.Errorf("%s: %w", a, ErrChanged)
	case "BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest":
		return fmt.Errorf("%s: %w: what the store received is not what was read; did the file change?", a, ErrDigest)
	case minio.AccessDenied:
		return fmt.Errorf("%s: the store denies it to this access key", a)
	case "InvalidAccessKeyId":
		return fmt.Errorf("%s: the store does not know this access key", a)
	case "SignatureDoesNotMatch":
		return fmt.Errorf("%s: the secret key is not that of the access key", a)
	}
	return fmt.Errorf("%s: %s (%s)", a, strings.TrimSuffix(Printable(s3.Error()), "."), Printable(s3.Code))
}

// missing is an error that is ErrNotFound and says only what the format does.
func missing(format string, args ...any) error { return absent{fmt.Sprintf(format, args...)} }

type absent struct{ text string }

func (a absent) Error() string { return a.text }

func (absent) Unwrap() error { return ErrNotFound }

package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"polder.dev/polder/storage"
)

// fault is an answer of the remote that is an error. Its text is the remote's own.
type fault struct {
	status     int
	code, text string
	kind       error
}

func (f *fault) Error() string {
	s := fmt.Sprintf("%v: the remote answers %d", f.kind, f.status)
	if f.code != "" {
		s += " " + f.code
	}
	if f.text != "" {
		s += fmt.Sprintf(" (%.300q)", f.text)
	}
	return s
}

func (f *fault) Unwrap() error { return f.kind }

var (
	errStalled = errors.New("the remote sent and took nothing for too long")
	errShort   = errors.New("the remote's answer was cut")
	errSource  = errors.New("the body could not be read")
)

// kindOf is what a status means where no code says more.
func kindOf(status int) error {
	switch status {
	case http.StatusNotFound:
		return storage.ErrNoObject
	case http.StatusPreconditionFailed, http.StatusConflict:
		return storage.ErrPrecondition
	case http.StatusNotModified:
		return storage.ErrNotModified
	case http.StatusRequestedRangeNotSatisfiable:
		return storage.ErrRange
	case http.StatusUnprocessableEntity:
		return storage.ErrDigest
	case http.StatusInsufficientStorage:
		return storage.ErrFull
	case http.StatusNotImplemented, http.StatusMethodNotAllowed:
		return ErrCannot
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return storage.ErrUnavailable
	}
	if status >= 500 {
		return storage.ErrUnavailable
	}
	return storage.ErrInvalid
}

// unavailable is an error of the way to the remote. A context that ended says so itself.
func unavailable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errStalled) {
		return cause
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}

// IsPermanent says that the same request would fail again: the remote has judged it, or
// nobody waits for it any more. It is the one place that decides what is tried again.
func IsPermanent(err error) bool {
	var f *fault
	if errors.As(err, &f) {
		switch f.status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return false
		}
		return f.code != "RequestTimeout" && f.code != "SlowDown" && f.code != "OperationAborted" && f.code != "IncompleteBody"
	}
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errSource):
		return true
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid), errors.As(err, &cert), errors.As(err, &record):
		return true
	}
	return !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errShort)
}

// tries repeats what fails for a while.
type tries struct {
	max     int
	backoff time.Duration
	log     *slog.Logger
}

const backoffMax = 10 * time.Second

func (t tries) do(ctx context.Context, what string, f func() error) error {
	wait := t.backoff
	for i := 1; ; i++ {
		err := f()
		if err == nil || i >= t.max || ctx.Err() != nil || IsPermanent(err) {
			return err
		}
		t.log.DebugContext(ctx, "trying a remote store again", "operation", what, "try", i, "error", err)
		timer := time.NewTimer(wait/2 + rand.N(wait/2+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		wait = min(2*wait, backoffMax)
	}
}

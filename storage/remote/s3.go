package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"

	"polder.dev/polder/storage"
)

// s3 speaks S3 as Amazon's reference documents it, with minio-go's signatures. Bodies go
// as they are, never in aws-chunked form and without trailers, which not all servers
// take: a body that is held is signed with its SHA-256, a stream is not.
type s3 struct {
	cfg  S3
	base *url.URL
	web  *web
}

// NewS3 makes a store in one that speaks S3. It connects to nobody.
func NewS3(c S3) (*Store, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	base, err := url.Parse(c.Endpoint)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.User != nil || base.RawQuery != "" || strings.Trim(base.Path, "/") != "" {
		return nil, fmt.Errorf("%w: the endpoint must be http(s)://HOST[:PORT]", storage.ErrInvalid)
	}
	if c.Region == "" {
		return nil, fmt.Errorf("%w: a region is needed; nothing is guessed", storage.ErrInvalid)
	}
	t, err := transport(&c.Common)
	if err != nil {
		return nil, err
	}
	return newStore(&s3{cfg: c, base: base, web: newWeb(t, c.Timeout)}, c.Common, base.Host), nil
}

func (s *s3) ability() ability {
	return ability{absent: !s.cfg.NoConditions, conditional: !s.cfg.NoConditions, versions: true, wordsBytes: 2000, putMax: 5 << 30, copyMax: 5 << 30, pageMax: 1000}
}

func (s *s3) close() { s.web.http.CloseIdleConnections() }

// call is a request.
type call struct {
	method string
	place  place
	query  url.Values
	head   http.Header
	body   *payload
	keep   bool // the answer is of no interest
	// missing is what a 404 means.
	missing error
}

// do makes a request, again if its body allows and its failure passes. The caller
// closes the answer's body.
func (s *s3) do(ctx context.Context, c call) (*http.Response, error) {
	var out *http.Response
	once := func() (err error) {
		out, err = s.once(ctx, c)
		return err
	}
	var err error
	if c.body != nil && c.body.r != nil {
		err = once()
	} else {
		err = tries{s.cfg.Tries, s.cfg.Backoff, s.cfg.Log}.do(ctx, c.method, once)
	}
	return out, err
}

func (s *s3) once(ctx context.Context, c call) (*http.Response, error) {
	r, err := s.request(ctx, c)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	size := int64(0)
	if c.body != nil {
		body, size = c.body.r, c.body.size
		if body == nil {
			body = bytes.NewReader(c.body.bytes)
		}
	}
	res, err := s.web.send(r, body, size)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		defer drain(res)
		return nil, faultOf(res, c)
	}
	return res, nil
}

func (s *s3) request(ctx context.Context, c call) (*http.Request, error) {
	u := *s.base
	path := "/"
	switch {
	case c.place.container == "":
	case s.cfg.VirtualHost:
		u.Host = c.place.container + "." + u.Host
		path += c.place.key
	default:
		path += c.place.container + "/" + c.place.key
	}
	u.Path, u.RawPath = path, s3utils.EncodePath(path)
	u.RawQuery = strings.ReplaceAll(c.query.Encode(), "+", "%20")
	r, err := http.NewRequestWithContext(ctx, c.method, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrInvalid, err)
	}
	r.URL = &u
	for k, v := range c.head {
		r.Header[k] = v
	}
	r.Header.Set("User-Agent", "polder")
	hash := "UNSIGNED-PAYLOAD"
	if c.body == nil || c.body.r == nil {
		var b []byte
		if c.body != nil {
			b = c.body.bytes
		}
		if u.Scheme == "http" || len(b) == 0 {
			sum := sha256.Sum256(b)
			hash = hex.EncodeToString(sum[:])
		}
	}
	if c.body != nil && c.body.md5 != "" {
		raw, err := hex.DecodeString(c.body.md5)
		if err != nil {
			return nil, fmt.Errorf("%w: MD5 %q", storage.ErrInvalid, c.body.md5)
		}
		r.Header.Set("Content-Md5", base64.StdEncoding.EncodeToString(raw))
	}
	r.Header.Set("X-Amz-Content-Sha256", hash)
	if s.cfg.AccessKey != "" {
		r = signer.SignV4(*r, s.cfg.AccessKey, s.cfg.SecretKey, s.cfg.SessionToken, s.cfg.Region)
	}
	return r, nil
}

// ask makes a request and reads its answer of XML into v, if there is one.
func (s *s3) ask(ctx context.Context, c call, v any) (http.Header, error) {
	res, err := s.do(ctx, c)
	if err != nil {
		return nil, err
	}
	defer drain(res)
	if v == nil {
		return res.Header, nil
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, answerBytesMax))
	if err != nil {
		return nil, err
	}
	return res.Header, parse(raw, v, res.StatusCode)
}

// answerBytesMax bounds an answer of XML: 1,000 keys of 1,024 bytes, escaped, fit.
const answerBytesMax = 16 << 20

// parse reads an answer. One of 200 may be an error all the same, for operations that
// begin to answer before they have ended.
func parse(raw []byte, v any, status int) error {
	var f struct {
		XMLName       xml.Name
		Code, Message string
	}
	if err := xml.Unmarshal(raw, &f); err != nil {
		return fmt.Errorf("%w: the remote's answer is no XML: %w", storage.ErrUnavailable, err)
	}
	if f.XMLName.Local == "Error" {
		if f.Code == "InternalError" || f.Code == "SlowDown" {
			status = http.StatusInternalServerError
		}
		return &fault{status: status, code: f.Code, text: f.Message, kind: codeKind(f.Code, status)}
	}
	if err := xml.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%w: the remote's answer: %w", storage.ErrUnavailable, err)
	}
	return nil
}

// faultOf tells what an answer means that is no success.
func faultOf(res *http.Response, c call) error {
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	f := &fault{status: res.StatusCode}
	var doc struct{ Code, Message string }
	if err == nil && xml.Unmarshal(raw, &doc) == nil {
		f.code, f.text = doc.Code, doc.Message
	}
	f.kind = codeKind(f.code, f.status)
	marker := res.Header.Get("X-Amz-Delete-Marker") == "true"
	switch {
	case f.status == http.StatusMethodNotAllowed && (marker || c.query.Has("versionId")): // not all servers say why
		f.kind = storage.ErrDeleted
	case marker:
		f.kind = fmt.Errorf("%w: %w", storage.ErrNoObject, storage.ErrDeleted)
	case f.code == "" && f.status == http.StatusNotFound && c.missing != nil:
		f.kind = c.missing
	}
	return f
}

var codes = map[string]error{
	"NoSuchBucket": storage.ErrNoBucket, "NoSuchKey": storage.ErrNoObject, "NoSuchVersion": storage.ErrNoVersion, "NoSuchUpload": storage.ErrNoUpload,
	"BucketAlreadyExists": storage.ErrBucketExists, "BucketAlreadyOwnedByYou": storage.ErrBucketExists, "BucketNotEmpty": storage.ErrNotEmpty,
	"PreconditionFailed": storage.ErrPrecondition, "ConditionalRequestConflict": storage.ErrPrecondition,
	"InvalidPart": storage.ErrPart, "InvalidPartOrder": storage.ErrOrder, "EntityTooSmall": storage.ErrTooSmall, "InvalidRange": storage.ErrRange,
	"BadDigest": storage.ErrDigest, "InvalidDigest": storage.ErrDigest, "XAmzContentSHA256Mismatch": storage.ErrDigest, "XAmzContentChecksumMismatch": storage.ErrDigest,
	"QuotaExceeded": storage.ErrFull, "NotImplemented": ErrCannot,
	"SlowDown": storage.ErrUnavailable, "RequestTimeout": storage.ErrUnavailable, "IncompleteBody": storage.ErrUnavailable, "OperationAborted": storage.ErrUnavailable,
}

func codeKind(code string, status int) error {
	if k := codes[code]; k != nil {
		return k
	}
	if status == http.StatusConflict && code != "" {
		return storage.ErrInvalid
	}
	return kindOf(status)
}

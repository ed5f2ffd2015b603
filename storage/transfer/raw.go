package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// answerBytesMax bounds what is read of an answer that is no object.
const answerBytesMax = 32 << 20

// ask makes a request about a bucket that the library has no words for: page by page
// listings with a context, and headers of Polder's own. It returns the answer's body,
// and repeats what fails for a while.
func (c *Client) ask(ctx context.Context, method, bucket string, query url.Values, header http.Header, body []byte) (http.Header, []byte, error) {
	var h http.Header
	var text []byte
	err := c.try(ctx, func() error {
		resp, err := c.send(ctx, method, bucket, query, header, body)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		h = resp.Header
		text, err = io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
		if err != nil {
			return fmt.Errorf("reading answer: %w", err)
		}
		if resp.StatusCode/100 != 2 {
			return refusal(resp, text, bucket)
		}
		return nil
	})
	return h, text, err
}

func (c *Client) send(ctx context.Context, method, bucket string, query url.Values, header http.Header, body []byte) (*http.Response, error) {
	u := *c.base
	u.Path = "/" + bucket
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[http.CanonicalHeaderKey(k)] = v
	}
	if c.cfg.AccessKey != "" {
		sum := sha256.Sum256(body)
		req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
		req = signer.SignV4(*req, c.cfg.AccessKey, c.cfg.SecretKey, c.cfg.SessionToken, c.cfg.Region)
	}
	return c.web.Do(req)
}

// refusal is an answer that is an error; HEAD has none to read.
func refusal(resp *http.Response, text []byte, bucket string) error {
	e := minio.ErrorResponse{StatusCode: resp.StatusCode, BucketName: bucket}
	if len(text) > 0 && xml.Unmarshal(text, &e) == nil && e.Code != "" {
		return e
	}
	e.Code, e.Message = resp.Status, "the store answers "+resp.Status
	switch resp.StatusCode {
	case http.StatusNotFound:
		e.Code = minio.NoSuchBucket
	case http.StatusForbidden:
		e.Code = minio.AccessDenied
	}
	return e
}

// page is what S3 calls ListBucketResult and ListVersionsResult.
type page struct {
	IsTruncated           bool
	NextContinuationToken string
	NextKeyMarker         string
	NextVersionIDMarker   string `xml:"NextVersionIdMarker"`
	EncodingType          string
	Lines                 []pageLine `xml:",any"`
}

type pageLine struct {
	XMLName      xml.Name
	Key, Prefix  string
	LastModified string
	ETag         string
	Size         int64
	VersionID    string `xml:"VersionId"`
	IsLatest     bool
}

// parsePage reads a listing; keys in it may be encoded.
func parsePage(text []byte) (page, error) {
	var p page
	if err := xml.Unmarshal(text, &p); err != nil {
		return page{}, fmt.Errorf("reading listing: %w", err)
	}
	if !strings.EqualFold(p.EncodingType, "url") {
		return p, nil
	}
	decode := func(s *string) (err error) {
		*s, err = url.QueryUnescape(*s)
		return err
	}
	all := []*string{&p.NextKeyMarker}
	for i := range p.Lines {
		all = append(all, &p.Lines[i].Key, &p.Lines[i].Prefix)
	}
	for _, s := range all {
		if err := decode(s); err != nil {
			return page{}, fmt.Errorf("reading listing: %w", err)
		}
	}
	return p, nil
}

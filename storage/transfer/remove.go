package transfer

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"
)

// removeMax is how many objects one request may remove.
const removeMax = 1000

type deletion struct {
	XMLName xml.Name `xml:"Delete"`
	Quiet   bool
	Objects []doomed `xml:"Object"`
}

type doomed struct {
	Key     string
	Version string `xml:"VersionId,omitempty"`
}

type deletionAnswer struct {
	Errors []struct {
		Key, Code, Message string
		VersionID          string `xml:"VersionId"`
	} `xml:"Error"`
}

// removeSome removes at most removeMax objects of a bucket and returns why those that
// are left are left, by their place in the slice.
func (c *Client) removeSome(ctx context.Context, bucket string, all []doomed) (map[int]error, error) {
	done, err := c.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if len(all) == 1 || slices.ContainsFunc(all, func(d doomed) bool { return !fitsXML(d.Key) }) {
		return c.removeEach(ctx, bucket, all), nil
	}
	text, err := xml.Marshal(deletion{Quiet: true, Objects: all})
	if err != nil {
		return nil, fmt.Errorf("removing: %w", err)
	}
	sum := md5.Sum(text)
	header := http.Header{"Content-Md5": {base64.StdEncoding.EncodeToString(sum[:])}, "Content-Type": {"application/xml"}}
	_, answer, err := c.ask(ctx, http.MethodPost, bucket, url.Values{"delete": {""}}, header, text)
	if err != nil {
		return nil, explain(err, Address{Bucket: bucket})
	}
	var a deletionAnswer
	if err := xml.Unmarshal(answer, &a); err != nil {
		return nil, fmt.Errorf("removing: reading the store's answer: %w", err)
	}
	if len(a.Errors) == 0 {
		return nil, nil
	}
	place := map[doomed]int{}
	for i, d := range all {
		place[d] = i
	}
	out := map[int]error{}
	for _, e := range a.Errors {
		i, ok := place[doomed{e.Key, e.VersionID}]
		if !ok {
			i = place[doomed{Key: e.Key}]
		}
		out[i] = explain(minio.ErrorResponse{Code: e.Code, Message: e.Message}, Address{Bucket: bucket, Key: e.Key})
	}
	return out, nil
}

// removeEach makes a request for each.
func (c *Client) removeEach(ctx context.Context, bucket string, all []doomed) map[int]error {
	out := map[int]error{}
	for i, d := range all {
		err := c.try(ctx, func() error {
			return c.s3.RemoveObject(ctx, bucket, d.Key, minio.RemoveObjectOptions{VersionID: d.Version})
		})
		if err != nil && codeOf(err) != "NoSuchVersion" {
			out[i] = explain(err, Address{Bucket: bucket, Key: d.Key})
		}
	}
	return out
}

// fitsXML says that a key has only characters that XML can name; another one would be
// replaced, and so name another object.
func fitsXML(key string) bool {
	return !strings.ContainsFunc(key, func(r rune) bool {
		return r < 0x20 && r != '\t' && r != '\n' || r == 0xFFFE || r == 0xFFFF
	})
}

package transfer

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
)

// Logging says where the access logs of a bucket go.
type Logging struct {
	// Bucket that gets them, and what their keys begin with.
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix"`
	// Day puts owner, region, bucket and day behind the prefix: "event" is the day of the
	// requests, "delivery" that of the log; "" does not.
	Day string `json:"day,omitempty"`
}

// days are the words of Logging.Day, by S3's.
var days = map[string]string{"EventTime": "event", "DeliveryTime": "delivery"}

var loggingQuery = url.Values{"logging": {""}}

// loggingStatus is S3's BucketLoggingStatus.
type loggingStatus struct {
	XMLName xml.Name        `xml:"http://s3.amazonaws.com/doc/2006-03-01/ BucketLoggingStatus"`
	Enabled *loggingEnabled `xml:"LoggingEnabled"`
}

type loggingEnabled struct {
	Bucket string          `xml:"TargetBucket"`
	Prefix string          `xml:"TargetPrefix"`
	Day    *partitionedKey `xml:"TargetObjectKeyFormat>PartitionedPrefix"`
}

type partitionedKey struct {
	Source string `xml:"PartitionDateSource"`
}

// Logging is where the bucket's access logs go; ErrNotFound if there are none.
func (c *Client) Logging(ctx context.Context, name string) (Logging, error) {
	a := Address{Bucket: name}
	_, text, err := c.ask(ctx, http.MethodGet, name, loggingQuery, nil, nil)
	if err != nil {
		return Logging{}, explain(err, a)
	}
	var s loggingStatus
	if err := xml.Unmarshal(text, &s); err != nil {
		return Logging{}, explain(fmt.Errorf("reading where its access logs go: %w", err), a)
	}
	if s.Enabled == nil {
		return Logging{}, missing("bucket %s has no access log", Printable(name))
	}
	l := Logging{Bucket: s.Enabled.Bucket, Prefix: s.Enabled.Prefix}
	if s.Enabled.Day != nil {
		l.Day = days[s.Enabled.Day.Source]
	}
	return l, nil
}

// SetLogging has the accesses to a bucket logged into another of the same owner; nil ends it.
func (c *Client) SetLogging(ctx context.Context, name string, to *Logging) error {
	var s loggingStatus
	if to != nil {
		s.Enabled = &loggingEnabled{Bucket: to.Bucket, Prefix: to.Prefix}
		for source, day := range days {
			if day == to.Day {
				s.Enabled.Day = &partitionedKey{source}
			}
		}
	}
	body, err := xml.Marshal(s)
	if err != nil {
		return err
	}
	_, _, err = c.ask(ctx, http.MethodPut, name, loggingQuery, nil, body)
	return explain(err, Address{Bucket: name})
}

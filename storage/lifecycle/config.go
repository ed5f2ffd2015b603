package lifecycle

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"time"

	"polder.dev/polder/storage"
)

// Label is the bucket's setting: JSON of Config.
const Label = "s3.lifecycle"

// Config is a bucket's rules, in the elements of S3 ("LifecycleConfiguration").
type Config struct {
	XMLName xml.Name `xml:"LifecycleConfiguration" json:"-"`
	Space   string   `xml:"xmlns,attr,omitempty" json:"-"`
	Rules   []Rule   `xml:"Rule" json:"rules"`
}

// Rule says what becomes of the versions that its filter fits.
type Rule struct {
	ID         string       `xml:"ID,omitempty" json:"id,omitempty"`
	Prefix     *string      `xml:"Prefix" json:"prefix,omitempty"` // of old clients, in place of Filter
	Filter     *Filter      `xml:"Filter" json:"filter,omitempty"`
	Status     string       `xml:"Status" json:"status"`
	Expiration *Expiration  `xml:"Expiration" json:"expiration,omitempty"`
	Transition []Transition `xml:"Transition" json:"transition,omitempty"`

	NoncurrentExpiration *NoncurrentExpiration  `xml:"NoncurrentVersionExpiration" json:"noncurrentExpiration,omitempty"`
	NoncurrentTransition []NoncurrentTransition `xml:"NoncurrentVersionTransition" json:"noncurrentTransition,omitempty"`

	Abort *Abort `xml:"AbortIncompleteMultipartUpload" json:"abort,omitempty"`
}

// Filter chooses by one thing, or by all of And.
type Filter struct {
	Prefix *string `xml:"Prefix" json:"prefix,omitempty"`
	Tag    *Tag    `xml:"Tag" json:"tag,omitempty"`
	Above  *int64  `xml:"ObjectSizeGreaterThan" json:"above,omitempty"` // bytes
	Below  *int64  `xml:"ObjectSizeLessThan" json:"below,omitempty"`
	And    *And    `xml:"And" json:"and,omitempty"`
}

// And is several things at once.
type And struct {
	Prefix *string `xml:"Prefix" json:"prefix,omitempty"`
	Tags   []Tag   `xml:"Tag" json:"tags,omitempty"`
	Above  *int64  `xml:"ObjectSizeGreaterThan" json:"above,omitempty"`
	Below  *int64  `xml:"ObjectSizeLessThan" json:"below,omitempty"`
}

// Tag that a version must have.
type Tag struct {
	Key   string `xml:"Key" json:"key"`
	Value string `xml:"Value" json:"value"`
}

// Expiration of the newest version: after some days, or at a date. Marker removes a
// delete marker that hides nothing.
type Expiration struct {
	Days   *int    `xml:"Days" json:"days,omitempty"`
	Date   *string `xml:"Date" json:"date,omitempty"`
	Marker *bool   `xml:"ExpiredObjectDeleteMarker" json:"marker,omitempty"`
}

// Transition of the newest version to a storage class.
type Transition struct {
	Days  *int    `xml:"Days" json:"days,omitempty"`
	Date  *string `xml:"Date" json:"date,omitempty"`
	Class string  `xml:"StorageClass" json:"class"`
}

// NoncurrentExpiration of older versions, Days after a newer one came, but for the
// newest Keep of them.
type NoncurrentExpiration struct {
	Days *int `xml:"NoncurrentDays" json:"days,omitempty"`
	Keep *int `xml:"NewerNoncurrentVersions" json:"keep,omitempty"`
}

// NoncurrentTransition of older versions.
type NoncurrentTransition struct {
	Days  *int   `xml:"NoncurrentDays" json:"days,omitempty"`
	Keep  *int   `xml:"NewerNoncurrentVersions" json:"keep,omitempty"`
	Class string `xml:"StorageClass" json:"class"`
}

// Abort of uploads, Days after they were begun.
type Abort struct {
	Days *int `xml:"DaysAfterInitiation" json:"days"`
}

// Parse reads a bucket's label; nil is no rules.
func Parse(s storage.Settings) (*Config, error) {
	text := s.Labels[Label]
	if text == "" {
		return nil, nil
	}
	c := &Config{}
	if err := json.Unmarshal([]byte(text), c); err != nil {
		return nil, fmt.Errorf("reading the lifecycle of a bucket: %w", err)
	}
	return c, nil
}

// Encode is the form that is kept.
func (c *Config) Encode() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("lifecycle: texts and numbers cannot fail to encode: " + err.Error())
	}
	return string(b)
}

// conditions of a rule, wherever they stand.
func (r *Rule) conditions() And {
	var c And
	switch f := r.Filter; {
	case f == nil:
		c.Prefix = r.Prefix
	case f.And != nil:
		c = *f.And
	default:
		c = And{Prefix: f.Prefix, Above: f.Above, Below: f.Below}
		if f.Tag != nil {
			c.Tags = []Tag{*f.Tag}
		}
	}
	return c
}

func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date of ISO 8601", s)
}

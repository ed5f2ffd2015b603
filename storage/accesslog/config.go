package accesslog

import (
	"encoding/json"
	"fmt"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/naming"
)

// Label is the bucket's setting: JSON of Config. What is not there is not logged.
const Label = "s3.logging"

// Layout says how the keys of a bucket's logs are made after the prefix.
type Layout string

const (
	// Simple is the time of delivery and a unique name. It is what "" means, which is kept
	// apart because a client is told what it said.
	Simple Layout = "SimplePrefix"
	// ByEvent puts owner, region, bucket and day in front, as the day of the records.
	ByEvent Layout = "EventTime"
	// ByDelivery is ByEvent with the day of delivery.
	ByDelivery Layout = "DeliveryTime"
)

// Config is where a bucket's logs go.
type Config struct {
	// Bucket is of the same owner, by the name that its clients say.
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix"`
	Layout Layout `json:"layout,omitempty"`
}

// Parse reads a bucket's label; nil is no logs.
func Parse(label string) (*Config, error) {
	if label == "" {
		return nil, nil
	}
	c := &Config{}
	if err := json.Unmarshal([]byte(label), c); err != nil {
		return nil, fmt.Errorf("reading where the access logs of a bucket go: %w", err)
	}
	return c, nil
}

// Encode is the form that is kept.
func (c *Config) Encode() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("accesslog: three texts cannot fail to encode: " + err.Error())
	}
	return string(b)
}

// Source is a bucket whose requests are logged.
type Source struct {
	// Bucket is its name in the store, and Name the one that its clients say.
	Bucket, Name string
	Owner        string
	Residency    storage.Residency
}

// SourceOf is a bucket as a source of records.
func SourceOf(info *storage.BucketInfo) Source {
	return Source{Bucket: info.Name, Name: naming.Name(info.Name), Owner: info.Settings.Labels[iam.LabelOwner], Residency: info.Settings.Residency}
}

// Key names a log that is delivered now and has the records of one day (UTC). unique tells
// it from others of the same second.
func (c *Config) Key(from *Source, region string, day, now time.Time, unique string) string {
	const dashed = "2006-01-02-15-04-05-"
	switch day, now = day.UTC(), now.UTC(); c.Layout {
	case ByEvent:
		day = day.Truncate(24 * time.Hour)
		return c.Prefix + from.partition(region) + day.Format("2006/01/02/"+dashed) + unique
	case ByDelivery:
		return c.Prefix + from.partition(region) + now.Format("2006/01/02/"+dashed) + unique
	}
	return c.Prefix + now.Format(dashed) + unique
}

func (s *Source) partition(region string) string { return s.Owner + "/" + region + "/" + s.Name + "/" }

package lifecycle

import (
	"encoding/xml"
	"errors"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage"
)

func parse(t testing.TB, rules string) *Config {
	t.Helper()
	c := &Config{}
	if err := xml.Unmarshal([]byte("<LifecycleConfiguration>"+rules+"</LifecycleConfiguration>"), c); err != nil {
		t.Fatal(err)
	}
	return c
}

func class(s string) bool { return s == "GLACIER" || s == "STANDARD_IA" }

// rule makes one of all that is enabled.
func rule(rest string) string {
	return "<Rule><Status>Enabled</Status>" + rest + "</Rule>"
}

func TestCheck(t *testing.T) {
	const days = "<Expiration><Days>1</Days></Expiration>"
	for name, c := range map[string]struct {
		rules string
		want  error
	}{
		"prefix":                {rule("<Prefix>a</Prefix>" + days), nil},
		"empty filter":          {rule("<Filter/>" + days), nil},
		"and":                   {rule("<Filter><And><Prefix>a</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>" + days), nil},
		"date":                  {rule("<Filter/><Expiration><Date>2030-01-01T00:00:00.000Z</Date></Expiration>"), nil},
		"marker":                {rule("<Filter/><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), nil},
		"noncurrent":            {rule("<Filter/><NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays><NewerNoncurrentVersions>5</NewerNoncurrentVersions></NoncurrentVersionExpiration>"), nil},
		"abort":                 {rule("<Filter/><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), nil},
		"transition at once":    {rule("<Filter/><Transition><Days>0</Days><StorageClass>GLACIER</StorageClass></Transition>"), nil},
		"none":                  {"", ErrForm},
		"status":                {"<Rule><Status>enabled</Status><Filter/>" + days + "</Rule>", ErrForm},
		"no filter":             {rule(days), ErrForm},
		"filter and prefix":     {rule("<Filter/><Prefix/>" + days), ErrForm},
		"two in a filter":       {rule("<Filter><Prefix>a</Prefix><Tag><Key>k</Key></Tag></Filter>" + days), ErrForm},
		"no action":             {rule("<Filter/>"), ErrConflict},
		"no days":               {rule("<Filter/><Expiration/>"), ErrForm},
		"days 0":                {rule("<Filter/><Expiration><Days>0</Days></Expiration>"), ErrArgument},
		"days and date":         {rule("<Filter/><Expiration><Days>1</Days><Date>2030-01-01</Date></Expiration>"), ErrForm},
		"no date":               {rule("<Filter/><Expiration><Date>20200101</Date></Expiration>"), ErrForm},
		"not midnight":          {rule("<Filter/><Expiration><Date>2030-01-01T01:00:00Z</Date></Expiration>"), ErrArgument},
		"long ID":               {rule("<ID>" + strings.Repeat("x", 256) + "</ID><Filter/>" + days), ErrArgument},
		"same ID":               {rule("<ID>x</ID><Filter/>"+days) + rule("<ID>x</ID><Filter/>"+days), ErrArgument},
		"class":                 {rule("<Filter/><Transition><Days>1</Days><StorageClass>FAST</StorageClass></Transition>"), ErrForm},
		"ends as it moves":      {rule("<Filter/><Expiration><Days>9</Days></Expiration><Transition><Days>9</Days><StorageClass>GLACIER</StorageClass></Transition>"), ErrArgument},
		"transition, no time":   {rule("<Filter/><Transition><StorageClass>GLACIER</StorageClass></Transition>"), ErrForm},
		"noncurrent days 0":     {rule("<Filter/><NoncurrentVersionExpiration><NoncurrentDays>0</NoncurrentDays></NoncurrentVersionExpiration>"), ErrArgument},
		"keep 0":                {rule("<Filter/><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>0</NewerNoncurrentVersions></NoncurrentVersionExpiration>"), ErrArgument},
		"abort by tag":          {rule("<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), ErrConflict},
		"tag twice":             {rule("<Filter><And><Tag><Key>k</Key></Tag><Tag><Key>k</Key></Tag></And></Filter>" + days), ErrConflict},
		"sizes that exclude":    {rule("<Filter><And><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>" + days), ErrConflict},
		"more than are taken":   {strings.Repeat(rule("<Filter/>"+days), RulesMax+1), ErrForm},
		"marker by tag":         {rule("<Filter><Tag><Key>k</Key></Tag></Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), ErrConflict},
		"noncurrent transition": {rule("<Filter/><NoncurrentVersionTransition><StorageClass>GLACIER</StorageClass></NoncurrentVersionTransition>"), ErrArgument},
	} {
		t.Run(name, func(t *testing.T) {
			conf := parse(t, c.rules)
			err := conf.Check(class, func() string { return "made" })
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				return
			}
			if conf.Rules[0].ID != "made" {
				t.Errorf("a rule without an ID has %q", conf.Rules[0].ID)
			}
			back, err := Parse(storage.Settings{Labels: map[string]string{Label: conf.Encode()}})
			if err != nil || back.Encode() != conf.Encode() {
				t.Errorf("kept as %s, %v", back.Encode(), err)
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	made := time.Date(2026, 5, 1, 13, 0, 0, 0, time.UTC)
	c := parse(t, rule("<ID>a</ID><Prefix>a</Prefix><Expiration><Days>2</Days></Expiration>")+
		rule("<ID>b</ID><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Expiration><Date>2026-05-02</Date></Expiration>"))
	for _, v := range []struct {
		info storage.Info
		id   string
		at   time.Time
	}{
		{storage.Info{Key: "abc", Modified: made}, "a", time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)},
		{storage.Info{Key: "abc", Modified: made, Meta: storage.Meta{Tags: map[string]string{"k": "v"}}}, "b", time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC)},
		{storage.Info{Key: "b", Modified: made}, "", time.Time{}},
	} {
		at, id, ok := c.Expiry(&v.info)
		if id != v.id || !at.Equal(v.at) || ok != (v.id != "") {
			t.Errorf("%s: %s, %s, %v", v.info.Key, at, id, ok)
		}
	}
	if _, _, ok := (*Config)(nil).Expiry(&storage.Info{}); ok {
		t.Error("no rules end an object")
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("<LifecycleConfiguration>" + rule("<Filter><And><Prefix>a</Prefix><Tag><Key>k</Key></Tag></And></Filter><Expiration><Date>2030-01-01</Date></Expiration><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>") + "</LifecycleConfiguration>")
	f.Add("<LifecycleConfiguration>" + rule("<Prefix/><NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays><StorageClass>GLACIER</StorageClass></NoncurrentVersionTransition><AbortIncompleteMultipartUpload/>") + "</LifecycleConfiguration>")
	f.Fuzz(func(t *testing.T, s string) {
		c := &Config{}
		if xml.Unmarshal([]byte(s), c) != nil || c.Check(class, func() string { return "made" }) != nil {
			return
		}
		back, err := Parse(storage.Settings{Labels: map[string]string{Label: c.Encode()}})
		if err != nil {
			t.Fatal(err)
		}
		v := Version{Info: &storage.Info{Key: "k", Latest: true}}
		a, to := c.Due(v, time.Unix(1<<32, 0), Day)
		if b, other := back.Due(v, time.Unix(1<<32, 0), Day); a != b || to != other {
			t.Errorf("due is %v %s, and after it was kept %v %s", a, to, b, other)
		}
	})
}

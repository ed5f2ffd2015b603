package s3

import (
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage/lifecycle"
)

func TestSettings(t *testing.T) {
	w := sealedWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	for param, c := range map[string]struct {
		none string // the code where there is none; "" where there is always an answer
		good string
		kept string // what must be in the answer
		bad  string
		code string
		not  string // what is not implemented
	}{
		"website": {"NoSuchWebsiteConfiguration",
			"<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>a&amp;b</Key></ErrorDocument></WebsiteConfiguration>",
			"<ErrorDocument><Key>a&amp;b</Key></ErrorDocument>",
			"<WebsiteConfiguration><IndexDocument><Suffix>a/b</Suffix></IndexDocument></WebsiteConfiguration>", "InvalidArgument", ""},
		"encryption": {"ServerSideEncryptionConfigurationNotFoundError",
			`<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`,
			"<SSEAlgorithm>AES256</SSEAlgorithm>", "<ServerSideEncryptionConfiguration/>", "MalformedXML", ""},
		"lifecycle": {"NoSuchLifecycleConfiguration",
			"<LifecycleConfiguration><Rule><ID>r</ID><Filter><Prefix>a</Prefix></Filter><Status>Enabled</Status><Expiration><Days>5</Days></Expiration></Rule></LifecycleConfiguration>",
			"<Rule><ID>r</ID><Filter><Prefix>a</Prefix></Filter><Status>Enabled</Status><Expiration><Days>5</Days></Expiration></Rule>",
			"<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status><Expiration><Days>0</Days></Expiration></Rule></LifecycleConfiguration>", "InvalidArgument", ""},
		"notification":   {"", "<NotificationConfiguration/>", "<NotificationConfiguration", "<x", "MalformedXML", "<NotificationConfiguration><QueueConfiguration/></NotificationConfiguration>"},
		"logging":        {"", "<BucketLoggingStatus/>", "<BucketLoggingStatus", "<x", "MalformedXML", "<BucketLoggingStatus><LoggingEnabled><TargetBucket>box</TargetBucket><TargetPrefix/></LoggingEnabled></BucketLoggingStatus>"},
		"requestPayment": {"", "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>", "<Payer>BucketOwner</Payer>", "<RequestPaymentConfiguration/>", "MalformedXML", "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>"},
	} {
		t.Run(param, func(t *testing.T) {
			path := "/box?" + param
			if c.none != "" {
				w.want(w.main("GET", path, ""), 404, c.none)
			}
			w.want(w.main("PUT", path, c.bad), 400, c.code)
			w.want(w.as("ALT", "PUT", path, []byte(c.good), nil), 403, "AccessDenied")
			w.ok(w.main("PUT", path, c.good))
			if r := w.ok(w.main("GET", path, "")); !strings.Contains(string(r.body), c.kept) || strings.Count(string(r.body), "xmlns=") != 1 {
				t.Errorf("got %s", r.body)
			}
			if c.not != "" {
				w.want(w.main("PUT", path, c.not), 501, "NotImplemented")
			}
			if c.none != "" {
				w.want(w.main("DELETE", path, ""), 204, "")
				w.want(w.main("GET", path, ""), 404, c.none)
			}
		})
	}
}

// TestUnused: of what means nothing here, a bucket has none, and cannot be given any.
func TestUnused(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	for param, root := range unusedLists {
		if r := w.ok(w.main("GET", "/box?"+param, "")); !strings.Contains(string(r.body), "<"+root) || !strings.Contains(string(r.body), "<IsTruncated>false<") {
			t.Errorf("%s: %s", param, r.body)
		}
		w.want(w.main("GET", "/box?id=a&"+param, ""), 404, "NoSuchConfiguration")
		w.want(w.main("DELETE", "/box?id=a&"+param, ""), 404, "NoSuchConfiguration")
		w.want(w.main("PUT", "/box?id=a&"+param, "<x/>"), 501, "NotImplemented")
		w.want(w.as("ALT", "GET", "/box?"+param, nil, nil), 403, "AccessDenied")
	}
	w.want(w.main("GET", "/box?replication", ""), 404, "ReplicationConfigurationNotFoundError")
	w.want(w.main("DELETE", "/box?replication", ""), 204, "")
	w.want(w.main("PUT", "/box?replication", "<x/>"), 501, "NotImplemented")
	w.ok(w.main("GET", "/box?accelerate", ""))
	w.want(w.main("PUT", "/box?accelerate", "<x/>"), 501, "NotImplemented")
	w.want(w.main("PUT", "/new?metadataTable", "<x/>"), 501, "NotImplemented")
	w.want(w.main("HEAD", "/new", ""), 404, "")
}

func TestExpirationHeader(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	w.ok(w.main("PUT", "/box?lifecycle", "<LifecycleConfiguration><Rule><ID>r</ID><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Status>Enabled</Status><Expiration><Days>5</Days></Expiration></Rule></LifecycleConfiguration>"))
	for _, r := range []*reply{w.main("PUT", "/box/k", "x", "x-amz-tagging", "k=v"), w.main("HEAD", "/box/k", ""), w.main("GET", "/box/k", "")} {
		if h := w.ok(r).Header.Get("X-Amz-Expiration"); !strings.HasPrefix(h, `expiry-date="`) || !strings.HasSuffix(h, ` GMT", rule-id="r"`) {
			t.Errorf("%s: %q", r.Request.Method, h)
		}
	}
	if h := w.ok(w.main("PUT", "/box/other", "x")).Header.Get("X-Amz-Expiration"); h != "" {
		t.Errorf("without the tag: %q", h)
	}
	for _, p := range []string{"torrent", "restore"} {
		w.want(w.main("GET", "/box/k?"+p, ""), 501, "NotImplemented")
	}
}

// TestTransition is a rule that is carried out, as a client sees it.
func TestTransition(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	w.ok(w.main("PUT", "/box/k", "x"))
	w.ok(w.main("PUT", "/box?lifecycle", "<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>"))
	r, err := lifecycle.New(lifecycle.Options{Store: w.store, Move: Reclass})
	if err != nil {
		t.Fatal(err)
	}
	for _, days := range []int{0, 3, 3} {
		if err := r.Pass(t.Context(), time.Now().AddDate(0, 0, days)); err != nil {
			t.Fatal(err)
		}
		want := ""
		if days > 0 {
			want = "GLACIER"
		}
		if got := w.ok(w.main("GET", "/box/k", "")).Header.Get("X-Amz-Storage-Class"); got != want {
			t.Errorf("after %d days the class is %q", days, got)
		}
	}
	if c := r.Counts(); c.Moved != 1 || c.Failed != 0 {
		t.Errorf("counts are %+v", c)
	}
}

// FuzzBodies takes the bodies of all settings apart: none may panic, and what passes the
// checks must come back from what is kept.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{
		aclBody("main", "ID=alt:READ"), tagBody("a", "b"), corsBody(corsRuleOf("GET", "*", "<AllowedHeader>x</AllowedHeader>")),
		lockRule("GOVERNANCE", "<Days>1</Days>"), "<WebsiteConfiguration><RoutingRules><RoutingRule><Redirect/></RoutingRule></RoutingRules></WebsiteConfiguration>",
		"<ServerSideEncryptionConfiguration><Rule><BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var acl aclXML
		_ = xml.Unmarshal(b, &acl)
		var tags taggingXML
		if xml.Unmarshal(b, &tags) == nil {
			if got, err := tags.tags(objectTagsMax); err == nil && len(got) > objectTagsMax {
				t.Errorf("%d tags", len(got))
			}
		}
		var c corsXML
		if xml.Unmarshal(b, &c) == nil {
			for i := range c.Rules {
				if c.Rules[i].wrong() == "" {
					c.Rules[i].allows("o", "GET", []string{"h"})
				}
			}
		}
		var l lockXML
		if xml.Unmarshal(b, &l) == nil {
			if conf, err := l.config(); err == nil && conf.Mode != "" && (conf.Days > 0) == (conf.Years > 0) {
				t.Errorf("a rule of %d days and %d years", conf.Days, conf.Years)
			}
		}
		for _, v := range []any{&websiteXML{}, &encryptionXML{}} {
			if xml.Unmarshal(b, v) != nil {
				continue
			}
			if _, err := xml.Marshal(v); err != nil {
				t.Errorf("%T cannot be written: %v", v, err)
			}
		}
	})
}

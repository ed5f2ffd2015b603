package s3

import (
	"encoding/xml"
	"strings"
	"testing"
	"time"
)

func retain(mode string, until time.Time) string {
	return "<Retention><Mode>" + mode + "</Mode><RetainUntilDate>" + until.UTC().Format(time.RFC3339) + "</RetainUntilDate></Retention>"
}

func lockBody(rest string) string {
	return "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>" + rest + "</ObjectLockConfiguration>"
}

func lockRule(mode, period string) string {
	return lockBody("<Rule><DefaultRetention><Mode>" + mode + "</Mode>" + period + "</DefaultRetention></Rule>")
}

func TestLockConfiguration(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", "", "x-amz-bucket-object-lock-enabled", "true"))
	w.ok(w.main("GET", "/box?object-lock", ""))
	rule := lockRule("GOVERNANCE", "<Days>1</Days>")
	w.ok(w.main("PUT", "/box?object-lock", rule))
	if r := w.ok(w.main("GET", "/box?object-lock", "")); !strings.Contains(string(r.body), "<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days>") {
		t.Errorf("got %s", r.body)
	}
	if r := w.ok(w.main("GET", "/box?versioning", "")); !strings.Contains(string(r.body), "Enabled") {
		t.Errorf("got %s", r.body)
	}
	suspend := "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
	w.want(w.main("PUT", "/box?versioning", suspend), 409, "InvalidBucketState")
	for name, c := range map[string]struct{ body, code string }{
		"mode":     {lockRule("governance", "<Days>1</Days>"), "MalformedXML"},
		"both":     {lockRule("GOVERNANCE", "<Days>1</Days><Years>1</Years>"), "MalformedXML"},
		"neither":  {lockRule("GOVERNANCE", ""), "MalformedXML"},
		"days":     {lockRule("GOVERNANCE", "<Days>0</Days>"), "InvalidRetentionPeriod"},
		"years":    {lockRule("GOVERNANCE", "<Years>-1</Years>"), "InvalidRetentionPeriod"},
		"disabled": {strings.Replace(rule, "Enabled", "Disabled", 1), "MalformedXML"},
	} {
		t.Run(name, func(t *testing.T) { w.want(w.main("PUT", "/box?object-lock", c.body), 400, c.code) })
	}

	w.ok(w.main("PUT", "/plain", ""))
	w.want(w.main("GET", "/plain?object-lock", ""), 404, "ObjectLockConfigurationNotFoundError")
	w.want(w.main("PUT", "/plain?object-lock", rule), 409, "InvalidBucketState")
	w.ok(w.main("PUT", "/plain?versioning", suspend))
	w.want(w.main("PUT", "/plain?object-lock", rule), 409, "InvalidBucketState")
	w.ok(w.main("PUT", "/plain?versioning", strings.Replace(suspend, "Suspended", "Enabled", 1)))
	w.ok(w.main("PUT", "/plain?object-lock", rule))
}

func TestRetention(t *testing.T) {
	w := newWorld(t)
	in := func(d time.Duration) time.Time { return time.Now().Add(d) }
	bypass := []string{"x-amz-bypass-governance-retention", "true"}
	w.ok(w.main("PUT", "/plain", ""))
	w.ok(w.main("PUT", "/plain/k", "x"))
	w.want(w.main("PUT", "/plain/k?retention", retain("GOVERNANCE", in(time.Hour))), 400, "InvalidRequest")
	w.want(w.main("GET", "/plain/k?retention", ""), 400, "InvalidRequest")
	w.want(w.main("PUT", "/plain/k?legal-hold", "<LegalHold><Status>ON</Status></LegalHold>"), 400, "InvalidRequest")
	w.want(w.main("PUT", "/plain/k", "x", "x-amz-object-lock-legal-hold", "ON"), 400, "InvalidRequest")

	w.ok(w.main("PUT", "/box", "", "x-amz-bucket-object-lock-enabled", "true"))
	id := w.ok(w.main("PUT", "/box/k", "x")).Header.Get("X-Amz-Version-Id")
	w.want(w.main("GET", "/box/k?retention", ""), 404, "NoSuchObjectLockConfiguration")
	w.want(w.main("PUT", "/box/k?retention", retain("governance", in(time.Hour))), 400, "MalformedXML")
	w.want(w.main("PUT", "/box/k?retention", retain("GOVERNANCE", in(-time.Hour))), 400, "InvalidArgument")
	w.ok(w.main("PUT", "/box/k?retention", retain("GOVERNANCE", in(2*time.Hour))))
	w.ok(w.main("PUT", "/box/k?retention&versionId="+id, retain("GOVERNANCE", in(3*time.Hour))))
	w.want(w.main("PUT", "/box/k?retention", retain("GOVERNANCE", in(time.Hour))), 403, "AccessDenied")
	w.want(w.main("PUT", "/box/k?retention", retain("COMPLIANCE", in(4*time.Hour))), 403, "AccessDenied")
	w.ok(w.main("PUT", "/box/k?retention", retain("GOVERNANCE", in(time.Hour)), bypass...))
	r := w.ok(w.main("HEAD", "/box/k", ""))
	if m := r.Header.Get("X-Amz-Object-Lock-Mode"); m != "GOVERNANCE" || r.Header.Get("X-Amz-Object-Lock-Retain-Until-Date") == "" {
		t.Errorf("mode %q", m)
	}

	version := "/box/k?versionId=" + id
	w.want(w.main("DELETE", version, ""), 403, "AccessDenied")
	marker := w.want(w.main("DELETE", "/box/k", ""), 204, "").Header.Get("X-Amz-Version-Id")
	w.want(w.main("DELETE", "/box/k?versionId="+marker, ""), 204, "")
	several := "<Delete><Object><Key>k</Key><VersionId>" + id + "</VersionId></Object></Delete>"
	if r := w.ok(w.main("POST", "/box?delete", several)); !strings.Contains(string(r.body), "<Code>AccessDenied</Code>") {
		t.Errorf("got %s", r.body)
	}
	// who may delete may not for that bypass
	w.ok(w.main("PUT", "/box?policy", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"alt"},"Action":"s3:DeleteObjectVersion","Resource":"arn:aws:s3:::box/*"}}`))
	w.want(w.as("ALT", "DELETE", version, nil, bypass), 403, "AccessDenied")
	w.want(w.main("DELETE", version, "", bypass...), 204, "")

	id = w.ok(w.main("PUT", "/box/c", "x", "x-amz-object-lock-mode", "COMPLIANCE", "x-amz-object-lock-retain-until-date", in(time.Hour).UTC().Format(time.RFC3339))).Header.Get("X-Amz-Version-Id")
	w.want(w.main("DELETE", "/box/c?versionId="+id, "", bypass...), 403, "AccessDenied")
	w.want(w.main("PUT", "/box/c?retention", retain("GOVERNANCE", in(2*time.Hour)), bypass...), 403, "AccessDenied")
	w.want(w.main("PUT", "/box/half", "x", "x-amz-object-lock-mode", "COMPLIANCE"), 400, "InvalidArgument")
}

func TestLegalHold(t *testing.T) {
	w := newWorld(t)
	hold := func(s string) string { return "<LegalHold><Status>" + s + "</Status></LegalHold>" }
	w.ok(w.main("PUT", "/box", "", "x-amz-bucket-object-lock-enabled", "true"))
	id := w.ok(w.main("PUT", "/box/k", "x", "x-amz-object-lock-legal-hold", "ON")).Header.Get("X-Amz-Version-Id")
	if r := w.ok(w.main("GET", "/box/k?legal-hold", "")); !strings.Contains(string(r.body), "<Status>ON</Status>") {
		t.Errorf("got %s", r.body)
	}
	if got := w.ok(w.main("HEAD", "/box/k", "")).Header.Get("X-Amz-Object-Lock-Legal-Hold"); got != "ON" {
		t.Errorf("got %q", got)
	}
	w.want(w.main("DELETE", "/box/k?versionId="+id, "", "x-amz-bypass-governance-retention", "true"), 403, "AccessDenied")
	w.want(w.main("PUT", "/box/k?legal-hold", hold("abc")), 400, "MalformedXML")
	w.ok(w.main("PUT", "/box/k?legal-hold", hold("OFF")))
	w.want(w.main("DELETE", "/box/k?versionId="+id, ""), 204, "")
}

func TestDefaultRetention(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", "", "x-amz-bucket-object-lock-enabled", "true"))
	w.ok(w.main("PUT", "/box?object-lock", lockRule("GOVERNANCE", "<Years>1</Years>")))
	w.ok(w.main("PUT", "/box/k", "x"))
	w.ok(w.main("PUT", "/box/copy", "", "x-amz-copy-source", "/box/k"))
	var u struct{ UploadId string }
	if err := xml.Unmarshal(w.ok(w.main("POST", "/box/parts?uploads", "", "x-amz-object-lock-legal-hold", "OFF")).body, &u); err != nil {
		t.Fatal(err)
	}
	tag := w.ok(w.main("PUT", "/box/parts?partNumber=1&uploadId="+u.UploadId, "x")).Header.Get("Etag")
	w.ok(w.main("POST", "/box/parts?uploadId="+u.UploadId, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"+tag+"</ETag></Part></CompleteMultipartUpload>"))
	if got := w.ok(w.main("HEAD", "/box/parts", "")).Header.Get("X-Amz-Object-Lock-Legal-Hold"); got != "OFF" {
		t.Errorf("the hold is %q", got)
	}
	for _, key := range []string{"/box/k", "/box/copy", "/box/parts"} {
		got, err := time.Parse(time.RFC3339Nano, w.ok(w.main("HEAD", key, "")).Header.Get("X-Amz-Object-Lock-Retain-Until-Date"))
		if d := time.Until(got.AddDate(-1, 0, 0)); err != nil || d.Abs() > time.Minute {
			t.Errorf("%s is kept until %s, %v", key, got, err)
		}
	}
}

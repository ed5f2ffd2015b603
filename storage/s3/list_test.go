package s3

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type page struct {
	Name, Prefix, Marker, NextMarker, Delimiter, EncodingType string
	ContinuationToken, NextContinuationToken, StartAfter      string
	KeyMarker, VersionIdMarker, NextKeyMarker                 string
	NextVersionIdMarker                                       string
	MaxKeys, KeyCount                                         int
	IsTruncated                                               bool
	Contents                                                  []listed
	Version, DeleteMarker                                     []listed
	CommonPrefixes                                            []struct{ Prefix string }
}

type listed struct {
	Key, ETag, LastModified, StorageClass, VersionId string
	Size                                             int
	IsLatest                                         bool
	Owner                                            *struct{ ID, DisplayName string }
}

// list asks for a page.
func (w *world) list(query string) page {
	w.t.Helper()
	var p page
	if err := xml.Unmarshal(w.ok(w.main("GET", "/data?"+query, "")).body, &p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// names are keys and prefixes of a page.
func (p page) names() (keys, prefixes string) {
	var k, f []string
	for _, o := range p.Contents {
		k = append(k, o.Key)
	}
	for _, c := range p.CommonPrefixes {
		f = append(f, c.Prefix)
	}
	return strings.Join(k, " "), strings.Join(f, " ")
}

func (w *world) fill(keys ...string) {
	w.t.Helper()
	for _, k := range keys {
		w.ok(w.main("PUT", "/data/"+escapeKey(k), k))
	}
}

func TestList(t *testing.T) {
	w := bucketed(t)
	w.fill("asdf", "boo/bar", "boo/baz/xyzzy", "cquux/thud", "cquux/bla", "foo%bar", "foo bar")
	for _, c := range []struct {
		query, keys, prefixes string
		more                  bool
	}{
		{"", "asdf boo/bar boo/baz/xyzzy cquux/bla cquux/thud foo bar foo%bar", "", false},
		{"delimiter=/", "asdf foo bar foo%bar", "boo/ cquux/", false},
		{"delimiter=/&prefix=boo/", "boo/bar", "boo/baz/", false},
		{"prefix=boo", "boo/bar boo/baz/xyzzy", "", false},
		{"prefix=x", "", "", false},
		{"delimiter=a", "cquux/thud", "a boo/ba cquux/bla foo ba foo%ba", false},
		{"delimiter=%25", "asdf boo/bar boo/baz/xyzzy cquux/bla cquux/thud foo bar", "foo%", false},
		{"delimiter=%20", "asdf boo/bar boo/baz/xyzzy cquux/bla cquux/thud foo%bar", "foo ", false},
		{"delimiter=%0a", "asdf boo/bar boo/baz/xyzzy cquux/bla cquux/thud foo bar foo%bar", "", false},
		{"delimiter=", "asdf boo/bar boo/baz/xyzzy cquux/bla cquux/thud foo bar foo%bar", "", false},
		{"max-keys=2", "asdf boo/bar", "", true},
		{"max-keys=0", "", "", false},
		{"max-keys=2&delimiter=/", "asdf", "boo/", true},
		{"allow-unordered=true&prefix=foo", "foo bar foo%bar", "", false},
	} {
		for _, v := range []string{"", "list-type=2&"} {
			p := w.list(v + c.query)
			keys, prefixes := p.names()
			if keys != c.keys || prefixes != c.prefixes || p.IsTruncated != c.more {
				t.Errorf("%s%s: %q, %q, more %v", v, c.query, keys, prefixes, p.IsTruncated)
			}
			if v != "" && p.KeyCount != len(p.Contents)+len(p.CommonPrefixes) {
				t.Errorf("%s: KeyCount %d", c.query, p.KeyCount)
			}
		}
	}
	p := w.list("")
	if o := p.Contents[0]; o.ETag != etag("asdf") || o.Size != 4 || o.StorageClass != "STANDARD" || o.Owner == nil || o.Owner.ID != "main" || o.Owner.DisplayName != "Main" || p.MaxKeys != 1000 {
		t.Errorf("entry %+v of %+v", o, p)
	}
	if p := w.list("list-type=2"); p.Contents[0].Owner != nil {
		t.Error("an owner that was not asked for")
	}
	if p := w.list("list-type=2&fetch-owner=true"); p.Contents[0].Owner == nil {
		t.Error("no owner")
	}
	for query, code := range map[string]string{
		"max-keys=blah": "InvalidArgument", "max-keys=-1": "InvalidArgument", "max-keys=9999999999": "InvalidArgument", "encoding-type=base64": "InvalidArgument",
		"list-type=3": "InvalidArgument", "list-type=2&continuation-token=!": "InvalidArgument", "allow-unordered=true&delimiter=/": "InvalidArgument",
	} {
		w.want(w.main("GET", "/data?"+query, ""), 400, code)
	}
	w.want(w.as("", "GET", "/data", nil, nil), 403, "AccessDenied")
}

// TestListPages goes through listings by every size of page, forward by each version's
// own means.
func TestListPages(t *testing.T) {
	w := bucketed(t)
	w.fill("a", "b/1", "b/2", "b/3", "c", "d/1", "e")
	const want = "a b/ c d/ e"
	for size := 1; size <= 6; size++ {
		for _, form := range []string{"", "list-type=2&"} {
			var got []string
			next := ""
			for range 10 {
				p := w.list(fmt.Sprintf("%sdelimiter=/&max-keys=%d%s", form, size, next))
				keys, prefixes := p.names()
				got = append(got, strings.Fields(keys)...)
				got = append(got, strings.Fields(prefixes)...)
				if !p.IsTruncated {
					break
				}
				if form == "" {
					next = "&marker=" + url.QueryEscape(p.NextMarker)
				} else {
					next = "&continuation-token=" + url.QueryEscape(p.NextContinuationToken)
				}
			}
			sorted := strings.Fields(strings.Join(got, " "))
			for i := 1; i < len(sorted); i++ {
				for j := i; j > 0 && sorted[j] < sorted[j-1]; j-- {
					sorted[j], sorted[j-1] = sorted[j-1], sorted[j]
				}
			}
			if s := strings.Join(sorted, " "); s != want {
				t.Errorf("%q in pages of %d: %s", form, size, s)
			}
		}
	}
	for query, want := range map[string]string{
		"marker=b/2": "b/3 c d/1 e", "marker=x": "", "marker=%0a": "a b/1 b/2 b/3 c d/1 e", "list-type=2&start-after=b": "b/1 b/2 b/3 c d/1 e",
	} {
		if keys, _ := w.list(query).names(); keys != want {
			t.Errorf("%s: %q", query, keys)
		}
	}
}

func TestListEncoding(t *testing.T) {
	w := bucketed(t)
	w.fill("foo+1/bar", "foo/bar/xyzzy", "quux ab/thud", "asdf+b", "bell\x07")
	p := w.list("encoding-type=url&delimiter=/")
	keys, prefixes := p.names()
	if keys != "asdf%2Bb bell%07" || prefixes != "foo%2B1/ foo/ quux%20ab/" || p.EncodingType != "url" {
		t.Errorf("%q, %q, %q", keys, prefixes, p.EncodingType)
	}
	// Without, what XML cannot hold is replaced, and the answer can be read.
	if keys, _ := w.list("prefix=bell").names(); keys != "bell\uFFFD" {
		t.Errorf("%q", keys)
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a<b>&\"'\x00\xff\t\n\r\uFFFE é")
	f.Fuzz(func(t *testing.T, s string) {
		x := newXML()
		defer x.free()
		x.text("T", s)
		var got string
		if err := xml.Unmarshal(x.b.Bytes(), &got); err != nil {
			t.Fatalf("%q: %v: %q", s, err, x.b.Bytes())
		}
		want := strings.Map(func(r rune) rune {
			if r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 {
				return r
			}
			return '\uFFFD'
		}, strings.ToValidUTF8(s, "\uFFFD"))
		if one := func(s string) string { // a run of bad bytes may be one or several
			for strings.Contains(s, "\uFFFD\uFFFD") {
				s = strings.ReplaceAll(s, "\uFFFD\uFFFD", "\uFFFD")
			}
			return s
		}; one(got) != one(want) {
			t.Errorf("%q became %q, want %q", s, got, want)
		}
	})
}

func TestVersions(t *testing.T) {
	w := bucketed(t)
	status := func() string {
		var v struct{ Status string }
		if err := xml.Unmarshal(w.ok(w.main("GET", "/data?versioning", "")).body, &v); err != nil {
			t.Fatal(err)
		}
		return v.Status
	}
	set := func(s string) {
		w.ok(w.main("PUT", "/data?versioning", "<VersioningConfiguration><Status>"+s+"</Status></VersioningConfiguration>"))
		if got := status(); got != s {
			t.Errorf("status %q, want %q", got, s)
		}
	}
	if got := status(); got != "" {
		t.Errorf("a new bucket is %q", got)
	}
	w.want(w.main("PUT", "/data?versioning", "<VersioningConfiguration><Status>On</Status></VersioningConfiguration>"), 400, "IllegalVersioningConfigurationException")
	w.want(w.main("PUT", "/data?versioning", "<Versioning"), 400, "MalformedXML")
	put := func(body string) string {
		return w.ok(w.main("PUT", "/data/k", body)).Header.Get("X-Amz-Version-Id")
	}
	if v := put("null"); v != "" {
		t.Errorf("a version %q without versioning", v)
	}
	set("Enabled")
	one, two := put("1"), put("2")
	for v, body := range map[string]string{"null": "null", one: "1", two: "2", "": "2"} {
		path := "/data/k"
		if v != "" {
			path += "?versionId=" + v
		}
		r := w.ok(w.main("GET", path, ""))
		if string(r.body) != body || v != "" && r.Header.Get("X-Amz-Version-Id") != v {
			t.Errorf("version %q: %q, %s", v, r.body, r.Header.Get("X-Amz-Version-Id"))
		}
	}
	w.want(w.main("GET", "/data/k?versionId=", ""), 400, "InvalidArgument")
	w.want(w.main("GET", "/data/k?versionId=ffffffffffffffff", ""), 404, "NoSuchVersion")
	d := w.want(w.main("DELETE", "/data/k", ""), 204, "")
	marker := d.Header.Get("X-Amz-Version-Id")
	if d.Header.Get("X-Amz-Delete-Marker") != "true" || marker == "" {
		t.Errorf("delete: %v", d.Header)
	}
	r := w.want(w.main("GET", "/data/k", ""), 404, "NoSuchKey")
	if r.Header.Get("X-Amz-Delete-Marker") != "true" || r.Header.Get("X-Amz-Version-Id") != marker {
		t.Errorf("of a deleted object: %v", r.Header)
	}
	r = w.want(w.main("GET", "/data/k?versionId="+marker, ""), 405, "MethodNotAllowed")
	if r.Header.Get("X-Amz-Delete-Marker") != "true" || r.Header.Get("Allow") != "DELETE" || r.Header.Get("Last-Modified") == "" {
		t.Errorf("of a delete marker: %v", r.Header)
	}
	d = w.want(w.main("DELETE", "/data/k?versionId="+marker, ""), 204, "")
	if d.Header.Get("X-Amz-Delete-Marker") != "true" || d.Header.Get("X-Amz-Version-Id") != marker {
		t.Errorf("deleting a marker: %v", d.Header)
	}
	if got := w.ok(w.main("GET", "/data/k", "")); string(got.body) != "2" {
		t.Errorf("undeleted: %q", got.body)
	}
	set("Suspended")
	if v := put("3"); v != "" {
		t.Errorf("suspended: version %q", v)
	}
	if v := w.ok(w.main("HEAD", "/data/k", "")).Header.Get("X-Amz-Version-Id"); v != "null" {
		t.Errorf("suspended: version %q", v)
	}
	p := w.list("versions")
	var got []string
	for _, v := range p.Version {
		got = append(got, fmt.Sprintf("%s %v %d", v.VersionId, v.IsLatest, v.Size))
	}
	if diff := cmp.Diff([]string{"null true 1", two + " false 1", one + " false 1"}, got); diff != "" {
		t.Error(diff)
	}
	for _, v := range []string{"null", two, one, "0000", one} {
		w.want(w.main("DELETE", "/data/k?versionId="+v, ""), 204, "")
	}
	if p := w.list("versions"); len(p.Version)+len(p.DeleteMarker) != 0 {
		t.Errorf("left: %+v", p)
	}
}

func TestVersionPages(t *testing.T) {
	w := bucketed(t)
	w.ok(w.main("PUT", "/data?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"))
	for range 3 {
		w.fill("a", "b", "dir/c")
	}
	w.want(w.main("DELETE", "/data/a", ""), 204, "")
	count := func(query string) (keys int, folded int) {
		next := ""
		for range 30 {
			p := w.list("versions&" + query + next)
			keys += len(p.Version) + len(p.DeleteMarker)
			folded += len(p.CommonPrefixes)
			if !p.IsTruncated {
				return keys, folded
			}
			next = "&key-marker=" + url.QueryEscape(p.NextKeyMarker)
			if p.NextVersionIdMarker != "" {
				next += "&version-id-marker=" + url.QueryEscape(p.NextVersionIdMarker)
			}
		}
		t.Fatalf("%s: no end", query)
		return 0, 0
	}
	for size := 1; size <= 11; size++ {
		if k, f := count(fmt.Sprintf("max-keys=%d", size)); k != 10 || f != 0 {
			t.Errorf("pages of %d: %d, %d", size, k, f)
		}
		if k, f := count(fmt.Sprintf("delimiter=/&max-keys=%d", size)); k != 7 || f != 1 {
			t.Errorf("folded pages of %d: %d, %d", size, k, f)
		}
	}
	w.want(w.main("GET", "/data?versions&version-id-marker=x", ""), 400, "InvalidArgument")
}

func TestDeleteObjects(t *testing.T) {
	w := bucketed(t)
	w.fill("a", "b", "c/d", "e&f")
	w.ok(w.main("PUT", "/data/public", "x", "X-Amz-Acl", "public-read-write"))
	body := "<Delete xmlns='" + xmlns + "'><Object><Key>a</Key></Object><Object><Key>missing</Key></Object><Object><Key>e&amp;f</Key></Object>" +
		"<Object><Key>b</Key><ETag>wrong</ETag></Object></Delete>"
	var got struct {
		Deleted []struct{ Key string }
		Error   []struct{ Key, Code string }
	}
	if err := xml.Unmarshal(w.ok(w.main("POST", "/data?delete", body)).body, &got); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "{[{a} {missing} {e&f}] [{b PreconditionFailed}]}" {
		t.Error(got)
	}
	r := w.ok(w.main("POST", "/data?delete", "<Delete><Quiet>true</Quiet><Object><Key>b</Key></Object></Delete>"))
	if strings.Contains(string(r.body), "Deleted") {
		t.Errorf("quiet: %s", r.body)
	}
	if keys, _ := w.list("").names(); keys != "c/d public" {
		t.Errorf("left: %s", keys)
	}
	many := "<Delete>" + strings.Repeat("<Object><Key>k</Key></Object>", deletesMax+1) + "</Delete>"
	w.want(w.main("POST", "/data?delete", many), 400, "MalformedXML")
	w.want(w.main("POST", "/data?delete", "<Delete></Delete>"), 400, "MalformedXML")
	w.want(w.main("POST", "/data?delete", "<Delete><Object><Key>a</Key></Object><Object><Key></Key></Object></Delete>"), 400, "UserKeyMustBeSpecified")
	w.want(w.main("POST", "/data?delete", "<Delete>"+strings.Repeat(" ", xmlBytesMax)), 400, "MaxMessageLengthExceeded")
	w.want(w.main("POST", "/data?delete", body, "Content-MD5", md5Base64("other")), 400, "BadDigest")
}

// children are the names of elements at a depth, in their order; what repeats counts once.
func children(t *testing.T, body []byte, depth int) string {
	t.Helper()
	var out []string
	d := xml.NewDecoder(bytes.NewReader(body))
	for at := 0; ; {
		token, err := d.Token()
		if err == io.EOF {
			return strings.Join(out, " ")
		}
		if err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		switch e := token.(type) {
		case xml.StartElement:
			if at == depth && !slices.Contains(out, e.Name.Local) {
				out = append(out, e.Name.Local)
			}
			at++
		case xml.EndElement:
			at--
		}
	}
}

// TestOrder: elements come in the order of S3's, which clients with schemas insist on.
func TestOrder(t *testing.T) {
	w := bucketed(t)
	for _, k := range []string{"a/b", "c", "d", "f"} {
		w.ok(w.main("PUT", "/data/"+k, k))
	}
	w.ok(w.main("PUT", "/data?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"))
	w.want(w.main("DELETE", "/data/c", ""), 204, "")
	id := w.begin("e")
	w.ok(w.part("e", id, 1, []byte("x")))
	const of = "Key LastModified ETag Size Owner StorageClass"
	for path, want := range map[string][2]string{
		"?max-keys=2&delimiter=/&encoding-type=url": {"Name Prefix Marker NextMarker MaxKeys Delimiter EncodingType IsTruncated Contents CommonPrefixes", of + " Prefix"},
		"?list-type=2&max-keys=2&delimiter=/&start-after=a&fetch-owner=true": {
			"Name Prefix NextContinuationToken StartAfter KeyCount MaxKeys Delimiter IsTruncated Contents CommonPrefixes", of + " Prefix"},
		"?list-type=2&continuation-token=YQ==": {"Name Prefix ContinuationToken KeyCount MaxKeys IsTruncated Contents", "Key LastModified ETag Size StorageClass"},
		"?versions&max-keys=2&prefix=c": {
			"Name Prefix KeyMarker VersionIdMarker MaxKeys IsTruncated DeleteMarker Version", "Key VersionId IsLatest LastModified Owner ETag Size StorageClass"},
		"?versions&max-keys=1": {
			"Name Prefix KeyMarker VersionIdMarker NextKeyMarker NextVersionIdMarker MaxKeys IsTruncated Version", "Key VersionId IsLatest LastModified ETag Size Owner StorageClass"},
		"?uploads": {"Bucket KeyMarker UploadIdMarker NextKeyMarker NextUploadIdMarker Prefix MaxUploads IsTruncated Upload", "Key UploadId Initiator Owner StorageClass Initiated"},
		"/e?uploadId=" + id: {"Bucket Key UploadId Initiator Owner StorageClass PartNumberMarker NextPartNumberMarker MaxParts IsTruncated Part",
			"ID DisplayName PartNumber LastModified ETag Size"},
	} {
		r := w.ok(w.main("GET", "/data"+path, ""))
		if got := children(t, r.body, 1); got != want[0] {
			t.Errorf("%s: %s\nwant %s", path, got, want[0])
		}
		if got := children(t, r.body, 2); got != want[1] {
			t.Errorf("%s: entries %s\nwant %s", path, got, want[1])
		}
		if r.Header.Get("X-Amz-Request-Id") == "" || r.Header.Get("X-Amz-Id-2") == "" {
			t.Errorf("%s: %v", path, r.Header)
		}
	}
}

package s3

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func tagBody(tags ...string) string {
	var b strings.Builder
	b.WriteString("<Tagging><TagSet>")
	for i := 0; i+1 < len(tags); i += 2 {
		b.WriteString("<Tag><Key>" + tags[i] + "</Key><Value>" + tags[i+1] + "</Value></Tag>")
	}
	return b.String() + "</TagSet></Tagging>"
}

func (w *world) tags(r *reply) (out []string) {
	w.t.Helper()
	var f taggingXML
	if err := xml.Unmarshal(w.ok(r).body, &f); err != nil || f.Set == nil {
		w.t.Fatalf("%s: %v", r.body, err)
	}
	for _, t := range f.Set.Tag {
		out = append(out, t.Key, t.Value)
	}
	return out
}

func TestObjectTags(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	want := func(path string, tags ...string) {
		t.Helper()
		if d := cmp.Diff(tags, w.tags(w.main("GET", path+"?tagging", ""))); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
	w.ok(w.main("PUT", "/box/k", "x", "x-amz-tagging", "foo=bar%20baz&bar"))
	want("/box/k", "bar", "", "foo", "bar baz")
	if n := w.ok(w.main("HEAD", "/box/k", "")).Header.Get("X-Amz-Tagging-Count"); n != "2" {
		t.Errorf("the count is %q", n)
	}
	w.ok(w.main("PUT", "/box/copy", "", "x-amz-copy-source", "/box/k"))
	want("/box/copy", "bar", "", "foo", "bar baz")
	w.ok(w.main("PUT", "/box/copy", "", "x-amz-copy-source", "/box/k", "x-amz-tagging-directive", "REPLACE", "x-amz-tagging", "a=b"))
	want("/box/copy", "a", "b")
	w.ok(w.main("PUT", "/box/k?tagging", tagBody("a", "1", "b", "2")))
	want("/box/k", "a", "1", "b", "2")
	w.want(w.main("DELETE", "/box/k?tagging", ""), 204, "")
	want("/box/k")
	w.want(w.main("GET", "/box/none?tagging", ""), 404, "NoSuchKey")
	w.want(w.as("ALT", "GET", "/box/k?tagging", nil, nil), 403, "AccessDenied")

	many := make([]string, 22)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	w.ok(w.main("PUT", "/box/k?tagging", tagBody(many[:20]...)))
	w.ok(w.main("PUT", "/box/k?tagging", tagBody(strings.Repeat("k", 128), strings.Repeat("v", 256))))
	for name, body := range map[string]string{
		"more than ten":  tagBody(many...),
		"long key":       tagBody(strings.Repeat("k", 129), "v"),
		"long value":     tagBody("k", strings.Repeat("v", 257)),
		"no key":         tagBody("", "v"),
		"twice":          tagBody("k", "1", "k", "2"),
		"reserved":       tagBody("AWS:x", "v"),
		"bad characters": tagBody("a*b", "v"),
	} {
		t.Run(name, func(t *testing.T) { w.want(w.main("PUT", "/box/k?tagging", body), 400, "InvalidTag") })
	}
	w.want(w.main("PUT", "/box/k?tagging", "<Tagging/>"), 400, "MalformedXML")
	w.want(w.main("PUT", "/box/bad", "x", "x-amz-tagging", "a=1&a=2"), 400, "InvalidTag")
	w.want(w.main("GET", "/box/bad", ""), 404, "NoSuchKey")
}

func TestVersionTags(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	w.ok(w.main("PUT", "/box?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"))
	old := w.ok(w.main("PUT", "/box/k", "1")).Header.Get("X-Amz-Version-Id")
	w.ok(w.main("PUT", "/box/k", "2", "x-amz-tagging", "a=new"))
	r := w.ok(w.main("PUT", "/box/k?tagging&versionId="+old, tagBody("a", "old")))
	if got := r.Header.Get("X-Amz-Version-Id"); got != old {
		t.Errorf("tagged version %s, want %s", got, old)
	}
	for query, want := range map[string]string{"": "new", "&versionId=" + old: "old"} {
		if d := cmp.Diff([]string{"a", want}, w.tags(w.main("GET", "/box/k?tagging"+query, ""))); d != "" {
			t.Error(d)
		}
	}
}

func TestBucketTags(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	w.want(w.main("GET", "/box?tagging", ""), 404, "NoSuchTagSet")
	w.ok(w.main("PUT", "/box?tagging", tagBody("Hello", "World")))
	if d := cmp.Diff([]string{"Hello", "World"}, w.tags(w.main("GET", "/box?tagging", ""))); d != "" {
		t.Error(d)
	}
	w.want(w.main("DELETE", "/box?tagging", ""), 204, "")
	w.want(w.main("GET", "/box?tagging", ""), 404, "NoSuchTagSet")
}

func FuzzTags(f *testing.F) {
	f.Add("a=b&c=%20&d")
	f.Fuzz(func(t *testing.T, s string) {
		tags, err := headerTags(s)
		if err != nil {
			return
		}
		for k, v := range tags {
			if why := (tag{k, v}).wrong(); why != "" || len(tags) > objectTagsMax {
				t.Errorf("took %q=%q, which %s", k, v, why)
			}
		}
	})
}

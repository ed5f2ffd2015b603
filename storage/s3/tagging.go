package s3

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"polder.dev/polder/storage"
)

// Limits of tags ("Object tagging restrictions"; for a bucket "Using cost allocation tags").
const (
	objectTagsMax = 10
	bucketTagsMax = 50
	tagKeyMax     = 128 // characters
	tagValueMax   = 256
)

const labelTags = "s3.tags"

type tag struct{ Key, Value string }

// taggingXML is the body of PutBucketTagging and PutObjectTagging, and a field of forms.
type taggingXML struct {
	XMLName xml.Name `xml:"Tagging"`
	Set     *struct {
		Tag []tag
	} `xml:"TagSet"`
}

func (f *taggingXML) tags(most int) (map[string]string, error) {
	if f.Set == nil {
		return nil, fail("MalformedXML", "Tagging needs a TagSet.")
	}
	return tagMap(f.Set.Tag, most)
}

// tagMap checks tags.
func tagMap(list []tag, most int) (map[string]string, error) {
	if len(list) > most {
		return nil, fail("InvalidTag", "There are %d tags, and at most %d are taken.", len(list), most)
	}
	out := make(map[string]string, len(list))
	for _, t := range list {
		why := t.wrong()
		if _, twice := out[t.Key]; twice && why == "" {
			why = "is there twice"
		}
		if why != "" {
			return nil, fail("InvalidTag", "Tag %q %s.", t.Key, why)
		}
		out[t.Key] = t.Value
	}
	return out, nil
}

func (t tag) wrong() string {
	switch {
	case t.Key == "" || utf8.RuneCountInString(t.Key) > tagKeyMax:
		return fmt.Sprintf("must have 1 to %d characters", tagKeyMax)
	case utf8.RuneCountInString(t.Value) > tagValueMax:
		return fmt.Sprintf("has a value of more than %d characters", tagValueMax)
	case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
		return "begins with aws:, which is not for users"
	case strings.ContainsFunc(t.Key, notInTag) || strings.ContainsFunc(t.Value, notInTag):
		return "may hold letters, digits, spaces and + - = . _ : / @"
	}
	return ""
}

func notInTag(r rune) bool {
	return r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) && !unicode.IsSpace(r) && !strings.ContainsRune("+-=._:/@", r)
}

// headerTags reads x-amz-tagging, which has the form of a query. A part without = is a
// key with an empty value.
func headerTags(s string) (map[string]string, error) {
	var list []tag
	for part := range strings.SplitSeq(s, "&") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		key, err := url.QueryUnescape(k)
		if err != nil {
			return nil, fail("InvalidArgument", "x-amz-tagging cannot be read at %q.", part)
		}
		value, err := url.QueryUnescape(v)
		if err != nil {
			return nil, fail("InvalidArgument", "x-amz-tagging cannot be read at %q.", part)
		}
		list = append(list, tag{key, value})
		if len(list) > objectTagsMax {
			break // tagMap says so
		}
	}
	return tagMap(list, objectTagsMax)
}

// sealTags puts the tags on what a request creates. A copy keeps those of its source,
// which are in m, unless it says otherwise.
func (q *request) sealTags(m *storage.Meta) error {
	copies := q.r.Header["X-Amz-Copy-Source"] != nil
	switch d := q.header("X-Amz-Tagging-Directive"); {
	case d != "" && d != "COPY" && d != "REPLACE":
		return fail("InvalidArgument", "x-amz-tagging-directive must be COPY or REPLACE, not %q.", d)
	case copies && d != "REPLACE":
		return nil
	}
	tags, err := headerTags(q.header("X-Amz-Tagging"))
	if err != nil {
		return err
	}
	m.Tags = tags
	return nil
}

func (q *request) answerTags(tags map[string]string) error {
	x := newXML().root("Tagging").open("TagSet")
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		x.open("Tag").text("Key", k).text("Value", tags[k]).close("Tag")
	}
	return q.reply(x.close("TagSet").close("Tagging"))
}

func (q *request) objectTags() error {
	there, err := q.subject("s3:GetObject", "Tagging")
	if err != nil {
		return err
	}
	q.tellVersion(there)
	return q.answerTags(there.Meta.Tags)
}

func (q *request) putObjectTags() error {
	var f taggingXML
	if err := q.decode(&f); err != nil {
		return err
	}
	tags, err := f.tags(objectTagsMax)
	if err != nil {
		return err
	}
	q.requested = tags
	there, err := q.subject("s3:PutObject", "Tagging")
	if err != nil {
		return err
	}
	return q.edit(there, func(m *storage.Meta) error { m.Tags = tags; return nil })
}

func (q *request) deleteObjectTags() error {
	there, err := q.subject("s3:DeleteObject", "Tagging")
	if err != nil {
		return err
	}
	if err := q.change(there, func(m *storage.Meta) error { m.Tags = nil; return nil }); err != nil {
		return err
	}
	return q.status(http.StatusNoContent)
}

func (q *request) bucketTags() error {
	text := q.label(labelTags)
	if text == "" {
		return fail("NoSuchTagSet", "The bucket has no tags.")
	}
	var tags map[string]string
	if err := json.Unmarshal([]byte(text), &tags); err != nil {
		return fmt.Errorf("reading the tags of bucket %s: %w", q.name, err)
	}
	return q.answerTags(tags)
}

func (q *request) putBucketTags() error {
	var f taggingXML
	if err := q.decode(&f); err != nil {
		return err
	}
	tags, err := f.tags(bucketTagsMax)
	if err != nil {
		return err
	}
	text, err := encodeTags(tags)
	if err != nil {
		return err
	}
	if err := q.setLabel(labelTags, text); err != nil {
		return err
	}
	return q.status(http.StatusNoContent)
}

// encodeTags is the form in which a bucket's tags are kept; "" is none.
func encodeTags(tags map[string]string) (string, error) {
	if len(tags) == 0 {
		return "", nil
	}
	b, err := json.Marshal(tags)
	return string(b), err
}

func (q *request) deleteBucketTags() error {
	if err := q.setLabel(labelTags, ""); err != nil {
		return err
	}
	return q.status(http.StatusNoContent)
}

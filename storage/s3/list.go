package s3

import (
	"encoding/base64"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/s3/sigv4"
)

// encoder writes keys into a listing: as they are, or as URLs have them, for keys that
// XML cannot hold.
type encoder bool

func (q *request) encoder() (encoder, error) {
	v, ok := q.query.Find("encoding-type")
	if ok && v != "url" && v != "" {
		return false, fail("InvalidArgument", "Invalid Encoding Method specified in Request: encoding-type must be url, not %q.", v)
	}
	return encoder(v == "url"), nil
}

func (e encoder) text(s string) string {
	if !e || s == "" {
		return s
	}
	return string(sigv4.Encode(make([]byte, 0, len(s)+16), s, true))
}

func (e encoder) kind() string {
	if e {
		return "url"
	}
	return ""
}

func writePrefixes(x *answer, e encoder, prefixes []string) {
	for _, p := range prefixes {
		x.open("CommonPrefixes").text("Prefix", e.text(p)).close("CommonPrefixes")
	}
}

// listing is what both versions of ListObjects have in common.
type listing struct {
	storage.ListOptions
	storage.Listing
	limit  int
	encode encoder
	owners owners
}

func (q *request) newListing() (*listing, error) {
	l := &listing{owners: owners{q: q}}
	var err error
	if l.limit, err = q.limit("max-keys"); err != nil {
		return nil, err
	}
	if l.encode, err = q.encoder(); err != nil {
		return nil, err
	}
	l.ListOptions = storage.ListOptions{Prefix: q.query.Get("prefix"), Delimiter: q.query.Get("delimiter"), Limit: l.limit}
	if q.query.Get("allow-unordered") == "true" && l.Delimiter != "" {
		return nil, fail("InvalidArgument", "allow-unordered cannot be used with a delimiter.")
	}
	return l, nil
}

// fill asks the store. A page of no entries asks nothing.
func (l *listing) fill(q *request) (err error) {
	if l.limit > 0 {
		l.Listing, err = q.bucket.List(q.ctx, l.ListOptions)
	}
	return err
}

// head writes the elements that all listings begin with. place writes where the page
// begins and ends. The order is S3's: some clients check it against a schema.
func (l *listing) head(x *answer, q *request, place func()) {
	x.text("Name", q.name).text("Prefix", l.prefix(q.op.name))
	place()
	x.number("MaxKeys", int64(l.limit)).some("Delimiter", l.encode.text(l.Delimiter))
	x.some("EncodingType", l.encode.kind()).flag("IsTruncated", l.More)
}

// prefix is the prefix as it is written. In the first version of ListObjects S3 does not
// encode it, and some clients decode it all the same: so it is encoded where that would
// make a difference to them.
func (l *listing) prefix(op string) string {
	if op == "ListObjects" && !strings.ContainsAny(l.Prefix, "%+") {
		return l.Prefix
	}
	return l.encode.text(l.Prefix)
}

// object writes what is between <Contents> and </Contents>.
func (l *listing) object(x *answer, o *storage.Info, owner bool) {
	x.text("Key", l.encode.text(o.Key))
	l.facts(x, o, owner)
}

// facts writes what object does, but for the key.
func (l *listing) facts(x *answer, o *storage.Info, owner bool) {
	x.time("LastModified", o.Modified).text("ETag", `"`+o.ETag+`"`)
	for _, a := range algorithms {
		if sum := o.Meta.Checksums[a.name]; sum != "" {
			x.text("ChecksumAlgorithm", a.name).text("ChecksumType", typeOf(sum))
		}
	}
	x.number("Size", o.Size)
	if owner {
		l.owners.write(x, o)
	}
	x.text("StorageClass", classOf(&o.Meta))
}

// owners writes owners, and remembers their names for as long as a page takes.
type owners struct {
	q     *request
	names map[string]string
}

func (o *owners) write(x *answer, info *storage.Info) {
	id := o.q.ownerOf(info)
	name, ok := o.names[id]
	if !ok {
		if o.names == nil {
			o.names = map[string]string{}
		}
		name = o.q.s.display(o.q.ctx, id)
		o.names[id] = name
	}
	x.owner("Owner", id, name)
}

// listObjects implements ListObjects, the first version.
func (q *request) listObjects() error {
	l, err := q.newListing()
	if err != nil {
		return err
	}
	l.After = q.query.Get("marker")
	if err := l.fill(q); err != nil {
		return err
	}
	x := newXML().root("ListBucketResult")
	l.head(x, q, func() {
		x.text("Marker", l.encode.text(l.After))
		if l.More {
			x.text("NextMarker", l.encode.text(l.Next))
		}
	})
	for i := range l.Objects {
		x.open("Contents")
		l.object(x, &l.Objects[i], true)
		x.close("Contents")
	}
	writePrefixes(x, l.encode, l.Prefixes)
	return q.reply(x.close("ListBucketResult"))
}

// listObjects2 implements ListObjectsV2.
func (q *request) listObjects2() error {
	if v := q.query.Get("list-type"); v != "2" {
		return fail("InvalidArgument", "list-type must be 2, not %q.", v)
	}
	l, err := q.newListing()
	if err != nil {
		return err
	}
	start := q.query.Get("start-after")
	token, resumed := q.query.Find("continuation-token")
	if l.After = start; token != "" {
		if l.After, err = fromToken(token); err != nil {
			return err
		}
	}
	if err := l.fill(q); err != nil {
		return err
	}
	x := newXML().root("ListBucketResult")
	l.head(x, q, func() {
		if l.More {
			x.text("NextContinuationToken", toToken(l.Next))
		}
		if resumed {
			x.text("ContinuationToken", token)
		}
		x.some("StartAfter", l.encode.text(start)).number("KeyCount", int64(l.Size()))
	})
	owner := q.query.Get("fetch-owner") == "true"
	for i := range l.Objects {
		x.open("Contents")
		l.object(x, &l.Objects[i], owner)
		x.close("Contents")
	}
	writePrefixes(x, l.encode, l.Prefixes)
	return q.reply(x.close("ListBucketResult"))
}

// A token is where a listing goes on, as clients need not understand it.
func toToken(key string) string { return base64.URLEncoding.EncodeToString([]byte(key)) }

func fromToken(token string) (string, error) {
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil || storage.CheckKey(string(b)) != nil {
		return "", fail("InvalidArgument", "The continuation token provided is incorrect: send one that a listing returned.").
			with("ArgumentName", "continuation-token")
	}
	return string(b), nil
}

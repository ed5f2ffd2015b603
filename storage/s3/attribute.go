package s3

import (
	"net/http"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
)

// attributes implements GetObjectAttributes.
func (q *request) attributes() error {
	want, err := q.wantedAttributes()
	if err != nil {
		return err
	}
	limit, after, err := q.partPage()
	if err != nil {
		return err
	}
	version, err := q.version()
	if err != nil {
		return err
	}
	info, err := q.bucket.Stat(q.ctx, q.key, storage.ReadOptions{Version: version})
	if err != nil {
		return q.absent(err, version, iam.GetObject)
	}
	if err := q.authoriseOn(versioned(iam.GetObject, version), q.key, &info); err != nil {
		return err
	}
	if err := q.unlock(&info.Meta); err != nil {
		return err
	}
	if err := q.conditions().Check(&info, true); err != nil {
		return err
	}
	q.showVersion(info.Version)
	q.set("Last-Modified", info.Modified.UTC().Format(http.TimeFormat))
	x := newXML().root("GetObjectAttributesResponse")
	if want["ETag"] {
		x.text("ETag", info.ETag)
	}
	if want["Checksum"] && len(info.Meta.Checksums) > 0 {
		x.open("Checksum")
		writeChecksums(x, info.Meta.Checksums)
		for _, sum := range info.Meta.Checksums {
			x.text("ChecksumType", typeOf(sum))
		}
		x.close("Checksum")
	}
	if want["ObjectParts"] && info.Parts > 0 {
		if err := writeParts(x, &info, limit, after); err != nil {
			return err
		}
	}
	if want["StorageClass"] {
		x.text("StorageClass", classOf(&info.Meta))
	}
	if want["ObjectSize"] {
		x.number("ObjectSize", info.Size)
	}
	return q.reply(x.close("GetObjectAttributesResponse"))
}

func (q *request) wantedAttributes() (map[string]bool, error) {
	want := map[string]bool{}
	for _, a := range tags(q.r.Header["X-Amz-Object-Attributes"]) {
		switch a {
		case "ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize":
			want[a] = true
		default:
			return nil, fail("InvalidArgument", "Invalid attribute name specified: %q.", a)
		}
	}
	if len(want) == 0 {
		return nil, fail("InvalidRequest", "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty.")
	}
	return want, nil
}

// partPage reads which parts are wanted.
func (q *request) partPage() (limit, after int64, err error) {
	limit = pageMax
	for _, h := range []struct {
		name string
		to   *int64
	}{{"X-Amz-Max-Parts", &limit}, {"X-Amz-Part-Number-Marker", &after}} {
		v := q.header(h.name)
		if v == "" {
			continue
		}
		n, ok := digits(v)
		if !ok {
			return 0, 0, fail("InvalidArgument", "%s must be a number, not %q.", strings.ToLower(h.name), v)
		}
		*h.to = n
	}
	return min(limit, pageMax), after, nil
}

func writeParts(x *answer, info *storage.Info, limit, after int64) error {
	p, err := partsOf(info)
	if err != nil {
		return err
	}
	total := int64(len(p.sizes))
	end := min(total, after+limit)
	x.open("ObjectParts").number("PartsCount", total).number("PartNumberMarker", after).number("MaxParts", limit)
	if end < total {
		x.number("NextPartNumberMarker", end)
	}
	x.flag("IsTruncated", end < total)
	for i := after; i < end; i++ {
		x.open("Part").number("PartNumber", i+1).number("Size", p.sizes[i])
		if len(p.sums) > 0 {
			x.some(algorithmOf(p.algorithm).element, p.sums[i])
		}
		x.close("Part")
	}
	x.close("ObjectParts")
	return nil
}

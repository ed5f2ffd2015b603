package s3

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"polder.dev/polder/storage"
)

// completeBytesMax is room for the most parts, each with a checksum.
const completeBytesMax = 4 << 20

// completeBody is what CompleteMultipartUpload takes.
type completeBody struct {
	Part []struct {
		PartNumber int
		ETag       string
		ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME,
		ChecksumSHA1, ChecksumSHA256 string
	}
}

// refs are the parts in the store's words.
func (b *completeBody) refs() ([]storage.PartRef, error) {
	if len(b.Part) == 0 || len(b.Part) > storage.PartsMax {
		return nil, fail("MalformedXML", "An upload is completed with 1 to %d parts, not %d.", storage.PartsMax, len(b.Part))
	}
	out := make([]storage.PartRef, len(b.Part))
	for i := range b.Part {
		p := &b.Part[i]
		if p.PartNumber < 1 || p.PartNumber > storage.PartsMax {
			return nil, fail("InvalidArgument", "PartNumber must be 1 to %d, not %d.", storage.PartsMax, p.PartNumber)
		}
		if i > 0 && p.PartNumber <= b.Part[i-1].PartNumber {
			return nil, fail("InvalidPartOrder", "The list of parts was not in ascending order: %d comes after %d.", p.PartNumber, b.Part[i-1].PartNumber)
		}
		out[i] = storage.PartRef{Number: p.PartNumber, ETag: strings.Trim(strings.TrimSpace(p.ETag), `"`)}
		for j, v := range []string{p.ChecksumCRC32, p.ChecksumCRC32C, p.ChecksumCRC64NVME, p.ChecksumSHA1, p.ChecksumSHA256} {
			if v == "" {
				continue
			}
			if out[i].Checksums == nil {
				out[i].Checksums = map[string]string{}
			}
			out[i].Checksums[algorithms[j].name] = v
		}
	}
	return out, nil
}

// completeUpload implements CompleteMultipartUpload. To complete an upload again is no
// error while the object is the one that it became.
func (q *request) completeUpload() error {
	want, err := q.whole()
	if err != nil {
		return err
	}
	var body completeBody
	if err := q.decodeMax(&body, completeBytesMax); err != nil {
		return err
	}
	refs, err := body.refs()
	if err != nil {
		return err
	}
	u, err := q.upload()
	if err != nil {
		return q.completedBefore(err)
	}
	p, err := q.chosen(&u, refs)
	if err != nil {
		return err
	}
	if len(p.sizes) == len(refs) { // else Complete says what is missing
		if err := p.check(want); err != nil {
			return err
		}
	}
	if err := q.roomForWhole(p); err != nil {
		return err
	}
	info, err := q.bucket.Complete(q.ctx, q.key, u.ID, refs, storage.CompleteOptions{If: q.writeConditions(), Seal: func(m *storage.Meta) error {
		if err := q.sealCompleted(m); err != nil {
			return err
		}
		return p.seal(m, &u, want)
	}})
	if errors.Is(err, storage.ErrNoUpload) {
		return q.completedBefore(err)
	}
	if err != nil {
		return err
	}
	return q.completed(&info)
}

// expected is what the head of the request says of the whole object.
type expected struct {
	size      int64 // -1 does not ask
	algorithm *algorithm
	sum       string
	kind      string // composite or fullObject; "" does not ask
}

// whole reads it. The headers' checksum is not the body's here.
func (q *request) whole() (expected, error) {
	w := expected{size: -1, kind: q.header("X-Amz-Checksum-Type")}
	if v := q.header("X-Amz-Mp-Object-Size"); v != "" {
		n, ok := digits(v)
		if !ok {
			return w, fail("InvalidRequest", "x-amz-mp-object-size must be a number of bytes, not %q.", v)
		}
		w.size = n
	}
	for _, a := range algorithms {
		if v := q.header(a.header); v != "" {
			if plain, _, _ := strings.Cut(v, "-"); !a.valid(plain) {
				return w, fail("InvalidRequest", "Value for %s header is invalid: it must be base64 of %d bytes.", strings.ToLower(a.header), a.bytes)
			}
			if w.algorithm != nil {
				return w, fail("InvalidRequest", "Expecting a single x-amz-checksum- header, and there are several.")
			}
			w.algorithm, w.sum = a, v
			delete(q.r.Header, a.header)
		}
	}
	return w, nil
}

// chosen finds sizes and checksums of the parts that are named. Whether they fit the
// names is Complete's to judge, at the moment that counts.
func (q *request) chosen(u *storage.Upload, refs []storage.PartRef) (*parts, error) {
	p := &parts{}
	p.algorithm, _, _ = strings.Cut(u.Meta.System[systemChecksum], "/")
	next := 0
	for after := 0; next < len(refs); {
		list, more, err := q.bucket.Parts(q.ctx, q.key, u.ID, after, pageMax)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			if after = s.Number; next < len(refs) && refs[next].Number == s.Number {
				p.sizes = append(p.sizes, s.Size)
				p.sums = append(p.sums, s.Checksums[p.algorithm])
				if refs[next].ETag == "" {
					refs[next].ETag = s.ETag // so that it is this part
				}
				next++
			}
		}
		if !more {
			break
		}
	}
	return p, nil
}

func (p *parts) check(w expected) error {
	var sum int64
	for _, n := range p.sizes {
		sum += n
	}
	if w.size >= 0 && w.size != sum {
		return fail("InvalidRequest", "The provided 'x-amz-mp-object-size' header value %d does not match what was computed: %d.", w.size, sum)
	}
	return nil
}

// seal writes what is known of the whole into the object's metadata.
func (p *parts) seal(m *storage.Meta, u *storage.Upload, w expected) error {
	if m.System == nil {
		m.System = map[string]string{}
	}
	_, kind, _ := strings.Cut(u.Meta.System[systemChecksum], "/")
	delete(m.System, systemChecksum)
	m.System[systemUpload] = u.ID
	m.System[systemParts] = p.encode()
	a := algorithmOf(p.algorithm)
	if a == nil {
		return nil
	}
	if w.kind != "" && w.kind != kind {
		return fail("InvalidRequest", "The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", kind)
	}
	sum, ok := p.sum(a, kind)
	if !ok {
		return fail("InvalidRequest", "The upload was created using a %s checksum. The complete request must include the checksum for each part, and a part has none.", strings.ToLower(a.name))
	}
	if w.algorithm == a && w.sum != "" && w.sum != sum && w.sum != strings.TrimSuffix(sum, "-"+strconv.Itoa(len(p.sums))) {
		return fail("BadDigest", "The %s you specified did not match the calculated checksum: it is %s.", a.name, sum)
	}
	m.Checksums = map[string]string{a.name: sum}
	return nil
}

// sum is the whole's checksum, made of those of its parts.
func (p *parts) sum(a *algorithm, kind string) (string, bool) {
	if kind == composite {
		h := a.make()
		for _, s := range p.sums {
			raw, err := base64.StdEncoding.DecodeString(s)
			if err != nil || len(raw) != a.bytes {
				return "", false
			}
			_, _ = h.Write(raw) // a hash never fails
		}
		return fmt.Sprintf("%s-%d", base64.StdEncoding.EncodeToString(h.Sum(nil)), len(p.sums)), true
	}
	var crc uint64
	for i, s := range p.sums {
		n, ok := a.number(s)
		if !ok {
			return "", false
		}
		if crc = a.combine(crc, n, p.sizes[i]); i == 0 {
			crc = n
		}
	}
	return a.text(crc), true
}

func (q *request) completedBefore(err error) error {
	info, e := q.bucket.Stat(q.ctx, q.key, storage.ReadOptions{})
	if e != nil || info.Meta.System[systemUpload] != q.query.Get("uploadId") {
		return err
	}
	return q.completed(&info)
}

func (q *request) completed(info *storage.Info) error {
	q.showNew(info)
	q.describeNew(q.w.Header(), info)
	scheme := "http://"
	if q.r.TLS != nil {
		scheme = "https://"
	}
	where := scheme + q.r.Host + q.r.URL.EscapedPath()
	x := newXML().root("CompleteMultipartUploadResult")
	x.text("Location", where).text("Bucket", q.name).text("Key", q.key).text("ETag", `"`+info.ETag+`"`)
	writeChecksums(x, info.Meta.Checksums)
	for _, sum := range info.Meta.Checksums {
		x.text("ChecksumType", typeOf(sum))
	}
	x.close("CompleteMultipartUploadResult")
	return q.reply(x)
}

package s3

import (
	"testing"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
)

func TestQuota(t *testing.T) {
	w := bucketed(t)
	b, err := w.space.Resolve(t.Context(), "main", "data")
	if err != nil {
		t.Fatal(err)
	}
	quota := func(n string) {
		if err := b.Configure(t.Context(), func(s *storage.Settings) error { s.Labels[iam.LabelQuota] = n; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	id := w.begin("parts")
	tag := w.ok(w.part("parts", id, 1, []byte("12345"))).Header.Get("Etag")
	quota("11")
	w.ok(w.main("PUT", "/data/a", "123456"))
	quota("10")
	w.want(w.main("PUT", "/data/b", "12345"), 403, "QuotaExceeded")
	w.want(w.main("PUT", "/data/b", "", "X-Amz-Copy-Source", "/data/a"), 403, "QuotaExceeded")
	w.want(w.part("parts", id, 2, []byte("12345")), 403, "QuotaExceeded")
	w.want(w.main("PUT", "/data/parts?partNumber=2&uploadId="+id, "", "X-Amz-Copy-Source", "/data/a"), 403, "QuotaExceeded")
	w.want(w.complete("parts", id, named(1, tag)), 403, "QuotaExceeded")
	w.ok(w.main("PUT", "/data/b", "1234"))
	w.want(w.main("DELETE", "/data/a", ""), 204, "")
	w.ok(w.complete("parts", id, named(1, tag)))
	quota("much")
	w.want(w.main("PUT", "/data/c", "1"), 500, "InternalError")
}

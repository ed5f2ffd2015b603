package s3

import (
	"testing"

	"polder.dev/polder/storage"
)

func TestPromises(t *testing.T) {
	w := newWorld(t)
	w.ok(w.as("MAIN", "PUT", "/fast", nil, head{headerDurability, "written", headerETag, "any", headerCopies, "1"}))
	b, err := w.space.Resolve(t.Context(), "main", "fast")
	if err != nil {
		t.Fatal(err)
	}
	i, err := b.Info(t.Context())
	if err != nil || i.Settings.Durability != storage.Written || !i.Settings.PlainETag {
		t.Errorf("settings %+v, %v", i.Settings, err)
	}
	w.ok(w.main("PUT", "/fast/k", "abc"))
	h := w.main("HEAD", "/fast", "").Header
	if h.Get(headerDurability) != "written" || h.Get(headerETag) != "any" || h.Get("X-Polder-Objects") != "1" || h.Get("X-Polder-Bytes") != "3" {
		t.Errorf("HEAD says %v", h)
	}
	for _, h := range []head{{headerDurability, "soon"}, {headerETag, "sha1"}, {headerCopies, "0"}, {headerCopies, "9"}} {
		w.want(w.as("MAIN", "PUT", "/bad", nil, h), 400, "InvalidArgument")
	}
	w.want(w.main("HEAD", "/bad", ""), 404, "")
}

package server

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"polder.dev/polder/storage"
)

// TestAccessLogs: what both doors are asked is in the logs that an orderly stop leaves, and
// the next start knows where they go.
func TestAccessLogs(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Region: "eu-1"}
	const where = "<LoggingEnabled><TargetBucket>logs</TargetBucket><TargetPrefix>p/</TargetPrefix><TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource></PartitionedPrefix></TargetObjectKeyFormat></LoggingEnabled>"
	_, url, stop := run(t, cfg)
	c := newClient(t, url)
	c.s3("PUT", "/data", "", 200)
	c.s3("PUT", "/logs", "", 200)
	c.s3("PUT", "/data?logging", "<BucketLoggingStatus>"+where+"</BucketLoggingStatus>", 200)
	for round := range 2 {
		c.s3("PUT", fmt.Sprint("/data/s3-", round), "by S3", 200)
		c.swift("GET", fmt.Sprint("/data/s3-", round), "", 200)
		c.swift("PUT", "/data/dynamic", "", 201, "X-Object-Manifest", fmt.Sprint("data/s3-", round))
		if _, body := c.s3("GET", "/data/dynamic", "", 200); body != "by S3" {
			t.Errorf("the large object is %q", body)
		}
		stop()
		var s *Server
		s, url, stop = run(t, cfg)
		c = newClient(t, url)
		if _, body := c.s3("GET", "/data?logging", "", 200); !strings.Contains(body, where) {
			t.Errorf("after a restart: %s", body)
		}
		text := logText(t, s)
		for _, want := range []string{fmt.Sprint(" REST.PUT.OBJECT s3-", round, " "), fmt.Sprint(" SWIFT.GET.OBJECT s3-", round, " ")} {
			if strings.Count(text, want) != 1 {
				t.Errorf("%q is not once in %s", want, text)
			}
		}
		if !strings.Contains(text, fmt.Sprint(" REST.GET.SEGMENT s3-", round, " ")) {
			t.Errorf("no segment was read in %s", text)
		}
		if _, text := ask(t, cfg.Dir, "GET", "/metrics", ""); !strings.Contains(text, `polder_storage_access_log_records_total{outcome="delivered"}`) {
			t.Error("there is no metric of records")
		}
	}
}

// logText is what all logs hold.
func logText(t *testing.T, s *Server) string {
	t.Helper()
	b, err := s.Space().Resolve(t.Context(), "a", "logs")
	if err != nil {
		t.Fatal(err)
	}
	l, err := b.List(t.Context(), storage.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for i := range l.Objects {
		if !strings.HasPrefix(l.Objects[i].Key, "p/a/eu-1/data/20") {
			t.Errorf("a log is named %s", l.Objects[i].Key)
		}
		o, err := b.Open(t.Context(), l.Objects[i].Key, storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(storage.Reader(o, 0, l.Objects[i].Size))
		if err != nil {
			t.Fatal(err)
		}
		_ = o.Close()
		text.Write(data)
	}
	return text.String()
}

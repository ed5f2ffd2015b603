package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
)

// shelf takes logs, or refuses them.
type shelf struct {
	mu   sync.Mutex
	err  error
	keys []string
	text strings.Builder
}

func (s *shelf) put(_ context.Context, from *Source, bucket, key string, text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.keys = append(s.keys, from.Owner+":"+bucket+"/"+key)
	s.text.Write(text)
	return nil
}

func (s *shelf) lines() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), "\n")
}

func newLog(t *testing.T, s *shelf, out io.Writer) *Log {
	t.Helper()
	l, err := New(Options{Put: s.put, Region: "eu-1", Now: func() time.Time { return at.Add(48 * time.Hour) }, Log: slog.New(slog.NewTextHandler(out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func bucketOf(name string, c Config) *storage.BucketInfo {
	return &storage.BucketInfo{Name: name, Settings: storage.Settings{Labels: map[string]string{iam.LabelOwner: "team", Label: c.Encode()}}}
}

func TestWants(t *testing.T) {
	var none *Log
	info := bucketOf("b", Config{Bucket: "logs"})
	if none.Wants(info) || !newLog(t, &shelf{}, io.Discard).Wants(info) || newLog(t, &shelf{}, io.Discard).Wants(&storage.BucketInfo{}) {
		t.Error("Wants is wrong")
	}
}

// TestKeys: the layouts of Amazon's names, and one object for each day.
func TestKeys(t *testing.T) {
	for layout, want := range map[Layout][]string{
		"":         {"team:logs/p-2026-02-08-00-00-38-", "team:logs/p-2026-02-08-00-00-38-"},
		Simple:     {"team:logs/p-2026-02-08-00-00-38-", "team:logs/p-2026-02-08-00-00-38-"},
		ByEvent:    {"team:logs/p-team/eu-1/data/2026/02/06/2026-02-06-00-00-00-", "team:logs/p-team/eu-1/data/2026/02/07/2026-02-07-00-00-00-"},
		ByDelivery: {"team:logs/p-team/eu-1/data/2026/02/08/2026-02-08-00-00-38-", "team:logs/p-team/eu-1/data/2026/02/08/2026-02-08-00-00-38-"},
	} {
		var s shelf
		l := newLog(t, &s, io.Discard)
		info := bucketOf("team/data", Config{Bucket: "logs", Prefix: "p-", Layout: layout})
		for _, day := range []int{0, 0, 1} {
			l.Add(info, &Record{Time: at.AddDate(0, 0, day)})
		}
		l.Deliver(t.Context())
		if len(s.keys) != 2 || s.lines() != 3 || s.keys[0] == s.keys[1] {
			t.Fatalf("%s: %d lines in %v", layout, s.lines(), s.keys)
		}
		for _, w := range want {
			if !strings.HasPrefix(s.keys[0], w) && !strings.HasPrefix(s.keys[1], w) {
				t.Errorf("%s: %s is none of %v", layout, w, s.keys)
			}
		}
	}
}

// TestTrouble: what a store that is away does not take waits; what may not be put is lost,
// counted, and said once.
func TestTrouble(t *testing.T) {
	var out bytes.Buffer
	s := shelf{err: fmt.Errorf("disk: %w", storage.ErrUnavailable)}
	l := newLog(t, &s, &out)
	info := bucketOf("data", Config{Bucket: "logs"})
	add := func() { l.Add(info, &Record{Time: at}) }
	add()
	l.Deliver(t.Context())
	add()
	l.Deliver(t.Context())
	s.err = nil
	l.Deliver(t.Context())
	if s.lines() != 2 || out.Len() > 0 || l.held != 0 {
		t.Errorf("after the store was away: %d lines, %d held, %s", s.lines(), l.held, &out)
	}
	s.err = errors.New("no such bucket")
	for range 3 {
		add()
		l.Deliver(t.Context())
	}
	if n := strings.Count(out.String(), "no such bucket"); n != 1 {
		t.Errorf("it was said %d times: %s", n, &out)
	}
	s.err = nil
	add()
	l.Deliver(t.Context())
	s.err = context.Canceled
	add()
	l.Close(t.Context())
	if n := strings.Count(out.String(), "records of a bucket's access log are lost"); n != 2 {
		t.Errorf("after it went well once: %s", &out)
	}
	if d, f := testutil.ToFloat64(l.meters.delivered), testutil.ToFloat64(l.meters.failed); d != 3 || f != 4 || l.held != 0 {
		t.Errorf("%v delivered, %v failed, %d held", d, f, l.held)
	}
}

// TestBounds: memory has an end, for one bucket before it has for all, and nobody waits.
func TestBounds(t *testing.T) {
	s := shelf{err: storage.ErrUnavailable}
	l := newLog(t, &s, io.Discard)
	r := &Record{Time: at, UserAgent: strings.Repeat("x", textBytesMax)}
	fill := func(name string) {
		info := bucketOf(name, Config{Bucket: "logs"})
		for range sourceMax/textBytesMax + 10 {
			l.Add(info, r)
		}
	}
	fill("one")
	if l.held > sourceMax || testutil.ToFloat64(l.meters.full) == 0 {
		t.Errorf("one bucket holds %d bytes", l.held)
	}
	l.Deliver(t.Context())
	l.Add(bucketOf("other", Config{Bucket: "logs"}), r)
	if len(l.piles) != 2 {
		t.Error("a bucket with many records leaves another no room")
	}
	for i := range 6 {
		fill(fmt.Sprint("more", i))
	}
	if l.held > bytesMax || l.held < bytesMax-2*textBytesMax {
		t.Errorf("all hold %d bytes", l.held)
	}
	s.err = nil
	l.Close(t.Context())
	if lost := testutil.ToFloat64(l.meters.full) + testutil.ToFloat64(l.meters.delivered); l.held != 0 || lost != float64(7*(sourceMax/textBytesMax+10)+1) {
		t.Errorf("%d bytes are held, and %v records accounted for", l.held, lost)
	}
}

// TestRun: a minute passes, or a mebibyte comes.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shelf
		l := newLog(t, &s, io.Discard)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { l.Run(ctx); close(ended) }()
		busy, quiet := bucketOf("busy", Config{Bucket: "logs"}), bucketOf("quiet", Config{Bucket: "logs"})
		l.Add(quiet, &Record{Time: at})
		many := deliverBytes/textBytesMax + 1
		for range many {
			l.Add(busy, &Record{Time: at, UserAgent: strings.Repeat("x", textBytesMax)})
		}
		synctest.Wait()
		if n := s.lines(); n == 0 || n > many { // the last may come after a delivery has begun
			t.Errorf("%d lines at once, of %d of the busy bucket", n, many)
		}
		time.Sleep(period)
		synctest.Wait()
		if s.lines() != many+1 {
			t.Errorf("%d lines after a minute", s.lines())
		}
		cancel()
		<-ended
	})
}

func TestParse(t *testing.T) {
	want := Config{Bucket: "b", Prefix: "p", Layout: ByEvent}
	if c, err := Parse(want.Encode()); err != nil || *c != want {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := Parse(""); c != nil || err != nil {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := Parse("{"); err == nil {
		t.Error("what is no JSON was read")
	}
}

func BenchmarkAdd(b *testing.B) {
	l, err := New(Options{Put: func(context.Context, *Source, string, string, []byte) error { return nil }})
	if err != nil {
		b.Fatal(err)
	}
	info := bucketOf("data", Config{Bucket: "logs"})
	r := Record{Time: at, Requester: "arn:aws:iam::team:user/ann", Key: "dir/object-000001", RequestLine: "GET /data/dir/object-000001 HTTP/1.1", UserAgent: "agent", Status: 200}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%10_000 == 0 {
			l.Deliver(b.Context())
		}
		l.Add(info, &r)
	}
}

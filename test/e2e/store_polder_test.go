//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// talkPolder is the conversation of our own verbs.
func talkPolder(t *testing.T, s *store) {
	k := &talk{t: t, s: s, dir: things(t), env: s.main(), name: "polder"}
	k.ok("is made", "bucket", "create", "polder-data")
	k.ok("uploaded big", "cp", "big", "s3://polder-data/", "--part-size", "5Mi")
	k.ok("copied", "cp", "s3://polder-data/big", "s3://polder-data/copy")
	k.ok("downloaded", "cp", "s3://polder-data/copy", "back")
	k.same("big", "back")
	k.ok("9 objects", "cp", "-r", "tree", "s3://polder-data/tree")
	k.ok("9 objects", "cp", "-r", "s3://polder-data/tree", "tree.back")
	k.same("tree", "tree.back")
	k.ok("9 were the same", "sync", "tree", "s3://polder-data/tree")
	if err := os.Remove(filepath.Join(k.dir, "tree/f1")); err != nil {
		t.Fatal(err)
	}
	k.ok("would remove", "sync", "tree", "s3://polder-data/tree", "--delete", "--dry-run")
	k.ok("removed", "sync", "tree", "s3://polder-data/tree", "--delete")
	k.ok("removed", "sync", "s3://polder-data/tree", "tree.back", "--delete", "--checksum")
	k.same("tree", "tree.back")
	if out := k.ok("tree/sub/ü 3+", "ls", "-r", "s3://polder-data"); strings.Contains(out, "f1") {
		t.Errorf("what sync removed is listed:\n%s", out)
	}
	k.ok(`"key":"tree/f0","size":1000`, "ls", "s3://polder-data/tree/", "-o", "json")
	k.ok("is on", "bucket", "versioning", "polder-data", "on")
	k.ok("", "cp", "tree/f2", "s3://polder-data/copy")
	k.ok("null", "ls", "--versions", "s3://polder-data/copy")
	k.ok("", "cp", "s3://polder-data/copy", "newest")
	k.same("tree/f2", "newest")
	k.ok("", "rm", "s3://polder-data/copy")
	k.no([]string{"there is no object s3://polder-data/copy"}, "cat", "s3://polder-data/copy")
	k.no([]string{"there is no bucket polder-nothing"}, "ls", "s3://polder-nothing")
	k.no([]string{"is not empty"}, "bucket", "rm", "polder-data")
	k.env = s.keys("AKMAIN", "wrong")
	k.no([]string{"the secret key is not that of the access key"}, "ls")
	k.env = s.main()
	k.ok("is removed", "bucket", "rm", "polder-data", "--force")
	stream(k)
}

// stream sends what has no size, and reads it back.
func stream(k *talk) {
	k.ok("", "bucket", "create", "polder-stream")
	f, err := os.Open(filepath.Join(k.dir, "big"))
	if err != nil {
		k.t.Fatal(err)
	}
	defer f.Close()
	put := k.s.tool(k.t, k.dir, k.env, "polder", "cp", "-", "s3://polder-stream/s", "--part-size", "5Mi")
	put.Stdin = struct{ io.Reader }{f}
	if out, code := output(k.t, put); code != 0 {
		k.t.Fatalf("polder cp -: exit code %d\n%s", code, out)
	}
	if out := k.ok("", "cat", "s3://polder-stream/s"); len(out) != bigBytes {
		k.t.Errorf("a stream of %d bytes reads as %d", bigBytes, len(out))
	}
	k.ok("", "bucket", "rm", "polder-stream", "--force")
}

// line is a way to the store that stalls after a number of bytes, as a network does.
type line struct {
	net.Listener
	to       string
	up, down atomic.Int64 // bytes that may pass
	sent     [2]atomic.Int64
	stalled  chan struct{} // closed at the first stall
	once     sync.Once
	open     sync.WaitGroup
	over     chan struct{}
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &line{Listener: l, to: to, stalled: make(chan struct{}), over: make(chan struct{})}
	go p.serve() // ends with the listener
	t.Cleanup(func() {
		close(p.over)
		_ = p.Close()
		p.open.Wait()
	})
	return p
}

func (p *line) serve() {
	for {
		c, err := p.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = c.Close()
			continue
		}
		p.open.Go(func() { p.pipe(far, c, &p.up, &p.sent[0]) })
		p.open.Go(func() { p.pipe(c, far, &p.down, &p.sent[1]) })
	}
}

func (p *line) pipe(to, from net.Conn, left, sent *atomic.Int64) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if left.Add(-int64(n)) < 0 {
			p.once.Do(func() { close(p.stalled) })
			<-p.over // nothing comes any more
			return
		}
		sent.Add(int64(n))
		if _, e := to.Write(b[:n]); e != nil || err != nil {
			return
		}
	}
}

// TestStoreInterrupted kills `polder cp` in the middle of a large file, in both
// directions: the same command then goes on, instead of beginning again.
func TestStoreInterrupted(t *testing.T) {
	s := serveStore(t)
	// So much passes that parts are whole, however the requests of one moment share it.
	const size, pass, part, parallel = 64 << 20, 56 << 20, 5 << 20, 8
	dir := t.TempDir()
	if out, err := exec.Command("/usr/bin/head", "-c", fmt.Sprint(size), "/dev/urandom").Output(); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(filepath.Join(dir, "large"), out, 0o600); err != nil {
		t.Fatal(err)
	}
	k := &talk{t: t, s: s, dir: dir, env: s.main(), name: "polder"}
	k.ok("", "bucket", "create", "cut")
	for i, args := range [][]string{{"cp", "large", "s3://cut/large", "--part-size", "5Mi"}, {"cp", "s3://cut/large", "back", "--part-size", "5Mi"}} {
		p := newLine(t, s.host())
		way := []*atomic.Int64{&p.up, &p.down}[i]
		p.up.Store(1 << 40)
		p.down.Store(1 << 40)
		way.Store(pass)
		k.env = append(s.main(), "AWS_ENDPOINT_URL_S3=http://"+p.Addr().String())
		cmd := s.tool(t, dir, k.env, "polder", args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.stalled:
		case <-time.After(storeLimit):
			t.Fatal("the copy did not come as far as it may")
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		if _, err := os.Stat(filepath.Join(dir, "back")); err == nil {
			t.Error("half a download has its name")
		}
		way.Store(1 << 40)
		before := p.sent[i].Load()
		k.ok("", args...)
		// What was in flight is lost: a part for each of the requests at once.
		again := p.sent[i].Load() - before
		t.Logf("%v: %d of %d bytes were sent again, although %d had been", args, again, size, before)
		if again > size-pass+(parallel+1)*part {
			t.Error("that is more than was in flight")
		}
	}
	k.same("large", "back")
}

package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"polder.dev/polder/storage/s3/sigv4"
)

func TestDivide(t *testing.T) {
	for disks := 1; disks < 20; disks++ {
		for _, bytesMax := range []int64{0, MemoryMin(disks), 8 << 30} {
			p, err := divide(bytesMax, disks)
			if err != nil {
				t.Fatal(err)
			}
			sum := p.bytesMax/8 + programBytes + int64(disks)*(changesBytes+p.indexBytes) + p.clientsBytes
			if sum > p.bytesMax || p.indexBytes < indexBytesMin || p.clientsBytes < clientsMin || bytesMax == 0 && p.indexBytes != indexBytesMax {
				t.Errorf("%d bytes for %d disks make %+v, in all %d", bytesMax, disks, p, sum)
			}
		}
		if _, err := divide(MemoryMin(disks)-1, disks); err == nil || !strings.Contains(err.Error(), "MiB) or more") {
			t.Errorf("too little for %d disks: %v", disks, err)
		}
	}
}

// childVariable has the test binary serve a directory.
const childVariable = "POLDER_TEST_MEMORY"

// TestMemoryChild is the process that TestMemory looks at.
func TestMemoryChild(t *testing.T) {
	dir := os.Getenv(childVariable)
	if dir == "" {
		t.Skip("it is TestMemory's child")
	}
	s, url, _ := run(t, Config{Dir: dir, HotBytes: 256 << 20, MemoryBytesMax: MemoryMin(1), patience: time.Hour, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	s.BoundHeap()
	fmt.Println(url)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it
}

// child is a store in a process of its own.
type child struct {
	t   *testing.T
	dir string
	url string
	pid int

	peak int64 // of what was looked at
}

func serveAlone(t *testing.T) *child {
	t.Helper()
	c := &child{t: t, dir: t.TempDir()}
	cmd := exec.Command(os.Args[0], "-test.run=^TestMemoryChild$", "-test.v")
	cmd.Env = append(os.Environ(), childVariable+"="+c.dir, "GOGC=100", "GOMEMLIMIT=")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.pid = cmd.Process.Pid
	lines := bufio.NewScanner(out)
	t.Cleanup(func() {
		_ = in.Close()
		for lines.Scan() {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the store: %v", err)
		}
	})
	for c.url == "" {
		if !lines.Scan() {
			t.Fatal("the store ended")
		}
		if strings.HasPrefix(lines.Text(), "http://") {
			c.url = lines.Text()
		}
	}
	return c
}

// resident is what the process has in memory, in bytes, apart from pages of files.
func (c *child) resident() int64 {
	c.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(l, "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				c.t.Fatal(err)
			}
			return kb << 10
		}
	}
	c.t.Fatal("the kernel does not tell a process's memory")
	return 0
}

// metric is one by name and labels.
func (c *child) metric(name string) float64 {
	c.t.Helper()
	_, text := ask(c.t, c.dir, "GET", "/metrics", "")
	for l := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(l, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				c.t.Fatal(err)
			}
			return v
		}
	}
	c.t.Fatalf("there is no metric %s", name)
	return 0
}

// until waits for something to be so, and looks at memory meanwhile.
func (c *child) until(what string, is func() bool) {
	c.t.Helper()
	for limit := time.Now().Add(2 * time.Minute); !is(); {
		c.bounded(what)
		if time.Now().After(limit) {
			c.t.Fatalf("it is never so that %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.bounded(what)
}

func (c *child) bounded(what string) {
	c.t.Helper()
	n := c.resident()
	c.peak = max(c.peak, n)
	if n > MemoryMin(1) {
		c.t.Fatalf("%s: it has %d MiB in memory, more than %d", what, n>>20, MemoryMin(1)>>20)
	}
}

// taken reports whether the store has read all that was sent to it: no byte waits in the
// kernel on a connection with its port.
func (c *child) taken() bool {
	c.t.Helper()
	port, err := strconv.Atoi(c.url[strings.LastIndex(c.url, ":")+1:])
	if err != nil {
		c.t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		c.t.Fatal(err)
	}
	end := fmt.Sprintf(":%04X", port)
	for l := range strings.Lines(string(text)) {
		f := strings.Fields(l)
		if len(f) < 5 || !strings.HasSuffix(f[1], end) && !strings.HasSuffix(f[2], end) {
			continue
		}
		if f[3] == "01" && f[4] != "00000000:00000000" {
			return false
		}
	}
	return true
}

func (c *child) do(client *http.Client, method, path string, body io.Reader, size int64) error {
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, body)
	if err != nil {
		return err
	}
	r.ContentLength = size
	signer := sigv4.Signer{AccessKey: "a:u", Secret: "secret", Region: "us-east-1"}
	if err := signer.Sign(r, "UNSIGNED-PAYLOAD", time.Now()); err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode/100 != 2 {
		err = errors.New(resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

// halted is a body that yields some bytes, in pieces of a length, and then waits.
type halted struct {
	left, piece int
	halt        func()
	on          <-chan struct{}
}

func (h *halted) Read(p []byte) (int, error) {
	if h.left == 0 {
		h.halt()
		<-h.on
		return 0, errors.New("enough")
	}
	n := min(len(p), h.left, h.piece)
	h.left -= n
	return n, nil
}

// uploads begins some, each of which sends so many bytes in pieces, and returns when the
// store has taken them. stop breaks them off.
func (c *child) uploads(name string, count, bytes, piece int) (stop func()) {
	c.t.Helper()
	var all, sent sync.WaitGroup
	on := make(chan struct{})
	client := &http.Client{Transport: &http.Transport{}}
	before := int(c.metric("polder_storage_requests"))
	for i := range count {
		sent.Add(1)
		all.Go(func() {
			done := sync.OnceFunc(sent.Done)
			defer done()
			err := c.do(client, http.MethodPut, fmt.Sprintf("/data/%s-%d", name, i), &halted{bytes, piece, done, on}, 2<<20)
			select {
			case <-on:
			default:
				c.t.Errorf("an upload ended: %v", err)
			}
		})
	}
	sent.Wait()
	c.until(fmt.Sprintf("%d %s uploads are under way", count, name), func() bool {
		return int(c.metric("polder_storage_requests")) == before+count && c.taken()
	})
	return sync.OnceFunc(func() {
		close(on)
		all.Wait()
	})
}

// TestMemory: a process with the least memory stays within it, whatever is under way, and
// bodies push cached objects out.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes a gigabyte")
	}
	const (
		bodies   = `polder_storage_memory_bytes{part="bodies"}`
		cached   = `polder_storage_memory_bytes{part="cache"}`
		requests = `polder_storage_memory_bytes{part="requests"}`
	)
	c := serveAlone(t)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 300}}
	must := func(method, path string, body []byte) {
		t.Helper()
		if err := c.do(client, method, path, bytes.NewReader(body), int64(len(body))); err != nil {
			t.Fatal(method, path, err)
		}
	}
	must("PUT", "/data", nil)
	object := bytes.Repeat([]byte("polder"), 1<<20)
	for i := range 45 {
		must("PUT", fmt.Sprintf("/data/%d", i), object)
		for range 2 { // what is read once is not kept
			must("GET", fmt.Sprintf("/data/%d", i), nil)
		}
	}
	full := c.metric("polder_storage_memory_clients_bytes")
	if n := c.metric(cached); n < full/2 {
		t.Errorf("%v of %v bytes are cached objects", n, full)
	}
	var idle sync.WaitGroup // connections
	for range 300 {
		idle.Go(func() {
			if err := c.do(client, http.MethodHead, "/data/1", nil, 0); err != nil {
				t.Error(err)
			}
		})
	}
	idle.Wait()
	c.until("no request is served", func() bool { return c.metric("polder_storage_requests") == 0 })
	if n := c.metric(requests); n != 0 {
		t.Errorf("idle connections hold %v bytes", n)
	}
	stopSlow := c.uploads("slow", 100, 8<<10, 1)
	defer stopSlow()
	if n := c.metric(bodies); n != 0 {
		t.Errorf("bodies that send little hold %v bytes beside their own", n)
	}
	was := c.metric(cached)
	stopFast := c.uploads("fast", 300, 1<<20+70_000, 1<<20)
	defer stopFast()
	if n := c.metric(bodies); n == 0 || n > full/3 {
		t.Errorf("bodies hold %v of %v bytes", n, full)
	}
	if n := c.metric(cached); n >= was {
		t.Errorf("cached objects have %v bytes, of %v before there were bodies", n, was)
	}
	must("GET", "/data/3", nil)
	must("PUT", "/data/later", object)
	must("PUT", "/data/inline", object[:100_000])
	must("GET", "/data/inline", nil)
	stopFast()
	stopSlow()
	c.until("all uploads have ended", func() bool { return c.metric("polder_storage_requests") == 0 })
	t.Logf("at most %d MiB", c.peak>>20)
	if n, m := c.metric(bodies), c.metric(requests); n != 0 || m != 0 {
		t.Errorf("after all there are %v bytes of bodies, %v of requests", n, m)
	}
}

package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"polder.dev/polder/storage/s3/sigv4"
)

// plainVariable tells a child of this program to be the plain server of an address.
const plainVariable = "POLDER_MEASURE_PLAIN"

const (
	doorKey    = "test:tester"
	doorSecret = "secret-of-a-benchmark"
)

// door is an object store, or what stands for one, that answers S3.
type door struct {
	name, url string
	signer    *sigv4.Signer // nil: it asks nobody who they are
	client    *http.Client
	process   *exec.Cmd
	failed    error // of making the buckets
}

// measureDoors: S3 over HTTP, each server a process of its own, in turns, with one client
// that signs and does not hash: polder, versitygw over POSIX, and a handler that does no
// more than hash. It needs -polder, and -versitygw for the second.
func measureDoors(ctx context.Context, b *bench) (err error) {
	dir := filepath.Join(b.storeDir, "doors")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var doors []*door
	defer func() {
		for _, d := range doors {
			err = errors.Join(err, d.stop())
		}
	}()
	open := func(d *door, e error) (*door, error) {
		if e == nil {
			doors = append(doors, d)
		}
		return d, e
	}
	polder, err := open(polderDoor(ctx, b.cloud.program, dir))
	if err != nil {
		return err
	}
	plain, err := open(plainDoor(ctx, filepath.Join(dir, "files")))
	if err != nil {
		return err
	}
	races := polder.races("polder", map[string]http.Header{
		"synced": {}, "written": {"X-Polder-Durability": {"written"}}, "any": {"X-Polder-Durability": {"written"}, "X-Polder-Etag": {"any"}},
	})
	races = append(races, plain.races("a plain handler", map[string]http.Header{"hash": nil, "discard": nil, "file": nil})...)
	if b.versity != "" {
		versity, err := open(versityDoor(ctx, b.versity, dir))
		if err != nil {
			return err
		}
		races = append(races, versity.races("versitygw", map[string]http.Header{"posix": {}})...)
	}
	if err := errors.Join(polder.failed, plain.failed); err != nil {
		return err
	}
	if err := b.race(races); err != nil {
		return err
	}
	mib, err := polder.underUploads("synced")
	if err != nil {
		return err
	}
	b.add(fmt.Sprintf("memory of polder while %d uploads of %d MiB are under way", uploadsAtOnce, uploadBytes>>20), "MiB", []float64{mib}, "without pages of files")
	return nil
}

// races are the operations on each bucket, which is made with headers.
func (d *door) races(who string, buckets map[string]http.Header) []race {
	var out []race
	for _, bucket := range []string{"synced", "written", "any", "posix", "hash", "discard", "file"} {
		h, ok := buckets[bucket]
		if !ok {
			continue
		}
		if h != nil {
			if err := d.do(http.MethodPut, "/"+bucket, h, nil); err != nil {
				d.failed = errors.Join(d.failed, fmt.Errorf("making bucket %s of %s: %w", bucket, d.name, err))
			}
		}
		name := who + ", " + bucket
		put := func(i int, body []byte) error { return d.do(http.MethodPut, "/"+bucket+"/"+key(i), nil, body) }
		get := func(i int, _ []byte) error { return d.do(http.MethodGet, "/"+bucket+"/"+key(i), nil, nil) }
		out = append(out,
			race{"PUT 4 KiB, " + name, 16, smallBytes, "", put}, race{"GET 4 KiB, " + name, 16, smallBytes, "", get},
			race{"PUT 10 MiB, " + name, 8, largeBytes, "", put}, race{"GET 10 MiB, " + name, 8, largeBytes, "", get},
		)
	}
	return out
}

func (d *door) do(method, path string, h http.Header, body []byte) error {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequest(method, d.url+path, r)
	if err != nil {
		return err
	}
	for k, v := range h {
		req.Header[k] = v
	}
	if d.signer != nil {
		if err := d.signer.Sign(req, "UNSIGNED-PAYLOAD", time.Now()); err != nil {
			return err
		}
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	buf := discards.Get().(*[]byte)
	defer discards.Put(buf)
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{resp.Body}, *buf)
	if err == nil && resp.StatusCode/100 != 2 {
		err = errors.New(resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

var discards = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// begin starts a server and waits until it answers.
func begin(ctx context.Context, name, addr string, signer *sigv4.Signer, cmd *exec.Cmd) (*door, error) {
	d := &door{
		name: name, url: "http://" + addr, signer: signer, process: cmd,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, WriteBufferSize: 128 << 10, ReadBufferSize: 128 << 10, DisableCompression: true}},
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	for limit := time.Now().Add(20 * time.Second); ; {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return d, c.Close()
		}
		if time.Now().After(limit) || ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("%s does not answer at %s: %w: %s", name, addr, err, said.String()), d.stop())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (d *door) stop() error {
	if err := d.process.Process.Kill(); err != nil { // what it holds is removed
		return err
	}
	var exit *exec.ExitError
	if err := d.process.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// free is an address that nobody listens on.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func polderDoor(ctx context.Context, program, dir string) (*door, error) {
	addr, err := free()
	if err != nil {
		return nil, err
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(doorSecret), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "store", "serve", "--data-dir", filepath.Join(dir, "polder"), "--listen", addr, "--access-key", doorKey, "--secret-key-file", secret)
	return begin(ctx, "polder", addr, &sigv4.Signer{AccessKey: doorKey, Secret: doorSecret, Region: "us-east-1"}, cmd)
}

func versityDoor(ctx context.Context, program, dir string) (*door, error) {
	addr, err := free()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "versitygw")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "--port", addr, "--quiet", "posix", data)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY=tester", "ROOT_SECRET_KEY="+doorSecret)
	return begin(ctx, "versitygw", addr, &sigv4.Signer{AccessKey: "tester", Secret: doorSecret, Region: "us-east-1"}, cmd)
}

func plainDoor(ctx context.Context, dir string) (*door, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	addr, err := free()
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), plainVariable+"="+addr+" "+dir)
	return begin(ctx, "plain", addr, nil, cmd)
}

// servePlain is the child: it reads bodies, hashes those of /hash/ and of /file/, which it
// also writes to files, keeps no others, and answers a GET with as many bytes as the name
// was last put with, of /file/ the file.
func servePlain(order string) error {
	addr, dir, _ := strings.Cut(order, " ")
	files := plainFiles(dir)
	var sizes sync.Map
	memory := make([]byte, largeBytes)
	bufs := sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}
	s := &http.Server{Addr: addr, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isFile := strings.CutPrefix(r.URL.Path, "/file/")
		if isFile && r.Method == http.MethodGet {
			http.ServeFile(w, r, files.path(name))
			return
		}
		if isFile {
			h := md5.New()
			if err := files.write(name, io.TeeReader(r.Body, h), false); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("ETag", fmt.Sprintf("%x", h.Sum(nil)))
			return
		}
		if r.Method == http.MethodGet {
			n, _ := sizes.Load(r.URL.Path)
			size, _ := n.(int64)
			w.Header().Set("Content-Length", fmt.Sprint(size))
			_, _ = w.Write(memory[:size]) // the client counts
			return
		}
		h := md5.New()
		var to io.Writer = struct{ io.Writer }{io.Discard}
		if strings.HasPrefix(r.URL.Path, "/hash/") {
			to = h
		}
		b := bufs.Get().(*[]byte)
		defer bufs.Put(b)
		n, err := io.CopyBuffer(to, r.Body, *b)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		sizes.Store(r.URL.Path, n)
		w.Header().Set("ETag", fmt.Sprintf("%x", h.Sum(nil)))
	})}
	return s.ListenAndServe()
}

// uploadsAtOnce of uploadBytes each are under way when memory is read.
const (
	uploadsAtOnce = 1000
	uploadBytes   = 100 << 20
	uploadSent    = 1 << 20 // of each, before it stalls
)

// stalled is a body that yields its beginning and then waits.
type stalled struct {
	left int
	sent func()
	on   <-chan struct{}
}

func (s *stalled) Read(p []byte) (int, error) {
	if s.left == 0 {
		s.sent()
		<-s.on
		return 0, errors.New("enough")
	}
	n := min(len(p), s.left)
	s.left -= n
	return n, nil
}

// underUploads is the server's memory, without pages of files, while many uploads of 100
// MiB are under way, each of which has sent more than the server takes in at once.
func (d *door) underUploads(bucket string) (float64, error) {
	var all, sent sync.WaitGroup
	on := make(chan struct{})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: uploadsAtOnce}}
	for i := range uploadsAtOnce {
		sent.Add(1)
		all.Go(func() {
			var once sync.Once
			done := func() { once.Do(sent.Done) }
			defer done()
			req, err := http.NewRequest(http.MethodPut, fmt.Sprintf("%s/%s/upload-%d", d.url, bucket, i), &stalled{uploadSent, done, on})
			if err != nil {
				return
			}
			req.ContentLength = uploadBytes
			if err := d.signer.Sign(req, "UNSIGNED-PAYLOAD", time.Now()); err != nil {
				return
			}
			if resp, err := client.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		})
	}
	sent.Wait()
	mib, err := anonymousOf(d.process.Process.Pid)
	close(on)
	all.Wait()
	return mib, err
}

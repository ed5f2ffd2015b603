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
	processes []*exec.Cmd
}

// measureDoors: S3 over HTTP, each server a process of its own, in turns, with one client
// that signs and does not hash: polder, a handler that does no more than is asked of it,
// and its peers. It needs -polder, and of the peers there are those that -versitygw, -aisnode
// and -swift name.
func measureDoors(ctx context.Context, b *bench) (err error) {
	dir := filepath.Join(b.storeDir, "doors")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	written := http.Header{"X-Polder-Durability": {"written"}}
	unhashed := written.Clone()
	unhashed.Set("X-Polder-Etag", "any")
	var doors []*door
	var races []race
	defer func() {
		for _, d := range doors {
			err = errors.Join(err, d.stop())
		}
	}()
	for _, e := range []struct {
		program string // "" is not there
		open    func(ctx context.Context, program, dir string) (*door, error)
		buckets []raced
	}{
		{b.cloud.program, polderDoor, []raced{{name: "synced", read: true}, {name: "written", header: written}, {name: "any", header: unhashed}}},
		{"plain", plainDoor, []raced{{name: "hash", there: true, read: true}, {name: "discard", there: true}, {name: "file", there: true, read: true}, {name: "file-sync", there: true}}},
		{b.versity, versityDoor, []raced{{name: "posix", read: true}}},
		{b.aisnode, aisDoor, []raced{{name: "md5", there: true, read: true}, {name: "md5-fsync", there: true}, {name: "xxhash", there: true}}},
		{b.swift, swiftDoor, []raced{{name: "synced", read: true}}},
	} {
		if e.program == "" {
			continue
		}
		d, err := e.open(ctx, e.program, dir)
		if err != nil {
			return err
		}
		doors = append(doors, d)
		more, err := d.races(e.buckets)
		if err != nil {
			return err
		}
		races = append(races, more...)
	}
	if err := b.race(races); err != nil {
		return err
	}
	mib, err := doors[0].underUploads("synced")
	if err != nil {
		return err
	}
	b.add(fmt.Sprintf("memory of polder while %d uploads of %d MiB are under way", uploadsAtOnce, uploadBytes>>20), "MiB", []float64{mib}, "without pages of files")
	return nil
}

// raced is a bucket that objects are put into and, with read, got from. Unless it is
// there, it is made, with header.
type raced struct {
	name        string
	there, read bool
	header      http.Header
}

// races are the operations on each bucket.
func (d *door) races(buckets []raced) ([]race, error) {
	var out []race
	for _, k := range buckets {
		if !k.there {
			if err := d.do(http.MethodPut, "/"+k.name, k.header, nil); err != nil {
				return nil, fmt.Errorf("making bucket %s of %s: %w", k.name, d.name, err)
			}
		}
		name := d.name + ", " + k.name
		put := func(i int, body []byte) error { return d.do(http.MethodPut, "/"+k.name+"/"+key(i), nil, body) }
		get := func(i int, _ []byte) error { return d.do(http.MethodGet, "/"+k.name+"/"+key(i), nil, nil) }
		for _, size := range []struct {
			name           string
			clients, bytes int
		}{{"4 KiB", 16, smallBytes}, {"10 MiB", 8, largeBytes}} {
			out = append(out, race{"PUT " + size.name + ", " + name, size.clients, size.bytes, "", put})
			if k.read {
				out = append(out, race{"GET " + size.name + ", " + name, size.clients, size.bytes, "", get})
			}
		}
	}
	return out, nil
}

// do asks, and throws away what is answered.
func (d *door) do(method, path string, h http.Header, body []byte) error {
	return d.ask(method, path, h, body, io.Discard)
}

// ask writes what is answered to a writer.
func (d *door) ask(method, path string, h http.Header, body []byte, to io.Writer) error {
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
	buf := answers.Get().(*[]byte)
	defer answers.Put(buf)
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{resp.Body}, *buf)
	if err == nil && resp.StatusCode/100 != 2 {
		err = errors.New(resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

var answers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// How long a server may take to answer, and how often it is tried.
const (
	startMax  = 30 * time.Second
	startPoll = 20 * time.Millisecond
)

// owner signs as somebody who has the bench's secret.
func owner(key string) *sigv4.Signer {
	return &sigv4.Signer{AccessKey: key, Secret: doorSecret, Region: "us-east-1"}
}

// begin starts a server and waits until it answers.
func begin(ctx context.Context, name, addr string, signer *sigv4.Signer, cmd *exec.Cmd) (*door, error) {
	d := &door{
		name: name, url: "http://" + addr, signer: signer,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, WriteBufferSize: 128 << 10, ReadBufferSize: 128 << 10, DisableCompression: true}},
	}
	return d, d.also(ctx, addr, cmd)
}

// also starts a process more. If it does not answer, all are stopped.
func (d *door) also(ctx context.Context, addr string, cmd *exec.Cmd) error {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("starting %s: %w", d.name, err), d.stop())
	}
	d.processes = append(d.processes, cmd)
	for limit := time.Now().Add(startMax); ; time.Sleep(startPoll) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(limit) || ctx.Err() != nil {
			err = errors.Join(err, d.stop()) // then nothing is said any more
			return fmt.Errorf("%s does not answer at %s: %w: %s", d.name, addr, err, said.String())
		}
	}
}

// stop ends all processes and what they started; what they hold is removed.
func (d *door) stop() (err error) {
	for _, p := range d.processes {
		err = errors.Join(err, syscall.Kill(-p.Process.Pid, syscall.SIGKILL))
		var exit *exec.ExitError
		if e := p.Wait(); e != nil && !errors.As(e, &exit) {
			err = errors.Join(err, e)
		}
	}
	d.processes = nil
	return err
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
	return polderOn(ctx, program, dir, nil)
}

// polderOn has its disks in directories, by default one below dir.
func polderOn(ctx context.Context, program, dir string, disks []string) (*door, error) {
	addr, err := free()
	if err != nil {
		return nil, err
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(doorSecret), 0o600); err != nil {
		return nil, err
	}
	args := []string{"store", "serve", "--data-dir", filepath.Join(dir, "polder"), "--listen", addr, "--access-key", doorKey, "--secret-key-file", secret}
	for _, d := range disks {
		args = append(args, "--disk", d)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	return begin(ctx, "polder", addr, owner(doorKey), cmd)
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
	return begin(ctx, "versitygw", addr, owner("tester"), cmd)
}

func plainDoor(ctx context.Context, _, dir string) (*door, error) {
	dir = filepath.Join(dir, "files")
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
	return begin(ctx, "a plain handler", addr, owner(doorKey), cmd)
}

// servePlain is the child: it reads bodies and hashes them but for those of /discard/,
// writes those of /file/ to files and those of /file-sync/ to files that are synced, keeps
// no others, and answers a GET with as many bytes as the name was last put with, of the
// files the file.
func servePlain(order string) error {
	addr, dir, _ := strings.Cut(order, " ")
	files := plainFiles(dir)
	var sizes sync.Map
	memory := make([]byte, largeBytes)
	bufs := sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}
	s := &http.Server{Addr: addr, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bucket, name, _ := strings.Cut(r.URL.Path[1:], "/")
		isFile := strings.HasPrefix(bucket, "file")
		if isFile && r.Method == http.MethodGet {
			http.ServeFile(w, r, files.path(name))
			return
		}
		if isFile {
			h := md5.New()
			if err := files.write(name, io.TeeReader(r.Body, h), bucket == "file-sync"); err != nil {
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
		if bucket == "hash" {
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
	mib, err := anonymousOf(d.processes[0].Process.Pid)
	close(on)
	all.Wait()
	return mib, err
}

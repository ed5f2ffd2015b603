package swift_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	client "github.com/ncw/swift/v2"

	"polder.dev/polder/storage/swift"
)

// TestClient is a conversation with a Go client, as rclone has it.
func TestClient(t *testing.T) {
	d := open(t, func(c *swift.Config) { c.Now = time.Now })
	ctx := t.Context()
	c := &client.Connection{UserName: "test:tester", ApiKey: "testing", AuthUrl: d.url + "/auth/v1.0", Retries: 1}
	if err := c.Authenticate(ctx); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.ContainerCreate(ctx, "c", client.Headers{"X-Container-Meta-Color": "red"}))
	must(c.ContainerCreate(ctx, "c_segments", nil))
	body := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	for _, create := range []func(context.Context, *client.LargeObjectOpts) (client.LargeObjectFile, error){c.StaticLargeObjectCreate, c.DynamicLargeObjectCreate} {
		f, err := create(ctx, &client.LargeObjectOpts{Container: "c", ObjectName: "large", SegmentContainer: "c_segments", ChunkSize: 100_000})
		must(err)
		_, err = f.Write(body)
		must(err)
		must(f.Close())
		got, err := c.ObjectGetBytes(ctx, "c", "large")
		must(err)
		if !bytes.Equal(got, body) {
			t.Errorf("a large object reads %d bytes that are others", len(got))
		}
		o, _, err := c.ObjectOpen(ctx, "c", "large", false, nil)
		must(err)
		if _, err := o.Seek(ctx, 150_000, io.SeekStart); err != nil {
			t.Error(err)
		}
		part := make([]byte, 60_000)
		if _, err := io.ReadFull(o, part); err != nil || !bytes.Equal(part, body[150_000:210_000]) {
			t.Errorf("a part of a large object: %v", err)
		}
		must(o.Close())
		must(c.LargeObjectDelete(ctx, "c", "large"))
	}
	left, err := c.ObjectNamesAll(ctx, "c_segments", nil)
	if err != nil || len(left) != 0 {
		t.Errorf("segments that were left: %v, %v", left, err)
	}
	for _, n := range []string{"a/1", "a/2", "b"} {
		must(c.ObjectPutString(ctx, "c", n, n, ""))
	}
	list, err := c.ObjectsAll(ctx, "c", &client.ObjectsOpts{Delimiter: '/', Limit: 1})
	if err != nil || len(list) != 2 || list[0].SubDir != "a/" || list[1].Name != "b" {
		t.Errorf("listing %+v, %v", list, err)
	}
	_, err = c.ObjectCopy(ctx, "c", "b", "c", "copy", nil)
	must(err)
	must(c.ObjectUpdate(ctx, "c", "copy", client.Metadata{"size": "large"}.ObjectHeaders()))
	_, h, err := c.Object(ctx, "c", "copy")
	if err != nil || h.ObjectMetadata()["size"] != "large" {
		t.Errorf("metadata %v, %v", h, err)
	}
	res, err := c.BulkDelete(ctx, "c", []string{"a/1", "a/2", "b", "copy", "none"})
	if err != nil || res.NumberDeleted != 4 || res.NumberNotFound != 1 {
		t.Errorf("bulk deletion %+v, %v", res, err)
	}
	must(c.ContainerDelete(ctx, "c"))
	if _, _, err := c.Container(ctx, "c"); !errors.Is(err, client.ContainerNotFound) {
		t.Errorf("a container that was deleted: %v", err)
	}
}

// TestSwiftClient is a conversation with OpenStack's own client, where it is installed.
func TestSwiftClient(t *testing.T) {
	python := "/usr/bin/python3"
	if testing.Short() {
		t.Skip("an interpreter is started several times")
	}
	if err := exec.CommandContext(t.Context(), python, "-c", "import swiftclient").Run(); err != nil {
		t.Skip("python3-swiftclient is not installed")
	}
	d := open(t, func(c *swift.Config) { c.Now = time.Now })
	dir := t.TempDir()
	body := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	if err := os.WriteFile(filepath.Join(dir, "big"), body, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), python, append([]string{"-m", "swiftclient.shell"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "ST_AUTH="+d.url+"/auth/v1.0", "ST_USER=test:tester", "ST_KEY=testing")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("swift %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("upload", "c", "big", "--object-name", "slo", "-S", "100000", "--use-slo")
	run("upload", "c", "big", "--object-name", "dlo", "-S", "100000", "-H", "X-Object-Meta-A: b")
	run("download", "c", "slo", "dlo")
	for _, n := range []string{"slo", "dlo"} {
		if got, err := os.ReadFile(filepath.Join(dir, n)); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s reads %d bytes, %v", n, len(got), err)
		}
	}
	if got := run("stat", "c", "dlo"); !strings.Contains(got, "Meta A: b") || !strings.Contains(got, "Content Length: 320000") {
		t.Errorf("stat %s", got)
	}
	run("delete", "c", "slo")
	if got := d.do("t", "GET", "/v1/AUTH_test/c", ""); got.body != "dlo\n" {
		t.Errorf("listing %q", got.body)
	}
}

// benchmark asks for one thing again and again, over connections that stay.
func benchmark(b *testing.B, size int, method string, status int) {
	d := open(b, nil)
	d.want(201, "t", "PUT", "/v1/AUTH_test/c", "")
	body := bytes.Repeat([]byte("x"), size)
	d.want(201, "t", "PUT", "/v1/AUTH_test/c/o", string(body))
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10}}
	b.SetBytes(int64(size))
	b.SetParallelism(8)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			var in io.Reader
			if method == "PUT" {
				in = bytes.NewReader(body)
			}
			r, err := http.NewRequestWithContext(b.Context(), method, d.url+"/v1/AUTH_test/c/o", in)
			if err != nil {
				b.Error(err)
				return
			}
			r.Header.Set("X-Auth-Token", d.token["t"])
			res, err := c.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != status {
				b.Errorf("status %d, %v", res.StatusCode, err)
			}
			_ = res.Body.Close()
		}
	})
}

func BenchmarkGet4K(b *testing.B)  { benchmark(b, 4<<10, "GET", 200) }
func BenchmarkGet10M(b *testing.B) { benchmark(b, 10<<20, "GET", 200) }
func BenchmarkPut4K(b *testing.B)  { benchmark(b, 4<<10, "PUT", 201) }
func BenchmarkPut10M(b *testing.B) { benchmark(b, 10<<20, "PUT", 201) }

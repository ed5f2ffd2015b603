package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"polder.dev/polder/internal/usage"
	"polder.dev/polder/internal/version"
	"polder.dev/polder/model/pack"
	"polder.dev/polder/system/layout"
	"polder.dev/polder/workload/train"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// saved is a data directory of a cloud that was up once.
func saved(t *testing.T, config string) layout.Cloud {
	t.Helper()
	dir := t.TempDir()
	c, err := Open(dir, write(t, filepath.Join(t.TempDir(), "c.yaml"), config))
	if err != nil {
		t.Fatal(err)
	}
	if err := saveConfig(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestUpOfACloudThatIsUp(t *testing.T) {
	const config = "{network: {cidr: 10.9.0.0/16, egress: false}}"
	c := saved(t, config)
	for _, tc := range []struct{ name, config, version, out, err string }{
		{"nothing given", "", version.String(), "is up already.\n", ""},
		{"the same configuration", config, version.String(), "is up already.\n", ""},
		{"another configuration", "{network: {cidr: 10.9.0.0/16}}", version.String(), "", "`polder down`, then `polder up --config"},
		{"another version", "", "0.0.9", "It is version 0.0.9, and this program is " + version.String(), ""},
	} {
		file, again := "", c
		if tc.config != "" {
			file = write(t, filepath.Join(t.TempDir(), "c.yaml"), tc.config)
			var err error
			if again, err = Open(c.Dir, file); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		err := already(&out, again, file, Status{State: Up, Version: tc.version})
		if !strings.Contains(out.String(), tc.out) || tc.out == "" && out.Len() > 0 {
			t.Errorf("%s: it says %q, want %q", tc.name, &out, tc.out)
		}
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.err)
		}
	}
}

func TestACloudComesBackAsItWas(t *testing.T) {
	c := saved(t, "{node: {name: one}, network: {cidr: 10.9.0.0/16, egress: false}, sandbox: {platform: systrap}, logs: {files: 7}}")
	again, err := Open(c.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	want := c.Config
	want.APIVersion, want.Kind = "polder.dev/v1alpha1", "CloudConfig"
	if d := cmp.Diff(want, again.Config); d != "" || again.CIDR != c.CIDR {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestWhatACloudIsCannotChange(t *testing.T) {
	for name, tc := range map[string]struct{ config, want string }{
		"another range":          {"{node: {name: one}, network: {cidr: 10.10.0.0/16}}", "network.cidr"},
		"the default range":      {"{node: {name: one}}", "network.cidr"},
		"another name":           {"{node: {name: two}, network: {cidr: 10.9.0.0/16}}", "node.name"},
		"everything else may":    {"{node: {name: one}, network: {cidr: 10.9.0.0/16, egress: false}, sandbox: {platform: systrap}, registry: {storage: objects}}", ""},
		"a file that is refused": {"{nodes: {}}", "nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			c := saved(t, "{node: {name: one}, network: {cidr: 10.9.0.0/16}}")
			file := write(t, filepath.Join(t.TempDir(), "new.yaml"), tc.config)
			_, err := Open(c.Dir, file)
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("error %v must name %s and the file", err, tc.want)
			}
		})
	}
}

// TestObjectsStay: a registry on objects does not go back to files, said or not.
func TestObjectsStay(t *testing.T) {
	c := saved(t, "{registry: {storage: objects}}")
	for _, config := range []string{"{registry: {storage: files}}", "{network: {egress: false}}"} {
		file := write(t, filepath.Join(t.TempDir(), "new.yaml"), config)
		if _, err := Open(c.Dir, file); err == nil || !strings.Contains(err.Error(), "registry.storage") || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", config, err)
		}
	}
	if _, err := Open(c.Dir, ""); err != nil {
		t.Error(err)
	}
}

func TestResetRemovesOnlyClouds(t *testing.T) {
	for name, tc := range map[string]struct {
		files []string
		ok    bool
	}{
		"an empty directory":         {nil, true},
		"a cloud":                    {[]string{"config.yaml", "pki/ca.key"}, true},
		"a cloud that never came up": {[]string{"lock"}, true},
		"somebody's home":            {[]string{".profile", "thesis.tex"}, false},
	} {
		dir := t.TempDir()
		for _, f := range tc.files {
			write(t, filepath.Join(dir, f), "")
		}
		if err := ours(dir); (err == nil) != tc.ok || err != nil && !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := ours(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("no directory: %v", err)
	}
	if err := ours(write(t, filepath.Join(t.TempDir(), "file"), "")); err == nil {
		t.Error("a file was taken for a cloud")
	}
}

func TestKubeconfigs(t *testing.T) {
	c := saved(t, "network: {cidr: 10.9.0.0/16}")
	if err := os.MkdirAll(c.Path("etc"), 0o700); err != nil { // prepare makes it
		t.Fatal(err)
	}
	if err := identify(c, time.Now()); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"kubelet": c.Kubeconfig("kubelet"), leafAdmin: c.AdminKubeconfig()} {
		cfg, err := clientcmd.BuildConfigFromFlags("", path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if cfg.Host != "https://10.9.255.2:6443" || cfg.Insecure {
			t.Errorf("%s reaches %s, unverified: %v", name, cfg.Host, cfg.Insecure)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; it must be its owner's alone", path, info, err)
		}
	}
	raw, err := clientcmd.LoadFromFile(c.Kubeconfig("kubelet"))
	if err != nil {
		t.Fatal(err)
	}
	if u := raw.AuthInfos["kubelet"]; u == nil || u.ClientKey != c.Key("kubelet") || len(u.ClientKeyData) > 0 {
		t.Errorf("a component's key may be renewed, so it is not copied: %+v", u)
	}
	if raw, err = clientcmd.LoadFromFile(c.AdminKubeconfig()); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(c.Key(leafAdmin))
	if err != nil {
		t.Fatal(err)
	}
	if u := raw.AuthInfos[leafAdmin]; u == nil || u.ClientKey != "" || !bytes.Equal(u.ClientKeyData, key) {
		t.Error("the administrator's kubeconfig can be taken elsewhere, so it holds the key")
	}
	before, err := os.ReadFile(c.AdminKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := identify(c, time.Now()); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(c.AdminKubeconfig()); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a second start made other identities: %v", err)
	}
}

// TestSeekTail compares with what is obvious, across the blocks it reads by.
func TestSeekTail(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	texts := []string{"", "\n", "a", "a\n", "a\nb", "a\nb\n", "\n\n\n", strings.Repeat("x", 64<<10), strings.Repeat("x", 64<<10-1) + "\ny\n", strings.Repeat("x", 64<<10) + "\ny\n"}
	for range 20 {
		var b strings.Builder
		for range r.IntN(3000) {
			b.WriteString(strings.Repeat("x", r.IntN(100)) + "\n")
		}
		texts = append(texts, b.String()+strings.Repeat("z", r.IntN(2)))
	}
	for _, text := range texts {
		f, err := os.Open(write(t, filepath.Join(t.TempDir(), "log"), text))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(text, "\n")
		if lines[len(lines)-1] == "" {
			lines = lines[:len(lines)-1]
		}
		for _, n := range []int{0, 1, 2, 3, r.IntN(len(lines) + 1), len(lines), len(lines) + 5} {
			if err := seekTail(f, n); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(f)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Join(lines[len(lines)-min(n, len(lines)):], ""); string(got) != want {
				t.Fatalf("the last %d lines of %.30q (%d bytes): %d bytes, want %d", n, text, len(text), len(got), len(want))
			}
		}
		f.Close()
	}
}

func TestShowLog(t *testing.T) {
	c := saved(t, "{}")
	show := func(l Log) (string, error) {
		var b strings.Builder
		err := ShowLog(t.Context(), c.Dir, l, &b)
		return b.String(), err
	}
	if _, err := show(Log{Component: "etcd", Tail: -1}); !usage.Is(err) || !strings.Contains(err.Error(), "there is no cloud") {
		t.Errorf("without logs: %v", err)
	}
	write(t, c.Log("etcd"), "one\ntwo\nthree\n")
	write(t, c.Log("kubelet"), "x\n")
	write(t, c.Path("logs", "etcd-2026-01-01T00-00-00.000.log"), "old\n")
	if d := cmp.Diff([]string{"etcd", "kubelet"}, LogNames(c.Dir)); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
	if got, err := show(Log{Component: "etcd", Tail: -1}); err != nil || got != "one\ntwo\nthree\n" {
		t.Errorf("all: %q, %v", got, err)
	}
	if got, err := show(Log{Component: "etcd", Tail: 2}); err != nil || got != "two\nthree\n" {
		t.Errorf("the last two: %q, %v", got, err)
	}
	for _, name := range []string{"", "none", "../pki/ca"} {
		if _, err := show(Log{Component: name, Tail: -1}); !usage.Is(err) || !strings.Contains(err.Error(), "etcd, kubelet") {
			t.Errorf("%q: error %v must be one of usage, and name those there are", name, err)
		}
	}
}

// TestFollow goes on as the log grows, and over to the file that takes its place.
func TestFollow(t *testing.T) {
	c := saved(t, "{}")
	path := write(t, c.Log("etcd"), "old\none\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := ShowLog(ctx, c.Dir, Log{Component: "etcd", Follow: true, Tail: 1}, w)
		w.Close()
		done <- err
	}()
	expect := func(want string) {
		t.Helper()
		b := make([]byte, len(want))
		if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
			t.Fatalf("%q, %v; want %q", b, err, want)
		}
	}
	grow := func(text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(text)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	expect("one\n")
	grow("two\n")
	expect("two\n")
	grow("three\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, path, "four\n")
	expect("three\nfour\n")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOutputFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "out", "model.pt"), "weights")
	write(t, filepath.Join(dir, "out", "sub", "a.txt"), "a")
	write(t, filepath.Join(dir, "out", metricsName), "forged")
	secret := write(t, filepath.Join(dir, "secret"), "s")
	for link, to := range map[string]string{"absolute": secret, "relative": "../secret", "inside": "model.pt", "dir": ".."} {
		if err := os.Symlink(to, filepath.Join(dir, "out", link)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	measured, err := os.Open(write(t, filepath.Join(dir, "m"), "measured"))
	if err != nil {
		t.Fatal(err)
	}
	defer measured.Close()
	for name, tc := range map[string]struct {
		pub  train.Publication
		want map[string]string
	}{
		"links are left out":                   {train.Publication{Root: root}, map[string]string{"model.pt": "weights", "sub/a.txt": "a", metricsName: "forged"}},
		"what was measured comes from the job": {train.Publication{Root: root, MetricsFile: measured}, map[string]string{"model.pt": "weights", "sub/a.txt": "a", metricsName: "measured"}},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := outputFiles(tc.pub)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, f := range files {
				for range 2 { // to hash, and to send
					r, err := f.Open()
					if err != nil {
						t.Fatal(err)
					}
					b, err := io.ReadAll(r)
					r.Close()
					if err != nil || int64(len(b)) != f.Size {
						t.Errorf("%s: %d bytes, %v; it said %d", f.Path, len(b), err, f.Size)
					}
					got[f.Path] = string(b)
				}
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	// A file that becomes a link after it was listed does not lead out either.
	files, err := outputFiles(train.Publication{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "out", "model.pt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", filepath.Join(dir, "out", "model.pt")); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(files, func(f pack.File) bool { return f.Path == "model.pt" })
	if r, err := files[i].Open(); err == nil {
		b, _ := io.ReadAll(r)
		t.Errorf("a link was followed out of the output: %q", b)
	}
}

func TestOneSupervisorHoldsACloud(t *testing.T) {
	c := saved(t, "{}")
	first, err := hold(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hold(c); !errors.Is(err, errHeld) {
		t.Errorf("a second one: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := hold(c)
	if err != nil {
		t.Fatalf("after the first ended: %v", err)
	}
	again.Close()
}

func TestPartIsOneOfTheParts(t *testing.T) {
	for _, args := range [][]string{nil, {"etcd"}, {"etcd", "x"}, {"nonsense", "--data-dir=/x"}, {"up", "--data-dir=/x"}, {"etcd", "--data-dir=/x", "y"}} {
		if _, ok := Part(args); ok {
			t.Errorf("%q was taken for a component", args)
		}
	}
	// A component of a cloud whose configuration is broken says so.
	c := saved(t, "{}")
	write(t, c.Path(savedConfig), "{")
	if code, ok := Part([]string{"etcd", "--data-dir=" + c.Dir}); !ok || code != 2 {
		t.Errorf("code %d, %v", code, ok)
	}
}

func TestPrintStatus(t *testing.T) {
	c := saved(t, "{node: {name: one}, network: {cidr: 10.9.0.0/16}}")
	var b strings.Builder
	if err := printAs(&b, "", nil, func(w io.Writer) { printStatus(w, describe(c)) }); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("Cloud     Down\nData      %s\nNode      one\nAPI       https://10.9.255.2:6443\nRegistry  https://10.9.255.2:5000\nGateway   https://10.9.255.2:9443\n", c.Dir)
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := printAs(&b, "yaml", nil, nil); !usage.Is(err) {
		t.Errorf("-o yaml: %v", err)
	}
}

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/system/layout"
)

// TestSecurity looks at a running cloud as somebody who wants in.
func TestSecurity(t *testing.T) {
	c := shared(t)
	t.Run("nothing listens beyond the cloud's own link", func(t *testing.T) { checkListeners(t, c) })
	t.Run("strangers are turned away", func(t *testing.T) { checkStrangers(t, c) })
	t.Run("secrets are encrypted at rest", func(t *testing.T) { checkAtRest(t, c) })
	t.Run("keys are root's alone", func(t *testing.T) { checkKeys(t, c) })
	t.Run("no secret is in a process list", func(t *testing.T) { checkProcesses(t, c) })
}

// checkListeners compares the sockets of the machine's own network with those
// before the cloud was there. Only the cable into the cloud may have gained some.
func checkListeners(t *testing.T, c *cloud) {
	dns := 0
	for name, s := range listeners() {
		ip := s.addr.Addr()
		if ip == c.HostIP() {
			dns++
			continue
		}
		if _, old := c.before.listeners[name]; old || ip.IsLoopback() {
			continue
		}
		who := holder(s.inode)
		if now, there := listeners()[name]; !there || now.inode != s.inode {
			continue // somebody asked a question, and has the answer
		}
		if who == "" || strings.Contains(who, c.Dir) {
			t.Errorf("%s is new, held by %q", name, who)
		}
	}
	if dns == 0 {
		t.Errorf("nothing listens on %s, not even the name server: the sockets were not read", c.HostIP())
	}
}

// checkStrangers asks every door for something without a certificate.
func checkStrangers(t *testing.T, c *cloud) {
	for _, door := range []struct {
		name, url string
		refusal   int
	}{
		{"the API server", c.APIURL() + "/api", http.StatusUnauthorized},
		{"its version", c.APIURL() + "/version", http.StatusUnauthorized},
		{"its health", c.APIURL() + "/readyz", http.StatusUnauthorized},
		{"its metrics", c.APIURL() + "/metrics", http.StatusUnauthorized},
		{"the kubelet's pods", "https://" + c.At(layout.PortKubelet) + "/pods", http.StatusUnauthorized},
		{"the kubelet's metrics", "https://" + c.At(layout.PortKubelet) + "/metrics", http.StatusUnauthorized},
		// Upstream gives these two no way to turn anonymous users off; they may nothing.
		{"the controller manager's metrics", "https://" + c.At(layout.PortManager) + "/metrics", http.StatusForbidden},
		{"the scheduler's metrics", "https://" + c.At(layout.PortScheduler) + "/metrics", http.StatusForbidden},
		{"the controllers' metrics", "https://" + c.At(layout.PortControl) + "/metrics", http.StatusUnauthorized},
		{"the gateway", "https://" + c.At(layout.PortGateway) + "/default/v2", http.StatusUnauthorized},
		{"the gateway's metrics", "https://" + c.At(layout.PortGatewayMetrics) + "/metrics", http.StatusUnauthorized},
		{"the registry", c.RegistryURL() + "/v2/_catalog", http.StatusUnauthorized},
	} {
		text, code, err := ask(brief(t), door.url, c.trust(t, false))
		if code != door.refusal || err != nil {
			t.Errorf("%s answers a stranger with status %d, error %v: %.100q", door.name, code, err, text)
		}
		if _, code, err := ask(brief(t), door.url, c.trust(t, true)); err != nil || code != http.StatusOK {
			t.Errorf("%s answers the administrator with status %d, error %v: that a stranger is refused shows nothing", door.name, code, err)
		}
	}
	for _, certificate := range []bool{false, true} { // etcd believes an authority of its own
		trust := c.trust(t, certificate)
		trust.InsecureSkipVerify = true
		if _, code, err := ask(brief(t), "https://"+c.At(layout.PortEtcd)+"/version", trust); !turnedAway(err) {
			t.Errorf("etcd answers with status %d, error %v, where the administrator's certificate is shown: %v", code, err, certificate)
		}
	}
}

// turnedAway reports whether the other side ended the handshake.
func turnedAway(err error) bool {
	return err != nil && strings.Contains(err.Error(), "remote error: tls: ")
}

// checkAtRest writes a secret and looks for it on the disk and in the audit log.
func checkAtRest(t *testing.T, c *cloud) {
	word := func(what string) string {
		b := make([]byte, 16)
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
		return what + hex.EncodeToString(b)
	}
	hidden, open := word("hidden"), word("open")
	meta := metav1.ObjectMeta{Namespace: "default", GenerateName: "at-rest-"}
	secret := &corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"word": hidden}}
	public := &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"word": open}}
	if err := errors.Join(c.api(t).Create(brief(t), secret), c.api(t).Create(brief(t), public)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		if err := errors.Join(c.api(t).Delete(ctx, secret), c.api(t).Delete(ctx, public)); err != nil {
			t.Log(err)
		}
	})
	waitFor(t, time.Minute, "the map of settings in etcd's files", func(context.Context) error {
		return holds(c.Path("etcd"), open)
	})
	if err := holds(c.Path("etcd"), hidden); err == nil {
		t.Error("the secret lies in etcd's files as it is")
	}
	waitFor(t, time.Minute, "the secret's creation in the audit log", func(context.Context) error {
		return audited(c.Path("logs", "audit.log"), secret)
	})
	if err := holds(c.Path("logs"), hidden); err == nil {
		t.Error("the secret lies in a log")
	}
}

// holds returns nil when a file below dir holds text.
func holds(dir, text string) error {
	found := false
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || found {
			return nil // files come and go
		}
		b, _ := os.ReadFile(p)
		found = bytes.Contains(b, []byte(text))
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("no file below %s holds %s", dir, text)
	}
	return err
}

// audited returns nil when the audit log says who created the secret.
func audited(file string, s *corev1.Secret) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(b) {
		var e struct {
			Verb      string
			User      struct{ Username string }
			ObjectRef struct{ Resource, Namespace, Name string }
		}
		if !bytes.Contains(line, []byte(`"create"`)) || json.Unmarshal(line, &e) != nil {
			continue
		}
		// The name is generated, so the log may have only the kind and the place.
		if e.Verb == "create" && e.ObjectRef.Resource == "secrets" && e.ObjectRef.Namespace == s.Namespace && e.User.Username == "admin" &&
			(e.ObjectRef.Name == "" || e.ObjectRef.Name == s.Name) {
			return nil
		}
	}
	return fmt.Errorf("no line of %d bytes of %s is about secret %s", len(b), file, s.Name)
}

// secretFile matches what holds a key or a token, by name.
var secretFile = regexp.MustCompile(`(\.key|\.kubeconfig|/token|/encryption\.yaml)$`)

// checkKeys looks for keys that others than root may read, by their modes and
// then as nobody.
func checkKeys(t *testing.T, c *cloud) {
	seen := 0
	for _, top := range []string{c.Dir, c.Run()} {
		info, err := os.Stat(top)
		if err != nil {
			t.Fatal(err)
		}
		if m := info.Mode().Perm(); m&0o077 != 0 {
			t.Errorf("%s has mode %o", top, m)
		}
		_ = filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // it went while we looked
			}
			if d.IsDir() && (p == c.Path("containerd") || p == c.Path("registry") || p == c.Run("containerd")) {
				return fs.SkipDir // the files of images are as public as the images
			}
			info, err := d.Info()
			if err != nil || !info.Mode().IsRegular() {
				return nil
			}
			b := []byte(nil)
			if info.Size() < 1<<20 {
				b, _ = os.ReadFile(p)
			}
			if !secretFile.MatchString(p) && !bytes.Contains(b, []byte("PRIVATE KEY-----")) {
				return nil
			}
			seen++
			inPod := strings.HasPrefix(p, c.Path("kubelet", "pods")) // its user must read it; the directory above keeps others out
			if m := info.Mode().Perm(); m&0o077 != 0 && !inPod {
				t.Errorf("%s has mode %o", p, m)
			}
			return nil
		})
	}
	if seen < 15 {
		t.Errorf("only %d keys and tokens were found: they were not looked for in the right place", seen)
	}
	for _, p := range []string{c.AdminKubeconfig(), c.Key("ca"), c.Path("etc", "encryption.yaml"), c.Socket()} {
		if out, err := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", p).CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied") {
			t.Errorf("nobody reading %s: %v, %.100q", p, err, out)
		}
	}
}

// checkProcesses looks for secrets where every user of the machine can see them:
// in command lines; and in the environment, which what is debugged prints.
func checkProcesses(t *testing.T, c *cloud) {
	var secrets []string
	kubeconfig, err := os.ReadFile(c.AdminKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	encryption, err := os.ReadFile(c.Path("etc", "encryption.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?:client-key-data: "?|secret: )([A-Za-z0-9+/=]{40,})`).FindAllSubmatch(append(kubeconfig, encryption...), -1) {
		secrets = append(secrets, string(m[1]))
	}
	if len(secrets) != 2 {
		t.Fatalf("found %d secrets to look for, want the administrator's key and that of encryption", len(secrets))
	}
	form := regexp.MustCompile(`PRIVATE KEY|eyJ[\w-]{10,}\.eyJ|--token=\S|password=\S`)
	all := c.processes()
	if len(all) < 10 {
		t.Errorf("the cloud has only %d processes: they were not found", len(all))
	}
	for _, p := range all {
		text := p.args + " " + content(fmt.Sprintf("/proc/%d/environ", p.pid))
		if form.MatchString(text) || strings.Contains(text, secrets[0]) || strings.Contains(text, secrets[1]) {
			t.Errorf("process %d shows a secret: %.80s", p.pid, p.args)
		}
	}
}

//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/internal/pki"
)

// fence is a block of commands in a page.
var fence = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// TestStoreHowto runs every command of docs/howto/objects.md, in the order of the page,
// over TLS. What a reader would fill in is filled in.
func TestStoreHowto(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	ca, err := pki.OpenAuthority(dir, "ca", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{Name: "store", User: "store", DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, now)
	if err != nil {
		t.Fatal(err)
	}
	s := serveStore(t, "--tls-cert-file", pair.Cert, "--tls-key-file", pair.Key)
	work := things(t)
	prepare(t, dir, work)
	page, err := os.ReadFile("../../docs/howto/objects.md")
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer(
		"store.example.org:9000", s.host(), "AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...", "AWS_ACCESS_KEY_ID=test:tester AWS_SECRET_ACCESS_KEY=testing",
		"account:user", "test:tester", "-K password", "-K testing",
	)
	// Debian's aws of 2022 does not know the variable, as the page says.
	script := "set -euo pipefail\naws() { command aws --endpoint-url \"$AWS_ENDPOINT_URL_S3\" \"$@\"; }\n"
	blocks := fence.FindAllSubmatch(page, -1)
	if len(blocks) < 4 {
		t.Fatalf("only %d blocks of commands in the page", len(blocks))
	}
	for i, b := range blocks {
		script += fmt.Sprintf("echo '--- block %d'\n%s", i, fill.Replace(strings.ReplaceAll(string(b[1]), "| head", "| sed -n 1p")))
	}
	script += "\necho '--- all'\n"
	for _, json := range regexp.MustCompile("(?ms)^```json\n(.*?)^```$").FindAllSubmatch(page, -1) {
		verb := "policy"
		if strings.Contains(string(json[1]), "Rules") {
			verb = "lifecycle"
		}
		script += fmt.Sprintf("cat >%s.json <<'EOF'\n%sEOF\npolder bucket %s set data %s.json\npolder bucket %s get data\n", verb, json[1], verb, verb, verb)
	}
	cmd := s.tool(t, work, []string{"PATH=" + filepath.Dir(program) + ":" + debianPath}, "env", "bash", "-c", script)
	out, code := output(t, cmd)
	if code != 0 || !strings.Contains(out, "--- all") {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	diff := &talk{t: t, s: s, dir: work}
	diff.same("imagenet", "back")
}

// prepare makes the files that the page speaks of.
func prepare(t *testing.T, dir, work string) {
	t.Helper()
	cmd := exec.Command("/bin/bash", "-ec", `cp "$1/ca.crt" . ; mv tree imagenet; echo cat >imagenet/labels.txt; cp -r imagenet dataset; mkdir logs; echo x >logs/1; mv big train.tar`, "sh", dir)
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

package cli

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/storage/accesslog"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/s3"
	"polder.dev/polder/storage/transfer"
)

const hidden = "a-secret-that-nobody-shows"

// store serves one in memory and sets the environment to it.
func objectStore(t *testing.T) {
	t.Helper()
	away(t)
	m := mem.New(0, time.Now)
	t.Cleanup(func() { _ = m.Close() })
	users, err := iam.NewUsers([]iam.User{{Account: "main", Name: "root", AccessKey: "KEY", SecretKey: hidden, Roles: []string{"admin"}}})
	if err != nil {
		t.Fatal(err)
	}
	space, err := naming.Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	var door *s3.Server
	logs, err := accesslog.New(accesslog.Options{Put: func(ctx context.Context, from *accesslog.Source, bucket, key string, text []byte) error {
		return door.PutLog(ctx, from, bucket, key, text)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if door, err = s3.New(s3.Config{Space: space, Directory: users, Access: logs}); err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(door)
	t.Cleanup(h.Close)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("AWS_ENDPOINT_URL_S3", h.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "KEY")
	t.Setenv("AWS_SECRET_ACCESS_KEY", hidden)
}

// says runs a command line that must end with code, and returns what it prints.
func says(t *testing.T, code int, args ...string) (out, errs string) {
	t.Helper()
	got, out, errs, _ := program(t, args...)
	if got != code {
		t.Errorf("polder %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, errs)
	}
	if strings.Contains(out+errs, hidden) {
		t.Errorf("polder %s shows the secret key", strings.Join(args, " "))
	}
	return out, errs
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestObjectsFromTheCommandLine(t *testing.T) {
	objectStore(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.txt"), "hello")
	writeFile(t, filepath.Join(dir, "sub/b"), "")
	out, _ := says(t, 0, "ls")
	if !strings.Contains(out, "polder bucket create") {
		t.Errorf("without buckets ls says %q", out)
	}
	says(t, 0, "bucket", "create", "data", "--versioning", "--durability", "synced")
	says(t, 2, "bucket", "create", "data")
	out, _ = says(t, 0, "cp", "-r", dir, "s3://data/in")
	for _, want := range []string{"uploaded " + dir + "/a.txt -> s3://data/in/a.txt\n", "uploaded " + dir + "/sub/b -> s3://data/in/sub/b\n", "\n2 objects, 5 B in "} {
		if !strings.Contains("\n"+out, want) {
			t.Errorf("cp -r says\n%swhich lacks %q", out, want)
		}
	}
	out, _ = says(t, 0, "ls", "s3://data/in/")
	if !regexp.MustCompile(`^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d         5 B  in/a.txt\n {19} {9}DIR  in/sub/\n$`).MatchString(out) {
		t.Errorf("ls says\n%s", out)
	}
	if out, _ = says(t, 0, "cat", "s3://data/in/a.txt", "s3://data/in/sub/b"); out != "hello" {
		t.Errorf("cat says %q", out)
	}
	says(t, 0, "cp", "s3://data/in/a.txt", filepath.Join(dir, "back"))
	if b, err := os.ReadFile(filepath.Join(dir, "back")); err != nil || string(b) != "hello" {
		t.Errorf("it came back as %q, %v", b, err)
	}
	if out, _ = says(t, 0, "cp", "s3://data/in/a.txt", "-"); out != "hello" {
		t.Errorf("cp to - says %q", out)
	}
	out, _ = says(t, 0, "sync", dir, "s3://data/in", "--dry-run", "--delete")
	if out != "would upload "+dir+"/back -> s3://data/in/back\n1 object would change; 2 were the same.\n" {
		t.Errorf("a dry run says\n%s", out)
	}
	says(t, 0, "cp", "s3://data/in/a.txt", "s3://data/in/extra")
	out, _ = says(t, 0, "sync", dir, "s3://data/in", "--delete")
	if !strings.Contains(out, "removed s3://data/in/extra\n") || !strings.Contains(out, "uploaded "+dir+"/back") {
		t.Errorf("sync says\n%s", out)
	}
	says(t, 0, "rm", "s3://data/in/back")
	out, _ = says(t, 0, "ls", "-r", "--versions", "s3://data/in/back")
	if strings.Count(out, "in/back") != 2 || !strings.Contains(out, "   deleted  in/back") || !strings.Contains(out, "latest") {
		t.Errorf("ls --versions says\n%s", out)
	}
	says(t, 2, "bucket", "rm", "data")
	says(t, 0, "bucket", "rm", "data", "--force")
	if out, _ = says(t, 0, "bucket", "ls", "-o", "json"); out != "[]\n" {
		t.Errorf("after all is removed there is %s", out)
	}
}

func TestListingsForPrograms(t *testing.T) {
	objectStore(t)
	says(t, 0, "bucket", "create", "data")
	if out, _ := says(t, 0, "ls", "s3://data", "-o", "json"); out != "[]\n" {
		t.Errorf("nothing is %q", out)
	}
	file := writeFile(t, filepath.Join(t.TempDir(), "x"), "12")
	for _, k := range []string{"a", "b/c", "odd\x1b[2J"} {
		says(t, 0, "cp", file, "s3://data/"+k)
	}
	out, _ := says(t, 0, "ls", "s3://data", "-o", "json")
	var got []transfer.Entry
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	var keys []string
	for _, e := range got {
		keys = append(keys, e.Key)
	}
	if d := cmp.Diff([]string{"a", "b/", "odd\x1b[2J"}, keys); d != "" || got[0].Size != 2 || got[0].Modified.IsZero() || !got[1].Prefix {
		t.Errorf("%+v (-want +got):\n%s", got, d)
	}
	if out, _ = says(t, 0, "ls", "s3://data"); strings.Contains(out, "\x1b") {
		t.Errorf("a key reaches the terminal: %q", out)
	}
	out, _ = says(t, 0, "bucket", "show", "data", "--count", "-o", "json")
	var b transfer.Bucket
	if err := json.Unmarshal([]byte(out), &b); err != nil || b.Objects == nil || *b.Objects != 3 || *b.Bytes != 6 {
		t.Errorf("%v, %s", err, out)
	}
}

func TestFailuresAreNamed(t *testing.T) {
	objectStore(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "good"), "1")
	writeFile(t, filepath.Join(dir, "bad\xff"), "2")
	says(t, 0, "bucket", "create", "data")
	out, errs := says(t, 1, "cp", "-r", dir, "s3://data")
	if !strings.Contains(errs, `bad\xff`) || !strings.Contains(errs, "polder: cp: 1 of 2 objects failed") || !strings.Contains(out, "uploaded "+dir+"/good") {
		t.Errorf("%s%s", out, errs)
	}
	_, errs = says(t, 1, "sync", dir, "s3://data", "--delete")
	if !strings.Contains(errs, "nothing is removed") {
		t.Errorf("%s", errs)
	}
	for _, args := range [][]string{
		{"ls", "s3://none"}, {"cat", "s3://data/none"}, {"cp", "s3://data/none", dir}, {"rm", "s3://data/none"}, {"rm", "-r", "s3://data/none"}, {"cp", filepath.Join(dir, "none"), "s3://data"},
		{"ls", "s3://data/none"}, {"bucket", "show", "none"}, {"bucket", "policy", "get", "data"}, {"bucket", "policy", "set", "data", filepath.Join(dir, "none")}, {"bucket", "policy", "set", "data", filepath.Join(dir, "good\xff")},
	} {
		code, out, errs, _ := program(t, args...)
		if code == 0 || errs == "" || strings.Contains(errs, hidden) || strings.Contains(out, "[") {
			t.Errorf("polder %q: exit code %d, %q, %q", args, code, out, errs)
		}
	}
}

func TestBucketDocuments(t *testing.T) {
	objectStore(t)
	says(t, 0, "bucket", "create", "data")
	policy := writeFile(t, filepath.Join(t.TempDir(), "p.json"), `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::data/*"}]}`)
	tiers := writeFile(t, filepath.Join(t.TempDir(), "t.json"), `{"write":"back","pinned":["in/"]}`)
	says(t, 0, "bucket", "tier", "set", "data", tiers)
	if out, _ := says(t, 0, "bucket", "tier", "get", "data"); out != `{"write":"back","pinned":["in/"]}`+"\n" {
		t.Errorf("the policy of tiers is %q", out)
	}
	says(t, 0, "bucket", "tier", "rm", "data")
	if out, _ := says(t, 0, "bucket", "tier", "get", "data"); out != `{"write":"home"}`+"\n" {
		t.Errorf("without a policy of tiers: %q", out)
	}
	says(t, 0, "bucket", "policy", "set", "data", policy)
	if out, _ := says(t, 0, "bucket", "policy", "get", "data"); !json.Valid([]byte(out)) || !strings.Contains(out, "s3:GetObject") {
		t.Errorf("the policy is %s", out)
	}
	if out, _ := says(t, 0, "bucket", "show", "data"); !regexp.MustCompile(`Policy +yes`).MatchString(out) {
		t.Errorf("show says\n%s", out)
	}
	says(t, 0, "bucket", "policy", "rm", "data")
	_, errs := says(t, 2, "bucket", "policy", "get", "data")
	if !strings.Contains(errs, "has no policy") {
		t.Errorf("%s", errs)
	}
	says(t, 0, "bucket", "versioning", "data", "on")
	if out, _ := says(t, 0, "bucket", "show", "data"); !regexp.MustCompile(`Versioning +on`).MatchString(out) {
		t.Errorf("show says\n%s", out)
	}
	rules := writeFile(t, filepath.Join(t.TempDir(), "l.json"), `{"Rules":[{"ID":"old","Status":"Enabled","Filter":{"Prefix":"tmp/"},"Expiration":{"Days":3}}]}`)
	says(t, 0, "bucket", "lifecycle", "set", "data", rules)
	out, _ := says(t, 0, "bucket", "lifecycle", "get", "data")
	again := writeFile(t, filepath.Join(t.TempDir(), "l.json"), out)
	if !strings.Contains(out, `"tmp/"`) {
		t.Errorf("the rules are %s", out)
	}
	says(t, 0, "bucket", "lifecycle", "set", "data", again)
	says(t, 0, "bucket", "lifecycle", "rm", "data")
	says(t, 2, "bucket", "lifecycle", "get", "data")
	says(t, 2, "bucket", "lifecycle", "set", "data", writeFile(t, filepath.Join(t.TempDir(), "l.json"), `{"Rulez":[]}`))
}

func TestBucketLogging(t *testing.T) {
	objectStore(t)
	says(t, 0, "bucket", "create", "data")
	says(t, 0, "bucket", "create", "logs")
	if _, errs := says(t, 2, "bucket", "logging", "get", "data"); !strings.Contains(errs, "has no access log") {
		t.Errorf("without one: %s", errs)
	}
	if out, _ := says(t, 0, "bucket", "logging", "set", "data", "--to", "logs", "--prefix", "data/"); out != "Accesses to bucket data are logged to s3://logs/data/.\n" {
		t.Errorf("set says %q", out)
	}
	if out, _ := says(t, 0, "bucket", "logging", "get", "data"); !regexp.MustCompile(`Bucket +logs\nPrefix +data/\nDays apart +no\n`).MatchString(out) {
		t.Errorf("get says\n%s", out)
	}
	for _, day := range []string{"event", "delivery"} {
		says(t, 0, "bucket", "logging", "set", "data", "--to", "logs", "--day", day)
		var l transfer.Logging
		out, _ := says(t, 0, "bucket", "logging", "get", "data", "-o", "json")
		if err := json.Unmarshal([]byte(out), &l); err != nil || l != (transfer.Logging{Bucket: "logs", Day: day}) {
			t.Errorf("get says %s, %v", out, err)
		}
	}
	if out, _ := says(t, 0, "bucket", "show", "data"); !regexp.MustCompile(`Access log +s3://logs/\n`).MatchString(out) {
		t.Errorf("show says\n%s", out)
	}
	for _, args := range [][]string{{"set", "data"}, {"set", "data", "--to", "logs", "--day", "today"}, {"set"}, {"get", "none"}} {
		says(t, 2, append([]string{"bucket", "logging"}, args...)...)
	}
	if _, errs := says(t, 1, "bucket", "logging", "set", "data", "--to", "none"); !strings.Contains(errs, "does not exist") {
		t.Errorf("a bucket that is not there: %s", errs)
	}
	says(t, 0, "bucket", "logging", "rm", "data")
	says(t, 2, "bucket", "logging", "get", "data")
}

func TestNamesOfBucketsComplete(t *testing.T) {
	objectStore(t)
	says(t, 0, "bucket", "create", "data")
	for args, want := range map[string]string{"cp s3://": "s3://data/\n:6\n", "bucket show ": "data\n:4\n", "ls s3://data/x": ":0\n", "bucket versioning data ": "on\noff\n:4\n", "bucket logging set data --to ": "data\n:4\n", "bucket logging set data --day ": "event\ndelivery\n:4\n"} {
		out, _ := says(t, 0, append([]string{"__completeNoDesc"}, strings.Split(args, " ")...)...)
		if out != want {
			t.Errorf("polder %s is completed by %q, want %q", args, out, want)
		}
	}
}

// TestWithoutAStore: one sentence names what to set.
func TestWithoutAStore(t *testing.T) {
	away(t)
	for _, v := range []string{"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(v, "")
	}
	for _, args := range [][]string{{"ls"}, {"cp", "-", "s3://b/k"}, {"ls", "--endpoint", "https://127.0.0.1:1"}} {
		_, errs := says(t, 1, args...)
		if strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "set AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") || !strings.Contains(errs, "polder-store") {
			t.Errorf("polder %q says %q", args, errs)
		}
	}
}

func TestTheSecretFillsWhatIsMissing(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "polder-store", Namespace: "team"}, Data: map[string][]byte{
		"endpoint": []byte("https://store"), "accessKey": []byte("AK"), "secretKey": []byte(hidden), "ca.crt": []byte("pem"), "region": []byte("here"),
	}}
	cfg := transfer.Config{AccessKey: "of another store", SecretKey: "x", SessionToken: "y"}
	if err := fill(&cfg, secret); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(transfer.Config{Endpoint: "https://store", Region: "here", AccessKey: "AK", SecretKey: hidden, CA: []byte("\npem")}, cfg); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	cfg = transfer.Config{Endpoint: "https://localhost:1"}
	if err := fill(&cfg, secret); err != nil || cfg.Endpoint != "https://localhost:1" || cfg.AccessKey != "AK" {
		t.Errorf("%+v, %v", cfg, err)
	}
	delete(secret.Data, "secretKey")
	if err := fill(&cfg, secret); err == nil || !strings.Contains(err.Error(), "has no secretKey") {
		t.Errorf("%v", err)
	}
}

func TestProgressText(t *testing.T) {
	var m transfer.Meter
	if got := progressText(&m, time.Second); got != "0 B  0 B/s" {
		t.Errorf("at first %q", got)
	}
	m.BytesAll.Store(8 << 20)
	m.Bytes.Store(3 << 20)
	m.Reused.Store(1 << 20)
	m.Objects.Store(1)
	m.ObjectsAll.Store(4)
	if got := progressText(&m, 2*time.Second); got != "3.0 MiB  1.0 MiB/s  1 object, and more are being listed" {
		t.Errorf("while it is listed %q", got)
	}
	m.Planned.Store(true)
	if got := progressText(&m, 2*time.Second); got != "██████░░░░░░░░░░  3.0 MiB of 8.0 MiB  1.0 MiB/s  5s left  1 of 4 objects" {
		t.Errorf("later %q", got)
	}
}

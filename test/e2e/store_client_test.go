//go:build e2e

package e2e

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestStoreClients is a conversation with each of the tools that people have, as Debian
// packages them. They share one store.
func TestStoreClients(t *testing.T) {
	s := serveStore(t)
	for name, f := range map[string]func(*testing.T, *store){
		"aws": talkAWS, "s3cmd": talkS3cmd, "rclone-s3": talkRcloneS3, "rclone-swift": talkRcloneSwift, "swift": talkSwift,
		"boto3": talkBoto, "shards": talkShards, "polder": talkPolder, "curl": talkCurl, "doors": talkDoors,
	} {
		t.Run(name, func(t *testing.T) { f(t, s) })
	}
}

const bigBytes = 20_000_000

// things makes a directory with a file "big", and a tree of small ones.
func things(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	random := rand.NewChaCha8([32]byte{1})
	files := map[string]int{"big": bigBytes, "tree/empty": 0}
	for i := range 4 {
		files[fmt.Sprintf("tree/f%d", i)] = 1000 * (i + 1)
		files[fmt.Sprintf("tree/sub/ü %d+", i)] = 777 * (i + 1)
	}
	for name, n := range files {
		b := make([]byte, n)
		_, _ = random.Read(b) // never fails
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func talkAWS(t *testing.T, s *store) {
	k := &talk{t: t, s: s, dir: things(t), env: s.main(), name: "aws", head: []string{"--endpoint-url", s.url}}
	k.ok("make_bucket", "s3", "mb", "s3://aws-data")
	k.ok("", "s3", "cp", "big", "s3://aws-data/big", "--no-progress")
	k.ok("", "s3", "cp", "s3://aws-data/big", "s3://aws-data/copy", "--no-progress")
	k.ok("", "s3", "cp", "s3://aws-data/copy", "back", "--no-progress")
	k.same("big", "back")
	k.ok("upload: ", "s3", "sync", "tree", "s3://aws-data/tree", "--no-progress")
	if out := k.ok("", "s3", "sync", "tree", "s3://aws-data/tree", "--no-progress"); out != "" {
		t.Errorf("a second sync did something: %s", out)
	}
	k.ok("", "s3", "sync", "s3://aws-data/tree", "tree.back", "--no-progress")
	k.same("tree", "tree.back")
	k.ok("2331 tree/sub/ü 2+", "s3", "ls", "--recursive", "s3://aws-data")
	k.ok(`"PartsCount": 3`, "s3api", "head-object", "--bucket", "aws-data", "--key", "big", "--part-number", "1")
	url := strings.TrimSpace(k.ok("http", "s3", "presign", "s3://aws-data/tree/f1"))
	(&talk{t: t, s: s, dir: k.dir, name: "curl"}).ok("", "-sSf", "-o", "f1", url)
	k.same("tree/f1", "f1")
	k.no([]string{"BucketNotEmpty", "delete all objects"}, "s3", "rb", "s3://aws-data")
	k.no([]string{"NoSuchBucket", "does not exist"}, "s3", "ls", "s3://aws-nothing")
	k.no([]string{"InvalidRange", "not satisfiable"}, "s3api", "get-object", "--bucket", "aws-data", "--key", "tree/f0", "--range", "bytes=1000-", "none")
	k.no([]string{"BadDigest"}, "s3api", "put-object", "--bucket", "aws-data", "--key", "x", "--body", "tree/f0", "--content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")
	k.env = s.keys("AKMAIN", "wrong")
	k.no([]string{"SignatureDoesNotMatch", "check the secret key"}, "s3", "ls")
	k.env = s.keys("NOBODY", "wrong")
	k.no([]string{"InvalidAccessKeyId", "does not exist"}, "s3", "ls")
	k.env = s.main()
	k.ok("remove_bucket", "s3", "rb", "--force", "s3://aws-data")
}

func talkS3cmd(t *testing.T, s *store) {
	k := &talk{t: t, s: s, dir: things(t), name: "s3cmd", head: []string{
		"--access_key=AKMAIN", "--secret_key=SECRETMAIN", "--host", s.host(), "--host-bucket", s.host(), "--no-ssl", "--no-progress",
	}}
	k.ok("created", "mb", "s3://s3cmd-data")
	k.ok("", "put", "big", "s3://s3cmd-data/big", "--multipart-chunk-size-mb=5")
	k.ok("", "get", "s3://s3cmd-data/big", "back")
	k.same("big", "back")
	k.ok("", "sync", "tree/", "s3://s3cmd-data/tree/")
	if out := k.ok("", "sync", "tree/", "s3://s3cmd-data/tree/"); strings.Contains(out, "upload") {
		t.Errorf("a second sync did something: %s", out)
	}
	k.ok("", "sync", "s3://s3cmd-data/tree/", "tree.back/")
	k.same("tree", "tree.back")
	k.ok("", "cp", "s3://s3cmd-data/big", "s3://s3cmd-data/copy")
	k.ok("", "mv", "s3://s3cmd-data/copy", "s3://s3cmd-data/moved")
	k.ok("", "modify", "--add-header=x-amz-meta-colour:red", "s3://s3cmd-data/moved")
	k.ok("x-amz-meta-colour: red", "info", "s3://s3cmd-data/moved")
	url := strings.TrimSpace(k.ok("http", "signurl", "s3://s3cmd-data/moved", "+60"))
	c := &talk{t: t, s: s, dir: k.dir, name: "curl"}
	c.ok("", "-sSf", "-o", "signed", url)
	k.same("big", "signed")
	c.no([]string{"403"}, "-sSf", s.url+"/s3cmd-data/tree/f0")
	k.ok("", "setacl", "--acl-public", "s3://s3cmd-data/tree/f0")
	c.ok("", "-sSf", "-o", "public", s.url+"/s3cmd-data/tree/f0")
	k.same("tree/f0", "public")
	k.no([]string{"NoSuchBucket", "does not exist"}, "ls", "s3://s3cmd-nothing")
	k.no([]string{"SignatureDoesNotMatch", "check the secret key"}, "ls", "--secret_key=wrong")
	k.ok("", "del", "--recursive", "--force", "s3://s3cmd-data")
	k.ok("removed", "rb", "s3://s3cmd-data")
}

func talkRcloneS3(t *testing.T, s *store) {
	talkRclone(t, s, "rclone-s3", "big", []string{
		"TYPE=s3", "PROVIDER=Other", "ACCESS_KEY_ID=AKMAIN", "SECRET_ACCESS_KEY=SECRETMAIN", "ENDPOINT=" + s.url, "CHUNK_SIZE=5Mi", "UPLOAD_CUTOFF=8Mi",
	})
}

func talkRcloneSwift(t *testing.T, s *store) {
	// rclone asks for no hash of what Swift has in segments.
	talkRclone(t, s, "rclone-swift", "f3", []string{"TYPE=swift", "USER=test:tester", "KEY=testing", "AUTH=" + s.url + "/auth/v1.0", "CHUNK_SIZE=6Mi"})
}

func talkRclone(t *testing.T, s *store, bucket, hashed string, config []string) {
	k := &talk{t: t, s: s, dir: things(t), name: "rclone", head: []string{"--config", "/dev/null"}}
	for _, c := range config {
		k.env = append(k.env, "RCLONE_CONFIG_X_"+c)
	}
	if err := os.Rename(filepath.Join(k.dir, "big"), filepath.Join(k.dir, "tree/big")); err != nil {
		t.Fatal(err)
	}
	at := "X:" + bucket
	k.ok("", "mkdir", at)
	k.ok("", "sync", "tree", at+"/tree")
	k.ok("0 differences", "check", "tree", at+"/tree", "--download")
	k.ok("0 differences", "check", "tree", at+"/tree")
	k.ok("nothing to transfer", "sync", "tree", at+"/tree", "-v")
	if out := k.ok("", "hashsum", "md5", at+"/tree"); !regexp.MustCompile(`(?m)^[0-9a-f]{32}  ` + hashed + `$`).MatchString(out) {
		t.Errorf("no hash of %s in\n%s", hashed, out)
	}
	k.ok("", "copy", at+"/tree", "back")
	k.same("tree", "back")
	k.ok("", "copyto", at+"/tree/big", at+"/copy")
	k.ok("", "moveto", at+"/copy", at+"/moved")
	k.ok("", "copyto", at+"/moved", "moved")
	k.same("tree/big", "moved")
	if err := os.Remove(filepath.Join(k.dir, "tree/f0")); err != nil {
		t.Fatal(err)
	}
	k.ok("", "sync", "tree", at+"/tree")
	if out := k.ok("moved\n", "lsf", "-R", "--files-only", at); strings.Contains(out, "f0") || !strings.Contains(out, "tree/sub/ü 3+\n") {
		t.Errorf("after a sync without f0 there is\n%s", out)
	}
	k.no([]string{"directory not found"}, "lsf", at+"-nothing")
	k.ok("", "purge", at)
	if out := k.ok("", "lsd", "X:"); strings.Contains(out, bucket+"\n") {
		t.Errorf("after purge there is\n%s", out)
	}
}

func talkSwift(t *testing.T, s *store) {
	k := &talk{t: t, s: s, dir: things(t), name: "swift", env: []string{"ST_AUTH=" + s.url + "/auth/v1.0", "ST_USER=test:tester", "ST_KEY=testing"}}
	k.ok("big segment 3", "upload", "sw", "big", "-S", "6000000", "--use-slo", "-H", "X-Object-Meta-Colour: red")
	k.ok("dlo segment 3", "upload", "sw", "big", "--object-name", "dlo", "-S", "6000000")
	k.ok("", "upload", "sw", "tree")
	k.ok("", "upload", "sw", "tree", "--skip-identical")
	k.ok("big\ndlo\ntree/empty\n", "list", "sw")
	k.ok("Meta Colour: red", "stat", "sw", "big")
	k.ok(fmt.Sprintf("Content Length: %d", bigBytes), "stat", "sw", "dlo")
	for _, o := range []string{"big", "dlo"} {
		k.ok("", "download", "sw", o, "-o", o+".back")
		k.same("big", o+".back")
	}
	k.ok("", "download", "sw", "--prefix", "tree", "-D", "all")
	k.same("tree", "all/tree")
	k.ok("", "post", "sw", "-r", ".r:*,.rlistings", "-m", "Colour: blue")
	k.ok("Meta Colour: blue", "stat", "sw")
	k.ok("", "post", "sw", "tree/f0", "-m", "Colour: green")
	k.ok("Meta Colour: green", "stat", "sw", "tree/f0")
	k.ok("", "copy", "sw", "big", "-d", "/sw/copy")
	k.ok("", "post", "-m", "Temp-URL-Key: k3y")
	url := strings.TrimSpace(k.ok("temp_url_sig", "tempurl", "GET", "60", "/v1/AUTH_test/sw_segments/x", "k3y"))
	c := &talk{t: t, s: s, dir: k.dir, name: "curl"}
	c.no([]string{"404"}, "-sSf", s.url+url) // it may, but there is none
	c.no([]string{"401"}, "-sSf", s.url+strings.Replace(url, "sig=", "sig=0", 1))
	c.ok("", "-sSf", "-o", "open", s.url+"/v1/AUTH_test/sw/copy")
	k.same("big", "open")
	k.ok("slo", "info")
	k.no([]string{"'sw-nothing' not found"}, "list", "sw-nothing")
	k.no([]string{"401 Unauthorized"}, "-K", "wrong", "list")
	k.ok("", "delete", "sw", "big", "dlo")
	if out := k.ok("", "list", "sw_segments"); out != "" {
		t.Errorf("segments were left: %s", out)
	}
	k.ok("", "delete", "sw")
	k.ok("", "delete", "sw_segments")
}

// python runs a script of testdata.
func python(t *testing.T, s *store, dir, script string, env []string, args ...string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	out, code := output(t, s.tool(t, dir, env, "python3", append([]string{path}, args...)...))
	t.Log(strings.TrimSpace(out))
	if code != 0 {
		t.Fatalf("%s ended with %d", script, code)
	}
}

func talkBoto(t *testing.T, s *store)   { python(t, s, t.TempDir(), "store_boto.py", s.main()) }
func talkShards(t *testing.T, s *store) { python(t, s, t.TempDir(), "store_shards.py", s.main()) }

func talkCurl(t *testing.T, s *store) {
	k := &talk{t: t, s: s, dir: things(t), name: "curl", head: []string{"-sS"}}
	signed := []string{"-f", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "AKMAIN:SECRETMAIN", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"}
	with := func(args ...string) []string { return append(signed[:len(signed):len(signed)], args...) }
	k.ok("", with("-X", "PUT", s.url+"/curl-data")...)
	k.ok("", with("-T", "big", "-H", "x-amz-acl: public-read", s.url+"/curl-data/big")...)
	k.ok("", with("-T", "tree/f0", s.url+"/curl-data/shut")...)
	k.ok("", "-f", "-o", "back", s.url+"/curl-data/big")
	k.same("big", "back")
	k.no([]string{"<Code>AccessDenied</Code>"}, "--fail-with-body", s.url+"/curl-data/shut")
	k.no([]string{"<Code>AccessDenied</Code>"}, "--fail-with-body", s.url+"/curl-data")
	k.no([]string{"<Code>AccessDenied</Code>"}, "--fail-with-body", "-T", "tree/f0", s.url+"/curl-data/mine")
	if err := truncate(filepath.Join(k.dir, "back"), bigBytes/2); err != nil {
		t.Fatal(err)
	}
	k.ok("", "-f", "-C", "-", "-o", "back", s.url+"/curl-data/big") // the rest by a range
	k.same("big", "back")
	k.ok("", "-f", "-o", "back", "--etag-save", "etag", s.url+"/curl-data/big")
	k.ok("304", "-o", "none", "-w", "%{http_code}", "--etag-compare", "etag", s.url+"/curl-data/big")
	k.no([]string{"<Code>InvalidRange</Code>"}, "--fail-with-body", "-r", "99999999-", s.url+"/curl-data/big")
	k.ok("HTTP/1.1 403", "-I", s.url+"/curl-data/nothing") // who may not list is not told
	k.ok("", with("-X", "DELETE", s.url+"/curl-data/big")...)
}

func truncate(path string, n int64) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("nothing to cut: %w", fs.ErrNotExist)
	}
	return os.Truncate(path, n)
}

// talkDoors puts objects through one door and gets them through the other.
func talkDoors(t *testing.T, s *store) {
	dir := things(t)
	swift := &talk{t: t, s: s, dir: dir, name: "swift", env: []string{"ST_AUTH=" + s.url + "/auth/v1.0", "ST_USER=test:tester", "ST_KEY=testing"}}
	aws := &talk{t: t, s: s, dir: dir, name: "aws", env: s.test(), head: []string{"--endpoint-url", s.url}}
	swift.ok("", "upload", "doors", "big", "-S", "6000000", "--use-slo", "-H", "X-Object-Meta-From: swift")
	swift.ok("", "upload", "doors", "tree")
	aws.ok("", "s3", "cp", "s3://doors/big", "by-s3", "--no-progress")
	aws.same("big", "by-s3")
	aws.ok(`"from": "swift"`, "s3api", "head-object", "--bucket", "doors", "--key", "big")
	aws.ok("", "s3", "sync", "s3://doors/tree", "tree.s3", "--no-progress")
	aws.same("tree", "tree.s3")
	aws.ok("", "s3", "cp", "big", "s3://doors/parts", "--metadata", "from=s3", "--no-progress")
	swift.ok("", "download", "doors", "parts", "-o", "by-swift")
	swift.same("big", "by-swift")
	swift.ok("Meta From: s3", "stat", "doors", "parts")
	aws.ok("delete: s3://doors/parts", "s3", "rm", "s3://doors/parts")
	if out := swift.ok("big\n", "list", "doors"); strings.Contains(out, "parts") {
		t.Errorf("what S3 deleted is listed: %s", out)
	}
	swift.ok("", "delete", "doors")
	aws.no([]string{"NoSuchBucket"}, "s3", "ls", "s3://doors")
}

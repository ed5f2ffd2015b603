//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"testing"
)

// TestStoreShown shows what is in one store as buckets of another, to the tools that people
// have: by S3 and by Swift, through both doors.
func TestStoreShown(t *testing.T) {
	far := serveStore(t)
	dir := things(t)
	put := &talk{t: t, s: far, dir: dir, env: far.test(), name: "aws", head: []string{"--endpoint-url", far.url}}
	put.ok("make_bucket", "s3", "mb", "s3://theirs")
	put.ok("", "s3", "cp", "big", "s3://theirs/2024/big", "--no-progress") // of parts
	put.ok("upload: ", "s3", "sync", "tree", "s3://theirs/2024/tree", "--no-progress")
	put.ok("", "s3", "cp", "tree/f0", "s3://theirs/2025/f0", "--no-progress")

	secret, tiers := far.path("secret"), far.path("tiers.yaml")
	if err := os.WriteFile(secret, []byte("testing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`shown:
- bucket: archive
  account: main
  s3: {endpoint: %q, region: us-east-1, bucket: theirs, prefix: 2024/, accessKey: "test:tester", secretKeyFile: %s}
- bucket: from-swift
  account: test
  swift: {authURL: %q, authVersion: 1, container: theirs, prefix: 2024/, user: "test:tester", passwordFile: %s}
`, far.url, secret, far.url+"/auth/v1.0", secret)
	if err := os.WriteFile(tiers, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serveStore(t, "--tiers", tiers)
	for name, of := range map[string]struct {
		bucket, from string
		env          []string
	}{"S3": {"archive", "s3 " + far.url + "/theirs/2024/", s.main()}, "Swift": {"from-swift", "swift " + far.url + "/auth/v1.0/theirs/2024/", s.test()}} {
		t.Run(name, func(t *testing.T) {
			at := "s3://" + of.bucket
			aws := &talk{t: t, s: s, dir: dir, env: of.env, name: "aws", head: []string{"--endpoint-url", s.url}}
			aws.ok("", "s3", "cp", at+"/big", name+".aws", "--no-progress")
			aws.same("big", name+".aws")
			aws.ok("", "s3", "sync", at+"/tree", name+".tree", "--no-progress")
			aws.same("tree", name+".tree")
			aws.no([]string{"MethodNotAllowed", "may only be read"}, "s3", "cp", "tree/f0", at+"/f0", "--no-progress")

			polder := &talk{t: t, s: s, dir: dir, env: of.env, name: "polder"}
			polder.ok("downloaded", "cp", at+"/big", name+".polder")
			polder.same("big", name+".polder")
			polder.ok(of.from, "bucket", "ls")
			polder.ok(of.from, "bucket", "show", of.bucket)
			polder.ok(`"shown": "`+of.from+`"`, "bucket", "ls", "-o", "json")
			polder.ok("10 objects", "bucket", "show", of.bucket, "--count")
			polder.no([]string{"may only be read"}, "bucket", "rm", of.bucket)

			rclone := &talk{t: t, s: s, dir: dir, name: "rclone", head: []string{"--config", "/dev/null"}}
			config := []string{"TYPE=s3", "PROVIDER=Other", "ACCESS_KEY_ID=AKMAIN", "SECRET_ACCESS_KEY=SECRETMAIN", "ENDPOINT=" + s.url}
			if name == "Swift" {
				config = []string{"TYPE=swift", "USER=test:tester", "KEY=testing", "AUTH=" + s.url + "/auth/v1.0"}
			}
			for _, c := range config {
				rclone.env = append(rclone.env, "RCLONE_CONFIG_X_"+c)
			}
			rclone.ok("0 differences", "check", "tree", "X:"+of.bucket+"/tree")
		})
	}
	swift := &talk{t: t, s: s, dir: dir, name: "swift", env: []string{"ST_AUTH=" + s.url + "/auth/v1.0", "ST_USER=test:tester", "ST_KEY=testing"}}
	swift.ok("big\ntree/empty\n", "list", "from-swift")
	swift.ok("", "download", "from-swift", "big", "-o", "by-swift")
	swift.same("big", "by-swift")
	swift.ok("from-swift\n", "list")
	swift.no([]string{"405"}, "delete", "from-swift", "big")
}

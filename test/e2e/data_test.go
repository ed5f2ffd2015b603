//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// TestJobReadsWhatWasFrozen: a job in a sandbox gets the bytes that were frozen, although
// they were overwritten since; what it saves is in its bucket, and another goes on there.
func TestJobReadsWhatWasFrozen(t *testing.T) {
	c := shared(t)
	c.tiny(t)
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "words.txt"), "as it was")
	if _, _, code := c.run("bucket", "show", "words"); code != 0 {
		c.must(t, "bucket", "create", "words", "--versioning")
	}
	c.must(t, "cp", file, "s3://words/in/words.txt")
	var set v1alpha1.Dataset
	if err := json.Unmarshal([]byte(c.must(t, "dataset", "freeze", "words-v1", "s3://words/in/", "-o", "json")), &set); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.must(t, "dataset", "rm", "words-v1") })
	if set.Status.Objects != 1 || set.Status.Bytes != 9 || !set.Status.Pinned || !strings.HasPrefix(set.Status.Digest, "sha256:") {
		t.Errorf("frozen: %+v", set.Status)
	}
	write(t, file, "as it is now")
	c.must(t, "cp", file, "s3://words/in/words.txt")

	j := tinyJob("frozen", 2, map[string]string{"epochs": "3", "read": "/polder/data/old/words.txt"})
	j.Spec.Data = []v1alpha1.DataSource{{Name: "old", Dataset: "words-v1"}, {Name: "new", Bucket: &v1alpha1.BucketSource{Name: "words", Prefix: "in/"}}}
	j.Spec.Checkpoints.Bucket = &v1alpha1.BucketSource{Name: "words", Prefix: "saved/" + t.Name()}
	c.submit(t, j)
	c.awaitJob(t, "frozen", "it has ended", jobLimit, inState(v1alpha1.StateSucceeded))
	if out := c.must(t, "logs", "frozen", "--worker", "1"); !strings.Contains(out, `read "as it was"`) {
		t.Errorf("the worker says\n%s", out)
	}
	var m v1alpha1.Model
	if err := c.api(t).Get(brief(t), kube.Key("default", "frozen"), &m); err != nil {
		t.Fatal(err)
	}
	if d := m.Spec.Lineage.Data; d["old"] != set.Status.Digest || d["new"] != "s3://words/in/" {
		t.Errorf("lineage: %v", d)
	}
	saved := c.must(t, "ls", "s3://words/saved/"+t.Name()+"/")
	if !strings.Contains(saved, "epoch-00003") || !strings.Contains(saved, ".sha256") {
		t.Errorf("checkpoints in the bucket:\n%s", saved)
	}

	next := tinyJob("resumed", 1, map[string]string{"epochs": "4", "read": "/polder/data/new/words.txt"})
	next.Spec.Data = j.Spec.Data[1:]
	next.Spec.Checkpoints.Bucket = j.Spec.Checkpoints.Bucket
	c.submit(t, next)
	got := c.awaitJob(t, "resumed", "it has ended", jobLimit, inState(v1alpha1.StateSucceeded))
	if p := got.Status.Progress; p == nil || p.ResumedFrom != 3 {
		t.Errorf("it went on from %+v", p)
	}
	if out := c.must(t, "logs", "resumed"); !strings.Contains(out, `read "as it is now"`) {
		t.Errorf("the worker says\n%s", out)
	}
}

// TestJobWithoutItsData: a job whose data is not there says so, and what to do.
func TestJobWithoutItsData(t *testing.T) {
	c := shared(t)
	c.tiny(t)
	j := tinyJob("unfrozen", 1, nil)
	j.Spec.Data = []v1alpha1.DataSource{{Name: "d", Dataset: "nowhere"}}
	c.submit(t, j)
	c.awaitJob(t, "unfrozen", "it says what it waits for", jobLimit, func(j *v1alpha1.TrainJob) bool {
		return strings.Contains(j.Status.Message, "there is no Dataset nowhere")
	})
	k := tinyJob("no-bucket", 1, nil)
	k.Spec.Retries = ptr.To[int32](0)
	k.Spec.Data = []v1alpha1.DataSource{{Name: "d", Bucket: &v1alpha1.BucketSource{Name: "no-such-bucket"}}}
	said := c.fails(t, k, "WorkerDied")
	if !strings.Contains(said, "could not get its data") || !strings.Contains(said, "no-such-bucket") {
		t.Errorf("it says %q", said)
	}
}

// hasStore waits until a new namespace has its key of the store, and the store knows it.
func (c *cloud) hasStore(t testing.TB, ns string) {
	t.Helper()
	waitFor(t, time.Minute, "the store of namespace "+ns, func(context.Context) error {
		if _, errs, code := c.run("bucket", "ls", "--namespace", ns); code != 0 {
			return errors.New(errs)
		}
		return nil
	})
}

// TestBucketOfATenant: two tenants have buckets of one name, and neither reaches the
// other's.
func TestBucketOfATenant(t *testing.T) {
	c := shared(t)
	red, blue := c.namespace(t, "red", nil), c.namespace(t, "blue", nil)
	file := write(t, filepath.Join(t.TempDir(), "f"), "red's")
	for _, ns := range []string{red, blue} {
		c.hasStore(t, ns)
		c.must(t, "bucket", "create", "shared-name", "--namespace", ns)
	}
	c.must(t, "cp", file, "s3://shared-name/f", "--namespace", red)
	if out := c.must(t, "cat", "s3://shared-name/f", "--namespace", red); out != "red's" {
		t.Errorf("red reads %q", out)
	}
	if _, errs, code := c.run("cat", "s3://shared-name/f", "--namespace", blue); code == 0 {
		t.Errorf("blue reads red's object: %s", errs)
	}
	c.must(t, "bucket", "create", "reds-own", "--namespace", red)
	c.must(t, "cp", file, "s3://reds-own/f", "--namespace", red)
	if _, errs, code := c.run("cat", "s3://reds-own/f", "--namespace", blue); code == 0 || !strings.Contains(errs, "denies") {
		t.Errorf("blue in red's bucket: %d, %s", code, errs)
	}
	for _, ns := range []string{red, blue} {
		c.must(t, "bucket", "rm", "shared-name", "--force", "--namespace", ns)
	}
	c.must(t, "bucket", "rm", "reds-own", "--force", "--namespace", red)
}

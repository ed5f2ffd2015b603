package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"polder.dev/polder/model/registry"
)

const (
	example = "examples/ocr-digits"
	data    = "examples/data"
	epochs  = 12
	warmUp  = 2 // epochs that are not counted
)

// measureTrain: the example's images per second in gVisor pods, and as plain
// processes with the same root file system. They take turns. One worker has nobody
// to exchange gradients with; two do so at every step.
func measureTrain(ctx context.Context, b *bench) error {
	k, err := b.cloud.prepare(ctx)
	if err != nil {
		return err
	}
	if _, err := b.cloud.do(ctx, "runtime", "build", "pytorch-cpu"); err != nil {
		return err
	}
	address, err := k.Registry(ctx)
	if err != nil {
		return err
	}
	trust, err := k.Trust()
	if err != nil {
		return err
	}
	images, err := registry.New(address, trust)
	if err != nil {
		return err
	}
	root := filepath.Join(filepath.Dir(b.cloud.dir), "root")
	defer os.RemoveAll(root)
	if err := unpack(ctx, images, "runtimes/pytorch-cpu", root); err != nil {
		return err
	}
	if _, err := b.cloud.do(ctx, "bucket", "create", "digits", "--namespace="+namespace); err != nil {
		return err
	}
	if _, err := b.cloud.do(ctx, "cp", "-r", data+"/digits", "s3://digits/", "--namespace="+namespace); err != nil {
		return err
	}
	for _, workers := range []int{1, 2} {
		var inPods, asProcesses, ratio []float64
		for i := range b.runs {
			p, err := processes(ctx, root, workers)
			if err != nil {
				return err
			}
			s, err := b.pods(ctx, workers, i)
			if err != nil {
				return err
			}
			asProcesses, inPods, ratio = append(asProcesses, p), append(inPods, s), append(ratio, s/p)
		}
		what := fmt.Sprintf("training, %d worker(s)", workers)
		b.add(what+", gVisor pods", "images/s", inPods, "")
		b.add(what+", plain processes", "images/s", asProcesses, "the same script and root file system, by chroot")
		b.add(what+", pods in proportion to processes", "x", ratio, "pairs of one turn")
	}
	return nil
}

// unpack writes the image's files below dir.
func unpack(ctx context.Context, images *registry.Client, name, dir string) error {
	img, err := images.Image(ctx, name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files := mutate.Extract(img)
	defer files.Close()
	cmd := exec.CommandContext(ctx, "tar", "-x", "-C", dir)
	cmd.Stdin = files
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("unpacking %s: %w: %s", name, err, out)
	}
	return nil
}

// processes trains outside of any container and returns images per second.
func processes(ctx context.Context, root string, workers int) (float64, error) {
	work := filepath.Join(root, "work")
	defer os.RemoveAll(work)
	if err := os.CopyFS(work, os.DirFS(example)); err != nil {
		return 0, fmt.Errorf("copying the example: %w", err)
	}
	if err := os.CopyFS(filepath.Join(work, "data"), os.DirFS(data)); err != nil {
		return 0, fmt.Errorf("copying its data: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	var started []*exec.Cmd
	for rank := range workers {
		// The mounts go with the process, whose mount namespace is its own.
		const script = `mount -t proc proc "$1/proc" && mount -t sysfs sys "$1/sys" && exec chroot "$1" sh -c "cd /work && exec python3 train.py"`
		cmd := exec.CommandContext(ctx, "unshare", "--mount", "sh", "-c", script, "sh", root)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.Env = []string{
			"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + strconv.Itoa(port),
			fmt.Sprintf("RANK=%d", rank), fmt.Sprintf("WORLD_SIZE=%d", workers), fmt.Sprintf("POLDER_PARAM_EPOCHS=%d", epochs),
			"PYTHONDONTWRITEBYTECODE=1", "POLDER_DATA_DIR=/work/data",
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return 0, fmt.Errorf("starting a plain process: %w", err)
		}
		started = append(started, cmd)
	}
	var failed error
	for _, cmd := range started {
		failed = errors.Join(failed, cmd.Wait())
	}
	if failed != nil {
		return 0, fmt.Errorf("training in plain processes: %w", failed)
	}
	f, err := os.Open(filepath.Join(work, "metrics.jsonl"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return imagesPerSecond(f)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// pods trains the same with polder train and returns images per second.
func (b *bench) pods(ctx context.Context, workers, run int) (float64, error) {
	dir, err := os.MkdirTemp("", "polder-train-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(filepath.Join(dir, "job"), os.DirFS(example)); err != nil {
		return 0, fmt.Errorf("copying the example: %w", err)
	}
	name := fmt.Sprintf("digits-%d-%d", workers, run)
	job := fmt.Sprintf(`apiVersion: polder.dev/v1alpha1
kind: TrainJob
metadata: {name: %s}
spec:
  runtime: pytorch-cpu
  command: [python3, train.py]
  workers: %d
  parameters: {epochs: "%d"}
  data: [{name: digits, bucket: {name: digits}}]
  resources: {cpu: 900m, memory: 1Gi}
  keepSeconds: 0
`, name, workers, epochs)
	if err := os.WriteFile(filepath.Join(dir, "job", "job.yaml"), []byte(job), 0o644); err != nil {
		return 0, err
	}
	if _, err := b.cloud.do(ctx, "train", filepath.Join(dir, "job"), "--follow", "--namespace="+namespace); err != nil {
		return 0, err
	}
	out := filepath.Join(dir, "model")
	if _, err := b.cloud.do(ctx, "model", "pull", name, out, "--namespace="+namespace); err != nil {
		return 0, err
	}
	f, err := os.Open(filepath.Join(out, "metrics.jsonl"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return imagesPerSecond(f)
}

// imagesPerSecond is the median over the epochs of a metrics file, after warming up.
func imagesPerSecond(r io.Reader) (float64, error) {
	var found []float64
	s := bufio.NewScanner(r)
	for s.Scan() {
		var line struct {
			Event   string
			Epoch   int
			Metrics map[string]float64
		}
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			return 0, fmt.Errorf("reading metrics: %w", err)
		}
		if line.Event == "epoch" && line.Epoch > warmUp {
			found = append(found, line.Metrics["images_per_s"])
		}
	}
	if len(found) != epochs-warmUp {
		return 0, fmt.Errorf("the metrics name %d epochs, want %d", len(found), epochs-warmUp)
	}
	return median(found), s.Err()
}

package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk"
)

// fillVariable tells a child of this program to put more objects into a store, and to die
// without closing it.
const fillVariable = "POLDER_MEASURE_FILL"

// growthBucket is the bucket that grows.
const growthBucket = "many"

// The first size that is measured, the objects that only the log knows when the program
// dies (nearly as many of 4 KiB as the store lets gather), how many names are listed, and
// the disks of the largest pool.
const (
	objectsFirst = 1_000
	replayed     = 100_000
	listMax      = 1_000_000
	disksMax     = 4
)

// measureGrowth: how the store does as it grows in objects, and then in disks, as the
// program that is served. Objects are put into its disk by a child, which dies at each
// power of ten; then the program starts on what is left, and is asked through its door.
func measureGrowth(ctx context.Context, b *bench) (err error) {
	dir := filepath.Join(b.storeDir, "growth")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := b.growObjects(ctx, filepath.Join(dir, "objects")); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return b.growDisks(ctx, filepath.Join(dir, "disks"))
}

// growObjects fills one store up to b.objects.
func (b *bench) growObjects(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	d, err := polderDoor(ctx, b.cloud.program, dir)
	if err != nil {
		return err
	}
	err = d.do(http.MethodPut, "/"+growthBucket, http.Header{"X-Polder-Durability": {"written"}}, nil)
	if err := errors.Join(err, d.stop()); err != nil {
		return err
	}
	var sizes []float64
	lines := map[string][]float64{}
	for from, to := 0, objectsFirst; to <= b.objects; from, to = to, to*10 {
		values, err := b.grown(ctx, dir, from, to)
		if err != nil {
			return err
		}
		sizes = append(sizes, float64(to))
		for what, v := range values {
			lines[what] = append(lines[what], v)
		}
	}
	pick := func(names ...string) []series { return chosen(sizes, lines, names) }
	return errors.Join(
		b.draw("objects.svg", growth{"Objects of 4 KiB, by how many there are", "objects in the store", "objects/s", pick("put, called by 64", "GET, 16 clients", "PUT, 16 clients")}),
		b.draw("start.svg", growth{"What a store of many objects takes", "objects in the store", "seconds", pick("start after kill -9", "a page of 1,000")}),
		b.draw("memory.svg", growth{"Memory of the whole program", "objects in the store", "MiB, without pages of files", pick("memory")}),
	)
}

// grown brings the store from one size to the next and measures it there.
func (b *bench) grown(ctx context.Context, dir string, from, to int) (out map[string]float64, err error) {
	what := fmt.Sprintf("%d objects of 4 KiB: ", to)
	out = map[string]float64{}
	note := func(name, unit string, v float64, how string) {
		b.add(what+name, unit, []float64{v}, how)
		out[name] = v
	}
	rate, err := fill(ctx, filepath.Join(dir, "polder", "store", "disk"), from, to)
	if err != nil {
		return nil, err
	}
	note("put, called by 64", "/s", rate, "written")
	began := time.Now()
	d, err := polderDoor(ctx, b.cloud.program, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	note("start after kill -9", "s", time.Since(began).Seconds(), fmt.Sprintf("until it answers; the log of %d objects is replayed", min(to, replayed)))
	pages, err := d.list(growthBucket, min(to, listMax))
	if err != nil {
		return nil, err
	}
	all := 0.0
	for _, p := range pages {
		all += p
	}
	note(fmt.Sprintf("list %d through the door, pages of 1,000", min(to, listMax)), "s", all, "")
	note("a page of 1,000", "s", median(pages), "")
	if t := tenths(pages); t != nil {
		b.add(what+"a page in each tenth", "ms", t, "medians")
	}
	some := func() string { return "/" + growthBucket + "/" + key(rand.IntN(to)) }
	gets, err := race{clients: 16, bytes: smallBytes, op: func(int, []byte) error { return d.do(http.MethodGet, some(), nil, nil) }}.run()
	if err != nil {
		return nil, err
	}
	note("GET, 16 clients", "/s", gets, "any of them, through the door")
	puts, err := race{clients: 16, bytes: smallBytes, op: func(_ int, body []byte) error { return d.do(http.MethodPut, some(), nil, body) }}.run()
	if err != nil {
		return nil, err
	}
	note("PUT, 16 clients", "/s", puts, "in place of any of them, through the door")
	mib, err := anonymousOf(d.processes[0].Process.Pid)
	note("memory", "MiB", mib, fmt.Sprintf("without pages of files; %.3g bytes for each object", mib*(1<<20)/float64(to)))
	return out, err
}

// tenths are the medians of each tenth of a list's pages, in milliseconds; nil for less
// than ten.
func tenths(pages []float64) (out []float64) {
	for i, n := 0, len(pages)/10; n > 0 && i+n <= len(pages); i += n {
		out = append(out, 1000*median(pages[i:i+n]))
	}
	return out
}

// growDisks measures pools of 1, 2 and 4 directories, which are on one disk.
func (b *bench) growDisks(ctx context.Context, dir string) error {
	var count []float64
	lines := map[string][]float64{}
	for disks := 1; disks <= disksMax; disks *= 2 {
		rates, err := b.pool(ctx, filepath.Join(dir, strconv.Itoa(disks)), disks)
		if err != nil {
			return err
		}
		count = append(count, float64(disks))
		for what, v := range rates {
			lines[what] = append(lines[what], v)
		}
	}
	small, large := chosen(count, lines, []string{"PUT 4 KiB", "GET 4 KiB"}), chosen(count, lines, []string{"PUT 10 MiB", "GET 10 MiB"})
	return errors.Join(
		b.draw("disks-small.svg", growth{"Small objects, by directories of the pool (on one disk)", "directories", "objects/s", small}),
		b.draw("disks-large.svg", growth{"Large objects, by directories of the pool (on one disk)", "directories", "MiB/s", large}),
	)
}

// chosen are the lines of these names.
func chosen(x []float64, lines map[string][]float64, names []string) (out []series) {
	for _, n := range names {
		out = append(out, series{n, x, lines[n]})
	}
	return out
}

// pool measures one pool, its objects synced.
func (b *bench) pool(ctx context.Context, dir string, disks int) (rates map[string]float64, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var dirs []string
	for i := range disks {
		dirs = append(dirs, filepath.Join(dir, fmt.Sprintf("disk-%d", i)))
	}
	d, err := polderOn(ctx, b.cloud.program, dir, dirs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.stop(), os.RemoveAll(dir)) }()
	races, err := d.races([]raced{{name: "synced", read: true}})
	if err != nil {
		return nil, err
	}
	rates = map[string]float64{}
	for _, r := range races {
		name, _, _ := strings.Cut(r.what, ",")
		r.what = fmt.Sprintf("%s, synced, pool of %d", name, disks)
		if err := b.race([]race{r}); err != nil {
			return nil, err
		}
		rates[name] = b.rows[len(b.rows)-1].Median
	}
	return rates, nil
}

// list reads the names of a bucket in pages of a thousand, and returns what each page
// took, in seconds.
func (d *door) list(bucket string, count int) ([]float64, error) {
	var pages []float64
	token, names := "", 0
	for names < count {
		began := time.Now()
		q := url.Values{"list-type": {"2"}}
		if token != "" {
			q.Set("continuation-token", token)
		}
		var page struct {
			NextContinuationToken string
			Contents              []struct{ Key string }
		}
		var text bytes.Buffer
		err := d.ask(http.MethodGet, "/"+bucket+"?"+q.Encode(), nil, nil, &text)
		pages = append(pages, time.Since(began).Seconds())
		if err == nil {
			err = xml.Unmarshal(text.Bytes(), &page)
		}
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", bucket, err)
		}
		token, names = page.NextContinuationToken, names+len(page.Contents)
		if token == "" && names < count {
			return nil, fmt.Errorf("listing %s: it ends after %d of %d", bucket, names, count)
		}
	}
	return pages, nil
}

// fill puts objects in a child, which dies, and returns their rate.
func fill(ctx context.Context, dir string, from, to int) (rate float64, err error) {
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	child := exec.CommandContext(ctx, program)
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s", fillVariable, from, to, dir))
	out, err := child.CombinedOutput()
	if _, e := fmt.Sscanf(string(out), "filled %g", &rate); e != nil {
		return 0, fmt.Errorf("filling a store: %w: %s", err, out)
	}
	return rate, nil
}

// fillStore is what the child does: it puts the objects that are new, closes the store,
// puts some of them again, so that the log holds what the index does not, and dies.
func fillStore(order string) error {
	var from, to int
	if _, err := fmt.Sscanf(order, "%d %d", &from, &to); err != nil {
		return err
	}
	dir := strings.SplitN(order, " ", 3)[2]
	began := time.Now()
	s, err := putAll(dir, from, to)
	if err != nil {
		return err
	}
	rate := float64(to-from) / time.Since(began).Seconds()
	if err := s.Close(); err != nil {
		return err
	}
	if _, err := putAll(dir, 0, min(to, replayed)); err != nil {
		return err
	}
	fmt.Printf("filled %g\n", rate)
	os.Exit(1) // as a crash would: nothing is closed
	return nil
}

// putAll opens a store and puts objects.
func putAll(dir string, from, to int) (*disk.Store, error) {
	s, err := disk.Open(disk.Config{Dirs: []string{dir}})
	if err != nil {
		return nil, err
	}
	bk, err := s.Bucket(context.Background(), growthBucket)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	var run, puts sync.WaitGroup
	run.Go(func() { _ = s.Run(ctx) })
	errs := make([]error, 64)
	for c := range errs {
		puts.Go(func() {
			body := make([]byte, smallBytes)
			for i := from + c; i < to && errs[c] == nil; i += len(errs) {
				copy(body, key(i))
				_, errs[c] = bk.Put(ctx, key(i), bytes.NewReader(body), storage.PutOptions{Size: smallBytes})
			}
		})
	}
	puts.Wait()
	stop()
	run.Wait()
	return s, errors.Join(errs...)
}

// anonymousOf is the memory of a process in MiB that is no page of a file.
func anonymousOf(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(l, "RssAnon:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d does not tell its memory", pid)
}

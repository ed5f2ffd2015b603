package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const (
	idleAfter  = 5 * time.Minute // after up
	idleSample = time.Minute     // one sample of processor time
	hertz      = 100             // USER_HZ: clock ticks of /proc/PID/stat, time(7)
)

// measureIdle: what a cloud without pods takes after five minutes.
func measureIdle(ctx context.Context, b *bench) error {
	if err := b.cloud.reset(ctx); err != nil {
		return err
	}
	if err := b.cloud.up(ctx); err != nil {
		return err
	}
	if err := pause(ctx, idleAfter); err != nil {
		return err
	}
	var cpu, pss, rss []float64
	for range b.runs {
		before, err := b.usage(ctx)
		if err != nil {
			return err
		}
		if err := pause(ctx, idleSample); err != nil {
			return err
		}
		after, err := b.usage(ctx)
		if err != nil {
			return err
		}
		cpu = append(cpu, 100*float64(after.ticks-before.ticks)/hertz/idleSample.Seconds())
		pss = append(pss, float64(after.pss)/(1<<20))
		rss = append(rss, float64(after.rss)/(1<<20))
	}
	note := fmt.Sprintf("5 minutes after up, %d cores", runtime.NumCPU())
	b.add("idle: memory resident in all", "MiB", pss, "sum of Pss: pages that processes share count once; "+note)
	b.add("idle: the same, sum of Rss", "MiB", rss, "shared pages count once per process")
	b.add("idle: processor", "% of one core", cpu, "over a minute each")
	return nil
}

// usage of all processes of the cloud.
type usage struct{ pss, rss, ticks int64 }

func (b *bench) usage(ctx context.Context) (usage, error) {
	s, err := b.cloud.status(ctx)
	if err != nil {
		return usage{}, err
	}
	pids := []int{s.PID}
	for _, c := range s.Components {
		if c.PID > 0 {
			pids = append(pids, c.PID)
		}
	}
	var sum usage
	for _, pid := range pids {
		u, err := ofProcess(filepath.Join("/proc", strconv.Itoa(pid)))
		if err != nil {
			return usage{}, err
		}
		sum.pss, sum.rss, sum.ticks = sum.pss+u.pss, sum.rss+u.rss, sum.ticks+u.ticks
	}
	return sum, nil
}

// ofProcess reads proc_pid_smaps(5) and proc_pid_stat(5).
func ofProcess(dir string) (usage, error) {
	var u usage
	b, err := os.ReadFile(filepath.Join(dir, "smaps_rollup"))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		kib, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return u, err
		}
		switch f[0] {
		case "Pss:":
			u.pss = kib << 10
		case "Rss:":
			u.rss = kib << 10
		}
	}
	b, err = os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return u, err
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const user, system = 11, 12 // fields 14 and 15, counted after the name
	for _, i := range []int{user, system} {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return u, err
		}
		u.ticks += n
	}
	return u, nil
}

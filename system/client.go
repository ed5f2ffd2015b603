package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"polder.dev/polder/node/network"
	"polder.dev/polder/system/cgroup"
	"polder.dev/polder/system/layout"
	"polder.dev/polder/system/remnant"
)

// lookEvery is how often a waiting command looks again.
const lookEvery = 100 * time.Millisecond

// dial is an HTTP client of the supervisor's socket.
func dial(c layout.Cloud) *http.Client {
	client := dialSocket(c.Socket())
	client.Timeout = 5 * time.Second
	return client
}

// dialSocket is an HTTP client of a socket, whatever host is asked for.
func dialSocket(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
}

// look asks the supervisor for the cloud's status; where none runs, the cloud is
// down.
func look(ctx context.Context, c layout.Cloud) (Status, error) {
	b, err := get(ctx, dial(c), "http://polder/status")
	if err != nil {
		if ctx.Err() != nil {
			return Status{}, ctx.Err()
		}
		if errors.Is(err, syscall.EACCES) {
			return Status{}, fmt.Errorf("the cloud's socket is for root alone; run this as root: %w", err)
		}
		return describe(c), nil // nobody listens
	}
	var s Status
	if err := json.Unmarshal(b, &s); err != nil {
		return Status{}, fmt.Errorf("reading status: %w", err)
	}
	return s, nil
}

// down stops the cloud and returns when it is stopped. What an earlier kill -9
// left is stopped too, unless the pods are to be kept.
func down(ctx context.Context, c layout.Cloud, keepPods bool) error {
	if err := tellToStop(ctx, c, keepPods); err != nil {
		return err
	}
	if err := awaitRelease(ctx, c); err != nil {
		return err
	}
	if keepPods {
		return nil
	}
	if err := remnant.Kill(ctx, c); err != nil {
		return fmt.Errorf("ending what runs in the cloud: %w", err)
	}
	if err := network.Remove(ctx, c); err != nil {
		return fmt.Errorf("removing the network: %w", err)
	}
	return cgroup.Remove(c.Cgroup())
}

func tellToStop(ctx context.Context, c layout.Cloud, keepPods bool) error {
	url := "http://polder/stop"
	if keepPods {
		url += "?pods=keep"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	resp, err := dial(c).Do(req)
	if err != nil {
		return nil // nobody listens: awaitRelease will tell if somebody holds the lock all the same
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("the supervisor answers %s: %s", resp.Status, b)
	}
	return nil
}

// awaitRelease returns when no supervisor holds the data directory.
func awaitRelease(ctx context.Context, c layout.Cloud) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit+10*time.Second)
	defer cancel()
	if _, err := os.Stat(c.Dir); err != nil {
		return nil // there never was a cloud
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		lock, err := hold(c)
		if err == nil {
			return lock.Close()
		}
		if !errors.Is(err, errHeld) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the supervisor did not end: %w; `polder logs --component supervisor` shows what it does", ctx.Err())
		case <-tick.C:
		}
	}
}

// reset stops the cloud and removes every trace of it.
func reset(ctx context.Context, c layout.Cloud) error {
	if err := down(ctx, c, false); err != nil {
		return err
	}
	if err := remnant.Unmount(c); err != nil {
		return err
	}
	if err := remnant.Links(c); err != nil {
		return err
	}
	for _, dir := range []string{c.Run(), c.Dir} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("removing %s: %w", dir, err)
		}
	}
	return nil
}

// ours reports whether dir is a cloud's data directory, or empty, or not there:
// reset refuses to remove anything else.
func ours(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", dir, err)
	}
	for _, mark := range []string{"lock", savedConfig} {
		if _, err := os.Stat(filepath.Join(dir, mark)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("--data-dir %s holds no cloud (no file %s or lock in it), so it is not removed; name the right directory", dir, savedConfig)
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

// What AIStore is told by numbers (its cmn/feat).
const (
	aisReverseProxy = "8192" // the proxy carries S3 to the target, instead of telling clients to go there
	aisFsyncPUT     = "16"
)

// aisDoor is one proxy and one target of AIStore, which asks nobody who they are and is
// signed to all the same. Its buckets are md5, md5-fsync and, as it comes, xxhash.
func aisDoor(ctx context.Context, program, dir string) (d *door, err error) {
	dir = filepath.Join(dir, "aistore")
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && d != nil {
			err = errors.Join(err, d.stop())
		}
	}()
	var primary string
	for _, role := range []string{"proxy", "target"} {
		addr, flags, err := aisNode(filepath.Join(dir, role), role, data, primary)
		if err != nil {
			return d, err
		}
		cmd := exec.CommandContext(ctx, program, flags...)
		if role == "proxy" {
			primary = addr
			d, err = begin(ctx, "aistore", addr, owner(doorKey), cmd)
		} else {
			err = d.also(ctx, addr, cmd)
		}
		if err != nil {
			return d, err
		}
	}
	for name, props := range map[string]map[string]any{
		"xxhash": {}, "md5": {"checksum": map[string]any{"type": "md5"}},
		"md5-fsync": {"checksum": map[string]any{"type": "md5"}, "features": aisFsyncPUT},
	} {
		if err := d.aisBucket(ctx, name, props); err != nil {
			return d, err
		}
	}
	d.url += "/s3"
	return d, nil
}

// aisBucket makes a bucket as soon as proxy and target have found each other.
func (d *door) aisBucket(ctx context.Context, name string, props map[string]any) error {
	body, err := json.Marshal(map[string]any{"action": "create-bck", "value": props})
	if err != nil {
		return err
	}
	for limit := time.Now().Add(startMax); ; time.Sleep(startPoll) {
		err := d.do(http.MethodPost, "/v1/buckets/"+name, http.Header{"Content-Type": {"application/json"}}, body)
		if err == nil {
			return nil
		}
		if time.Now().After(limit) || ctx.Err() != nil {
			return fmt.Errorf("making bucket %s of aistore: %w", name, err)
		}
	}
}

// aisNode writes what a node reads, and returns where it listens and its flags. primary is
// the proxy's address, "" for the proxy itself.
func aisNode(dir, role, data, primary string) (addr string, flags []string, err error) {
	var ports [3]string
	for i := range ports {
		if addr, err = free(); err != nil {
			return "", nil, err
		}
		_, ports[i], _ = net.SplitHostPort(addr)
	}
	addr = "127.0.0.1:" + ports[0]
	if primary == "" {
		primary = addr
	}
	files := map[string]map[string]any{
		"config": {
			"proxy": map[string]any{"primary_url": "http://" + primary, "original_url": "http://" + primary},
			"timeout": map[string]any{
				"cplane_operation": "2s", "max_keepalive": "5s", "cold_get_conflict": "5s", "max_host_busy": "20s", "startup_time": "1m",
				"join_startup_time": "3m", "send_file_time": "5m", "ec_streams_time": "10m", "object_md": "2h",
			},
			"space":    map[string]any{"cleanupwm": 65, "lowwm": 75, "highwm": 90, "out_of_space": 95},
			"net":      map[string]any{"l4": map[string]any{"proto": "tcp"}, "http": map[string]any{}},
			"features": aisReverseProxy,
		},
		"local_config": {
			"confdir": dir, "log_dir": filepath.Join(dir, "log"),
			"host_net":     map[string]any{"hostname": "127.0.0.1", "port": ports[0], "port_intra_control": ports[1], "port_intra_data": ports[2]},
			"fspaths":      map[string]any{data: ""},
			"test_fspaths": map[string]any{"root": "", "count": 0, "instance": 0},
		},
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	flags = []string{"-role=" + role}
	if role == "proxy" {
		flags = append(flags, "-ntargets=1")
	}
	for name, content := range files {
		text, err := json.Marshal(content)
		if err != nil {
			return "", nil, err
		}
		path := filepath.Join(dir, name+".json")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return "", nil, err
		}
		flags = append(flags, "-"+name+"="+path)
	}
	return addr, flags, nil
}

// swiftDoor is OpenStack Swift: a server of each kind, two workers of the proxy, one copy of
// everything, its middleware for S3, and no daemon in the background.
func swiftDoor(ctx context.Context, programs, dir string) (*door, error) {
	dir = filepath.Join(dir, "swift")
	if err := os.MkdirAll(filepath.Join(dir, "devices", "d1"), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "swift.conf"), []byte(swiftConf), 0o600); err != nil {
		return nil, err
	}
	memcached, err := free()
	if err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(memcached)
	d, err := begin(ctx, "swift", memcached, owner(doorKey), exec.CommandContext(ctx, "memcached", "-l", host, "-p", port, "-u", "root")) // -u counts only for root
	if err != nil {
		return nil, err
	}
	for _, kind := range []string{"account", "container", "object", "proxy"} {
		if err := d.alsoSwift(ctx, programs, dir, kind, memcached); err != nil {
			return nil, errors.Join(err, d.stop())
		}
	}
	return d, nil
}

// alsoSwift starts a server of Swift, and has the door lead to it.
func (d *door) alsoSwift(ctx context.Context, programs, dir, kind, memcached string) error {
	addr, err := free()
	if err != nil {
		return err
	}
	me, err := user.Current()
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(addr)
	conf := fmt.Sprintf(swiftServer, port, dir, me.Username)
	if kind == "proxy" {
		conf += fmt.Sprintf(swiftProxy, doorSecret, memcached)
	} else {
		conf += fmt.Sprintf(swiftStorage, dir, kind)
		if err := ring(ctx, programs, filepath.Join(dir, kind+".builder"), port); err != nil {
			return err
		}
	}
	path := filepath.Join(dir, kind+"-server.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return err
	}
	d.url = "http://" + addr
	return d.also(ctx, addr, exec.CommandContext(ctx, filepath.Join(programs, "swift-"+kind+"-server"), path))
}

// ring says that all of a kind is on the one device.
func ring(ctx context.Context, programs, builder, port string) error {
	var said strings.Builder
	for _, args := range [][]string{
		{"create", "8", "1", "0"},
		{"add", "--region", "1", "--zone", "1", "--ip", "127.0.0.1", "--port", port, "--device", "d1", "--weight", "1"},
		{"rebalance"},
	} {
		out, err := exec.CommandContext(ctx, filepath.Join(programs, "swift-ring-builder"), append([]string{builder}, args...)...).CombinedOutput()
		said.Write(out)
		if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) { // 1 is a warning
			return fmt.Errorf("making a ring of swift: %w: %s", err, said.String())
		}
	}
	if _, err := os.Stat(strings.TrimSuffix(builder, "builder") + "ring.gz"); err != nil {
		return fmt.Errorf("making a ring of swift: %w: %s", err, said.String())
	}
	return nil
}

const (
	swiftConf = `[swift-hash]
swift_hash_path_prefix = bench
swift_hash_path_suffix = bench
[storage-policy:0]
name = one
default = yes
`
	swiftServer = `[DEFAULT]
bind_ip = 127.0.0.1
bind_port = %s
swift_dir = %s
user = %s
log_level = ERROR
`
	swiftStorage = `devices = %[1]s/devices
mount_check = false
workers = 1
[pipeline:main]
pipeline = %[2]s-server
[app:%[2]s-server]
use = egg:swift#%[2]s
`
	swiftProxy = `workers = 2
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache s3api tempauth copy slo dlo versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = %s .admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = %s
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
`
)

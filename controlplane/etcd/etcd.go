// Package etcd runs etcd, the store behind the API server. Only system imports
// it. It listens on the node's address, to clients of its own authority alone.
package etcd

import (
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"polder.dev/polder/system/layout"
)

const (
	quotaBytes      = 2 << 30 // of the database; etcd's own default
	snapshotEntries = 10000   // raft entries kept in memory between snapshots
)

// startLimit is how long etcd may take to replay its log and elect itself.
const startLimit = 60 * time.Second

// Main becomes etcd for the cloud c, until SIGTERM.
func Main(c layout.Cloud) int {
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		return 1
	}
	return 0
}

func run(c layout.Cloud) error {
	cfg, err := config(c)
	if err != nil {
		return err
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	defer e.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-e.Server.ReadyNotify():
	case <-stop:
		return nil
	case <-time.After(startLimit):
		return fmt.Errorf("no leader after %v", startLimit)
	}
	select {
	case <-stop:
		return nil
	case err := <-e.Err():
		return fmt.Errorf("serving: %w", err)
	}
}

func config(c layout.Cloud) (*embed.Config, error) {
	cfg := embed.NewConfig()
	cfg.Name = c.Config.Node.Name
	cfg.Dir = c.Path("etcd")
	client := url.URL{Scheme: "https", Host: c.At(layout.PortEtcd)}
	peer := url.URL{Scheme: "https", Host: "127.0.0.1:2380"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	for _, t := range []struct {
		info *string
		path string
	}{
		{&cfg.ClientTLSInfo.CertFile, c.Path("pki", "etcd", "server.crt")},
		{&cfg.ClientTLSInfo.KeyFile, c.Path("pki", "etcd", "server.key")},
		{&cfg.ClientTLSInfo.TrustedCAFile, c.Path("pki", "etcd", "ca.crt")},
		{&cfg.PeerTLSInfo.CertFile, c.Path("pki", "etcd", "server.crt")},
		{&cfg.PeerTLSInfo.KeyFile, c.Path("pki", "etcd", "server.key")},
		{&cfg.PeerTLSInfo.TrustedCAFile, c.Path("pki", "etcd", "ca.crt")},
	} {
		*t.info = t.path
	}
	cfg.ClientTLSInfo.ClientCertAuth, cfg.PeerTLSInfo.ClientCertAuth = true, true
	cfg.QuotaBackendBytes = quotaBytes
	cfg.SnapshotCount = snapshotEntries
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, "10m"
	cfg.LogLevel = "warn"
	cfg.LogOutputs = []string{embed.StdErrLogOutput}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return cfg, nil
}

package system

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/internal/logs"
	"polder.dev/polder/internal/pki"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/s3"
	"polder.dev/polder/storage/server"
	"polder.dev/polder/system/layout"
)

// storeDir is where the object store lies below a data directory: a cloud's, or one of a
// store alone.
const storeDir = "store"

func (v *verbs) store() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Run the object store by itself, without a cloud",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(v.storeServe())
	return cmd
}

// storeFlags are those of `polder store serve`.
type storeFlags struct {
	listen, users, accessKey, secretKeyFile string
	cert, key, region, keys, tiers, law     string
	memory, hot                             int64
	day                                     time.Duration
	keystone                                keystoneFlags
	disks, domains, sites                   []string
	missing                                 bool
}

func (v *verbs) storeServe() *cobra.Command {
	var f storeFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve S3 and Swift from a data directory, until it is told to stop",
		Long: `Serve S3 and OpenStack Swift, on one address, from a data directory.

S3 clients use the address as endpoint. Swift clients sign in at /auth/v1.0 with
account:user and the password; accounts are at /v1/AUTH_account.

Who may come is said by --users, a file like this:

  users:
  - {account: test, name: tester, password: testing, roles: [admin]}
  - {account: main, name: root, accessKey: AKMAIN, secretKey: SECRET, roles: [admin],
     displayName: Main, email: main@example.org}

An account's name is also the id of its owner in S3. Roles are admin (everything
in the account), reader or writer of its objects, operator (everything in all
accounts; Swift's reseller admin), and service (Swift's service tokens); other
roles are groups that rules may name. A user with a password and without keys has
the access key account:name, and the password as secret key. The file is read
again on SIGHUP.

Or by --access-key and --secret-key-file, which make one operator. Without any of
them a key is made, and kept in the file credentials.yaml of the store.`,
		Example: `  polder store serve --data-dir /srv/store --listen 127.0.0.1:9000
  polder store serve --data-dir /srv/store --disk /mnt/a --disk /mnt/b --users users.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := layout.New(*v.dataDir, layout.Config{})
			if err != nil {
				return usage.Error(err)
			}
			return serveStore(cmd.Context(), c.Path(storeDir), &f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.listen, "listen", "127.0.0.1:9000", "address to listen on")
	fl.StringVar(&f.users, "users", "", "file of the users")
	fl.StringVar(&f.accessKey, "access-key", "", "access key of one operator, instead of --users; account:user, or a name")
	fl.StringVar(&f.secretKeyFile, "secret-key-file", "", "file that holds the secret key of --access-key")
	fl.StringVar(&f.cert, "tls-cert-file", "", "certificate chain; with it the store speaks TLS")
	fl.StringVar(&f.key, "tls-key-file", "", "key of --tls-cert-file")
	fl.StringVar(&f.region, "region", "us-east-1", "name of the region that S3 clients are told")
	fl.StringSliceVar(&f.domains, "domain", nil, "host below which a label is a bucket's name (BUCKET.s3.example.org)")
	fl.StringSliceVar(&f.sites, "website-domain", nil, "host below which a label is a bucket whose web site is served (BUCKET.web.example.org)")
	fl.StringSliceVar(&f.disks, "disk", nil, "directory on a disk, once for each, when the store is made (default: one in the data directory)")
	fl.StringVar(&f.tiers, "tiers", "", "file of slower tiers below the disks, and of buckets with data of other stores (docs/ops/store.md)")
	fl.Int64Var(&f.memory, "process-bytes-max", 0, "how much memory the process may have, apart from pages of files (default: 704 MiB, and 224 MiB more for each further disk)")
	fl.Int64Var(&f.hot, "memory-bytes-max", 256<<20, "how much of what was read stays in memory, where requests leave room; 0 is nothing")
	fl.StringVar(&f.law, "jurisdiction", "", "jurisdiction that the machine is in, for buckets that say where they may lie")
	fl.DurationVar(&f.day, "lifecycle-day", 24*time.Hour, "what a day of lifecycle rules is; shorter ones are for tests of clients")
	fl.StringVar(&f.keys, "keys", "", "file of the keys that objects are encrypted with (default: one for each jurisdiction, made when it is needed)")
	f.keystone.bind(fl)
	fl.BoolVar(&f.missing, "missing-disks", false, "start although disks are away; what only they hold cannot be read")
	return cmd
}

// serveStore runs a store alone.
func serveStore(ctx context.Context, dir string, f *storeFlags) error {
	log := logs.New(os.Stderr)
	if f.day < time.Second {
		return usage.Errorf("--lifecycle-day %s: must be a second or more", f.day)
	}
	if least := server.MemoryMin(max(len(f.disks), 1)); f.memory != 0 && f.memory < least {
		return usage.Errorf("--process-bytes-max %d: too little for the store's disks; give it %d (%d MiB) or more", f.memory, least, least>>20)
	}
	for _, of := range []struct {
		flag  string
		hosts []string
	}{{"--domain", f.domains}, {"--website-domain", f.sites}} {
		for _, h := range of.hosts {
			if err := s3.CheckHost(h); err != nil {
				return usage.Errorf("%s: %w", of.flag, err)
			}
		}
	}
	var trust *tls.Config
	if (f.cert == "") != (f.key == "") {
		return usage.Errorf("--tls-cert-file, --tls-key-file: give both or neither")
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return usage.Errorf("--tls-cert-file %s: %w", f.cert, err)
		}
		trust = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	others, err := readStores(f.tiers)
	if err != nil {
		return usage.Errorf("--tiers: %w", err)
	}
	people, err := f.people(dir) // makes a key where there is none, so not before all else is right
	if err != nil {
		return err
	}
	s, err := server.Open(ctx, server.Config{
		Tiers: others.Tiers, Shown: others.Shown, HotBytes: f.hot, MemoryBytesMax: f.memory, Jurisdiction: f.law, LifecycleDay: f.day,
		Dir: dir, Disks: f.disks, KeysFile: f.keys, Missing: f.missing, Region: f.region, Domains: f.domains, Sites: f.sites, Log: log,
	})
	if err != nil {
		return err
	}
	s.BoundHeap()
	known, err := f.keystone.join(people)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	h, err := s.Doors(ctx, known)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return errors.Join(usage.Errorf("--listen %s: %w", f.listen, err), s.Close())
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok && trust == nil && !a.IP.IsLoopback() {
		log.Warn("the store speaks plain HTTP on an address that others reach; give --tls-cert-file and --tls-key-file")
	}
	log.Info("the store serves S3 and Swift", logs.Addr, l.Addr().String(), logs.Path, dir, "recovered", s.Recovered())
	stop := f.reload(ctx, log, dir, people)
	err = s.Serve(ctx, l, h, trust)
	stop()
	return errors.Join(err, s.Close())
}

// readStores reads a file of tiers and of buckets that are shown; without a name there are
// none.
func readStores(path string) (server.Stores, error) {
	if path == "" {
		return server.Stores{}, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return server.Stores{}, err
	}
	t, err := server.ParseStores(b)
	if err != nil {
		return server.Stores{}, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// people reads who may come.
func (f *storeFlags) people(dir string) (*directory, error) {
	if f.accessKey != "" && f.users != "" {
		return nil, usage.Errorf("--users, --access-key: give one of them")
	}
	if (f.accessKey == "") != (f.secretKeyFile == "") {
		return nil, usage.Errorf("--access-key, --secret-key-file: give both or neither")
	}
	u, err := f.read(dir)
	if err != nil {
		return nil, err
	}
	d := &directory{}
	d.users.Store(u)
	return d, nil
}

func (f *storeFlags) read(dir string) (*iam.Users, error) {
	switch {
	case f.users != "":
		b, err := os.ReadFile(f.users)
		if err != nil {
			return nil, usage.Errorf("--users: %w", err)
		}
		u, err := iam.ParseUsers(b)
		if err != nil {
			return nil, usage.Errorf("--users %s: %w", f.users, err)
		}
		return u, nil
	case f.accessKey != "":
		secret, err := pki.ReadSecret(f.secretKeyFile)
		if err != nil {
			return nil, usage.Errorf("--secret-key-file: %w", err)
		}
		account, name, ok := strings.Cut(f.accessKey, ":")
		if !ok {
			account, name = "admin", f.accessKey
		}
		u, err := iam.NewUsers([]iam.User{{
			Account: account, Name: name, Password: secret, AccessKey: f.accessKey, SecretKey: secret, Roles: []string{"admin", "operator"},
		}})
		if err != nil {
			return nil, usage.Errorf("--access-key: %w", err)
		}
		return u, nil
	}
	return credentials(dir)
}

// credentials reads the key that the store made for itself, or makes it.
func credentials(dir string) (*iam.Users, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	path := dir + "/credentials.yaml"
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		secret := make([]byte, 25)
		_, _ = rand.Read(secret) // never fails
		u := iam.User{Account: "admin", Name: "admin", AccessKey: "admin", Roles: []string{"admin", "operator"}}
		u.SecretKey = base32.StdEncoding.EncodeToString(secret)
		u.Password = u.SecretKey
		if b, err = yaml.Marshal(map[string][]iam.User{"users": {u}}); err == nil {
			err = pki.WriteFile(path, b)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the store's own key: %w", err)
	}
	u, err := iam.ParseUsers(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return u, nil
}

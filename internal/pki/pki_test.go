package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func authority(t *testing.T, dir string) *Authority {
	t.Helper()
	a, err := OpenAuthority(dir, "ca", epoch)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAuthorityIsKept(t *testing.T) {
	dir := t.TempDir()
	if a, b := authority(t, dir), authority(t, dir); !a.Cert.Equal(b.Cert) {
		t.Error("second open made another authority")
	}
}

func TestAuthorityRefusesForeignKey(t *testing.T) {
	dir := t.TempDir()
	authority(t, dir)
	os.Remove(filepath.Join(dir, "ca.key"))
	if err := OpenKey(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(dir, "ca", epoch); err == nil {
		t.Error("opened an authority whose key is another's")
	}
}

func TestIssueReusesUntilItMustNot(t *testing.T) {
	leaf := Leaf{Name: "api", User: "api", Groups: []string{"g"}, DNS: []string{"x"}, IPs: []net.IP{net.IPv4(10, 0, 0, 1)}}
	for _, tc := range []struct {
		name   string
		change func(*Leaf)
		later  time.Duration
		reused bool
	}{
		{"same", func(*Leaf) {}, 0, true},
		{"half its life later", func(*Leaf) {}, leafLife / 2, true},
		{"nearly expired", func(*Leaf) {}, leafLife * 3 / 4, false},
		{"another user", func(l *Leaf) { l.User = "other" }, 0, false},
		{"another group", func(l *Leaf) { l.Groups = nil }, 0, false},
		{"another address", func(l *Leaf) { l.IPs = []net.IP{net.IPv4(10, 0, 0, 2)} }, 0, false},
		{"another name", func(l *Leaf) { l.DNS = []string{"y"} }, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := authority(t, t.TempDir())
			p, err := a.Issue(leaf, epoch)
			if err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(p.Cert)
			l := leaf
			tc.change(&l)
			if _, err := a.Issue(l, epoch.Add(tc.later)); err != nil {
				t.Fatal(err)
			}
			after, _ := os.ReadFile(p.Cert)
			if got := string(before) == string(after); got != tc.reused {
				t.Errorf("reused = %v, want %v", got, tc.reused)
			}
		})
	}
}

func TestIssuedPairsServeMutualTLS(t *testing.T) {
	now := time.Now()
	a, err := OpenAuthority(t.TempDir(), "ca", now)
	if err != nil {
		t.Fatal(err)
	}
	server, err := a.Issue(Leaf{Name: "server", User: "server", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, now)
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.Issue(Leaf{Name: "client", User: "me", Groups: []string{"us"}}, now)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	load := func(p Pair) []tls.Certificate {
		c, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{c}
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: load(server), ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- err.Error()
			return
		}
		defer c.Close()
		tc := c.(*tls.Conn)
		if err := tc.Handshake(); err != nil {
			got <- err.Error()
			return
		}
		got <- tc.ConnectionState().PeerCertificates[0].Subject.CommonName
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, Certificates: load(client)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if who := <-got; who != "me" {
		t.Errorf("the server saw %q, want me", who)
	}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	a := authority(t, dir)
	if _, err := a.Issue(Leaf{Name: "x", User: "x"}, epoch); err != nil {
		t.Fatal(err)
	}
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if i, _ := f.Info(); i.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", f.Name(), i.Mode().Perm())
		}
	}
	if len(files) != 4 {
		t.Errorf("found %d files, want 4", len(files))
	}
}

// TestClientTLSReadsItsPairAnew: a pair may be made or renewed after the connection's
// configuration.
func TestClientTLSReadsItsPairAnew(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	if _, err := ClientTLS(file("ca.crt"), file("one.crt"), file("one.key")); err == nil {
		t.Error("an authority that is not there was trusted")
	}
	ca := authority(t, dir)
	trust, err := ClientTLS(ca.CertPath(), file("one.crt"), file("one.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust.GetClientCertificate(nil); err == nil {
		t.Error("a certificate that is not there was shown")
	}
	if _, err := ca.Issue(Leaf{Name: "one", User: "x"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got, err := trust.GetClientCertificate(nil); err != nil || len(got.Certificate) == 0 {
		t.Errorf("a pair that was made later is not shown: %v", err)
	}
}

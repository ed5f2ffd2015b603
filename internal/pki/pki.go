// Package pki makes the cloud's own certificate authorities and the leaves they
// sign. Anybody may import it. Keys are ECDSA P-256, written 0600 and never
// logged; a leaf is issued anew when a third of its life or less remains, when
// its names or organisations differ from what is asked, or when its authority
// changed. It knows no domain: who may do what with a certificate is decided by
// whoever verifies it. What else is read of keys and certificates in files, and how a
// secret is written, is here as well.
package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	clockSkew     = 5 * time.Minute
)

// Authority signs leaves. Its key stays in the directory it was opened in.
type Authority struct {
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
	name string
}

// OpenAuthority reads the authority called name from dir (files NAME.crt and
// NAME.key), or makes it there when neither file exists.
func OpenAuthority(dir, name string, now time.Time) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making directory of authority %s: %w", name, err)
	}
	a := &Authority{dir: dir, name: name}
	cert, key, err := read(filepath.Join(dir, name))
	switch {
	case err == nil:
		if !cert.IsCA {
			return nil, fmt.Errorf("authority %s: %s is not the certificate of an authority", name, a.CertPath())
		}
		a.Cert, a.key = cert, key
		return a, nil
	case errors.Is(err, fs.ErrNotExist):
		return a, a.create(now)
	}
	return nil, fmt.Errorf("opening authority %s: %w", name, err)
}

// CertPath is the file of the authority's certificate, PEM.
func (a *Authority) CertPath() string { return filepath.Join(a.dir, a.name+".crt") }

// KeyPath is the file of the authority's key, PEM, 0600.
func (a *Authority) KeyPath() string { return filepath.Join(a.dir, a.name+".key") }

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Cert.Raw})
}

func (a *Authority) create(now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making key of authority %s: %w", a.name, err)
	}
	t := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "polder-" + a.name},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return fmt.Errorf("signing authority %s: %w", a.name, err)
	}
	if a.Cert, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("parsing authority %s: %w", a.name, err)
	}
	a.key = key
	return write(filepath.Join(a.dir, a.name), der, key)
}

// Leaf says whom a certificate is for.
type Leaf struct {
	// Name of the files, without extension, and of nothing else.
	Name string
	// User is the common name: the user, to Kubernetes.
	User string
	// Groups are the organisations: the groups, to Kubernetes.
	Groups []string
	// DNS and IPs a server answers to; a leaf with neither is for clients only.
	DNS []string
	IPs []net.IP
}

// Pair is where a certificate and its key lie.
type Pair struct{ Cert, Key string }

// Issue returns the pair for l in the authority's directory, signing it when
// there is none that still serves.
func (a *Authority) Issue(l Leaf, now time.Time) (Pair, error) {
	base := filepath.Join(a.dir, l.Name)
	pair := Pair{Cert: base + ".crt", Key: base + ".key"}
	if cert, _, err := read(base); err == nil && a.serves(cert, l, now) {
		return pair, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("making key of %s: %w", l.Name, err)
	}
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(l.DNS)+len(l.IPs) > 0 {
		usage = append(usage, x509.ExtKeyUsageServerAuth)
	}
	t := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: l.User, Organization: l.Groups},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  usage,
		DNSNames:     l.DNS,
		IPAddresses:  l.IPs,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.Cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("signing %s: %w", l.Name, err)
	}
	return pair, write(base, der, key)
}

// serves reports whether cert is what Issue would sign now, and lives on.
func (a *Authority) serves(cert *x509.Certificate, l Leaf, now time.Time) bool {
	sameIPs := slices.EqualFunc(cert.IPAddresses, l.IPs, func(x, y net.IP) bool { return x.Equal(y) })
	return cert.CheckSignatureFrom(a.Cert) == nil &&
		cert.Subject.CommonName == l.User &&
		slices.Equal(cert.Subject.Organization, l.Groups) &&
		slices.Equal(cert.DNSNames, l.DNS) && sameIPs &&
		now.After(cert.NotBefore) && cert.NotAfter.Sub(now) > leafLife/3
}

// OpenKey makes an ECDSA P-256 key at path, PEM in the form of RFC 5915, unless
// there is one. It is for service accounts' tokens: Kubernetes reads a public key
// out of a private one in that form, and not in PKCS #8.
func OpenKey(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making key %s: %w", path, err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding key: %w", err)
	}
	return WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic("pki: the system's random source failed: " + err.Error())
	}
	return n
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// read returns the pair at base, and an error unless the two belong together.
func read(base string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certPEM, err := os.ReadFile(base + ".crt")
	if err != nil {
		return nil, nil, err
	}
	keyBytes, err := os.ReadFile(base + ".key")
	if err != nil {
		return nil, nil, err
	}
	cb, _ := pem.Decode(certPEM)
	kb, _ := pem.Decode(keyBytes)
	if cb == nil || kb == nil {
		return nil, nil, fmt.Errorf("%s.crt or %s.key is not PEM; restore it from a backup, or remove the cloud with `polder reset`", base, base)
	}
	cert, err := x509.ParseCertificate(cb.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("parsing %s.crt: %w", base, err)
	}
	k, err := x509.ParsePKCS8PrivateKey(kb.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("parsing %s.key: %w", base, err)
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, fmt.Errorf("%s.key is not the key of %s.crt", base, base)
	}
	return cert, key, nil
}

// write puts the key first, so that a certificate never lies there without it.
func write(base string, der []byte, key *ecdsa.PrivateKey) error {
	k, err := keyPEM(key)
	if err != nil {
		return err
	}
	if err := WriteFile(base+".key", k); err != nil {
		return err
	}
	return WriteFile(base+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// ClientTLS configures mutual TLS that trusts the authority in the file ca and shows
// the pair in cert and key, read anew for every connection, since pairs are renewed.
func ClientTLS(ca, cert, key string) (*tls.Config, error) {
	pool, err := Pool(ca)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key)
			return &pair, err
		},
	}, nil
}

// Pool reads the certificates of authorities, in PEM.
func Pool(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("authority %s has no certificate", path)
	}
	return pool, nil
}

// Beside is the system's authorities, and those in pem beside them; it is false where
// there are bytes and none of them is a certificate.
func Beside(pem []byte) (*x509.CertPool, bool) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	return pool, len(pem) == 0 || pool.AppendCertsFromPEM(pem)
}

// ReadSecret reads a file that holds a secret and nothing else, but for space around it.
func ReadSecret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	if b = bytes.TrimSpace(b); len(b) == 0 {
		return "", fmt.Errorf("%s is empty; write the secret into it", path)
	}
	return string(b), nil
}

// WriteFile replaces path by data, readable by its owner alone, so that a reader
// or a crash sees the old content or the new and nothing between. It leaves the
// file untouched when the content is the same.
func WriteFile(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return nil
}

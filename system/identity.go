package system

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/pki"
	"polder.dev/polder/system/layout"
)

// Names of the pairs in the cluster's authority that are not a component's own.
const (
	leafSupervisor = "supervisor" // the supervisor and what it runs before all else
	leafAdmin      = "admin"      // the person who ran `polder up`
)

// Groups that certificates carry, and the user that containerd pulls as.
const (
	groupAdmins  = "system:masters"
	groupWriters = "polder:registry-writers"
	userReader   = "polder:registry-reader"
)

// identify makes the authorities and everybody's certificates and kubeconfigs, or
// renews those that are about to expire.
func identify(c layout.Cloud, now time.Time) error {
	ca, err := pki.OpenAuthority(c.Path("pki"), "ca", now)
	if err != nil {
		return err
	}
	node, api := layout.IP(c.NodeIP()), layout.IP(c.APIServiceIP())
	name := c.Config.Node.Name
	here := []net.IP{node}
	for _, l := range []pki.Leaf{
		{Name: "apiserver", User: "kube-apiserver", IPs: []net.IP{api, node}, DNS: []string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		}},
		{Name: "kubelet-client", User: "polder:kubelet-client"},
		{Name: "controller-manager", User: "system:kube-controller-manager", IPs: here},
		{Name: "scheduler", User: "system:kube-scheduler", IPs: here},
		{Name: "kubelet", User: "system:node:" + name, Groups: []string{"system:nodes"}, IPs: here, DNS: []string{name}},
		{Name: "kube-proxy", User: "system:kube-proxy"},
		{Name: "coredns", User: "polder:dns"},
		{Name: "controllers", User: "polder:controllers", Groups: []string{groupWriters}, IPs: here},
		{Name: "device-driver", User: "polder:device-driver", IPs: here},
		{Name: partStore, User: "polder:object-store", IPs: here, DNS: storeHosts()},
		{Name: partGateway, User: "polder:gateway", IPs: here, DNS: gatewayHosts()},
		{Name: "registry", User: "polder:registry", IPs: here, DNS: []string{v1alpha1.RegistryHost}},
		{Name: "registry-reader", User: userReader},
		{Name: leafSupervisor, User: "polder:supervisor", Groups: []string{groupAdmins}},
		{Name: leafAdmin, User: "admin", Groups: []string{groupAdmins}},
	} {
		if _, err := ca.Issue(l, now); err != nil {
			return err
		}
	}
	if err := identifyStore(c, now); err != nil {
		return err
	}
	if err := pki.OpenKey(c.Path("pki", "serviceaccount.key")); err != nil {
		return err
	}
	if c.Config.Registry.Storage == layout.RegistryObjects {
		if err := secretFor(c.RegistrySecret()); err != nil {
			return err
		}
	}
	for _, user := range []string{"controller-manager", "scheduler", "kubelet", "kube-proxy", "coredns", "controllers", "device-driver", partStore, partGateway} {
		if err := pki.WriteFile(c.Kubeconfig(user), kubeconfig(c, user)); err != nil {
			return err
		}
	}
	admin, err := adminKubeconfig(c)
	if err != nil {
		return err
	}
	return pki.WriteFile(c.AdminKubeconfig(), admin)
}

// identifyStore makes what etcd and the aggregation layer trust, which are
// authorities of their own: nobody else's certificate opens them.
func identifyStore(c layout.Cloud, now time.Time) error {
	store, err := pki.OpenAuthority(c.Path("pki", "etcd"), "ca", now)
	if err != nil {
		return err
	}
	ips := []net.IP{layout.IP(c.NodeIP()), net.IPv4(127, 0, 0, 1)}
	for _, l := range []pki.Leaf{
		{Name: "server", User: "etcd", IPs: ips},
		{Name: "apiserver", User: "kube-apiserver"},
		{Name: leafSupervisor, User: "polder:supervisor"},
	} {
		if _, err := store.Issue(l, now); err != nil {
			return err
		}
	}
	front, err := pki.OpenAuthority(c.Path("pki", "front-proxy"), "ca", now)
	if err != nil {
		return err
	}
	_, err = front.Issue(pki.Leaf{Name: "client", User: "front-proxy-client"}, now)
	return err
}

// secretFor makes the file of a secret, unless it is there.
func secretFor(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return pki.WriteFile(path, []byte(rand.Text()+rand.Text()+"\n"))
}

const kubeconfigShape = `apiVersion: v1
kind: Config
clusters:
- name: polder
  cluster: {server: %q, certificate-authority%s: %q}
users:
- name: %s
  user: {client-certificate%s: %q, client-key%s: %q}
contexts:
- name: polder
  context: {cluster: polder, user: %s}
current-context: polder
`

// kubeconfig is that of a component: it points to files, which may be renewed.
func kubeconfig(c layout.Cloud, user string) []byte {
	return fmt.Appendf(nil, kubeconfigShape, c.APIURL(), "", c.Cert("ca"), user, "", c.Cert(user), "", c.Key(user), user)
}

// adminKubeconfig holds everything itself, so that it can be taken elsewhere.
func adminKubeconfig(c layout.Cloud) ([]byte, error) {
	var text [3]string
	for i, path := range []string{c.Cert("ca"), c.Cert(leafAdmin), c.Key(leafAdmin)} {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading for the administrator's kubeconfig: %w", err)
		}
		text[i] = base64.StdEncoding.EncodeToString(b)
	}
	const data = "-data"
	return fmt.Appendf(nil, kubeconfigShape, c.APIURL(), data, text[0], leafAdmin, data, text[1], data, text[2], leafAdmin), nil
}

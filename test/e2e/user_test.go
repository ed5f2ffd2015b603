//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"path/filepath"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"polder.dev/polder/internal/kube"
)

// user makes a person with a certificate of their own, from the cloud's API, who
// has the role edit in namespaces, and nothing else. It returns their client and
// the file of their kubeconfig.
func (c *cloud) user(t testing.TB, name string, namespaces ...string) (*kube.Client, string) {
	t.Helper()
	api := c.api(t)
	key, request := keyFor(t, name)
	csr := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: request, SignerName: certificatesv1.KubeAPIServerClientSignerName, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
		},
	}
	if err := api.Create(brief(t), csr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		if err := api.Delete(ctx, csr); err != nil && !apierrors.IsNotFound(err) {
			t.Log(err)
		}
	})
	csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test", Message: "approved by the end-to-end tests",
	}}
	if err := api.SubResource("approval").Update(brief(t), csr); err != nil {
		t.Fatal(err)
	}
	waitFor(t, time.Minute, "the certificate of "+name, func(ctx context.Context) error {
		if err := api.Get(ctx, kube.Key("", name), csr); err != nil {
			return err
		}
		if len(csr.Status.Certificate) == 0 {
			return errors.New("not issued")
		}
		return nil
	})
	for _, ns := range namespaces {
		b := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
		}
		if err := api.Create(brief(t), b); err != nil {
			t.Fatal(err)
		}
	}
	who, file := c.open(t, csr.Status.Certificate, key)
	for _, ns := range namespaces {
		waitFor(t, time.Minute, "the rights of "+name+" in namespace "+ns, func(ctx context.Context) error {
			return who.List(ctx, &corev1.PodList{}, kube.InNamespace(ns))
		})
	}
	return who, file
}

// keyFor makes a key and a request for a certificate, both PEM.
func keyFor(t testing.TB, user string) (key, request []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	req, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: user}}, k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: req})
}

// open writes a kubeconfig like the administrator's, with another certificate.
func (c *cloud) open(t testing.TB, certificate, key []byte) (*kube.Client, string) {
	t.Helper()
	return c.openAs(t, clientcmdapi.AuthInfo{ClientCertificateData: certificate, ClientKeyData: key})
}

// openAs writes one of somebody else.
func (c *cloud) openAs(t testing.TB, who clientcmdapi.AuthInfo) (*kube.Client, string) {
	t.Helper()
	cfg, err := clientcmd.LoadFromFile(c.AdminKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range cfg.AuthInfos {
		*u = who
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		t.Fatal(err)
	}
	k, err := kube.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return k, path
}

// refused checks that the API server refuses to do something, for a lack of rights.
func refused(t testing.TB, what string, err error) {
	t.Helper()
	if !apierrors.IsForbidden(err) {
		t.Errorf("%s: want it forbidden, got %v", what, err)
	}
}

package kube

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/pki"
)

// kubeconfig writes one that reaches server, with a certificate if pair is given.
func kubeconfig(t *testing.T, server, namespace string, pair *pki.Pair, ca []byte) string {
	t.Helper()
	user := "{}"
	if pair != nil {
		user = fmt.Sprintf("{client-certificate: %q, client-key: %q}", pair.Cert, pair.Key)
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}]
users: [{name: u, user: %s}]
contexts: [{name: x, context: {cluster: c, user: u, namespace: %q}}]
current-context: x
`, server, base64.StdEncoding.EncodeToString(ca), user, namespace)
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen(t *testing.T) {
	path := kubeconfig(t, "https://127.0.0.1:1", "team", nil, nil)
	c, err := Open(path)
	if err != nil || c.Namespace != "team" {
		t.Fatalf("namespace %v, %v; want the context's", c, err)
	}
	t.Setenv("KUBECONFIG", kubeconfig(t, "https://127.0.0.1:1", "", nil, nil))
	if c, err = Open(""); err != nil || c.Namespace != "default" {
		t.Errorf("namespace %v, %v; want default", c, err)
	}
	if _, err := Open("/nowhere"); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("a file that is not there: %v", err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(broken); err == nil {
		t.Error("a broken kubeconfig was taken")
	}
}

// TestACloudThatIsDown: the error says what to do, whatever was asked.
func TestACloudThatIsDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := "http://" + l.Addr().String()
	l.Close() // nobody listens there now
	c, err := Open(kubeconfig(t, host, "", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	var pods corev1.PodList
	if err := c.List(t.Context(), &pods); err == nil || !strings.Contains(err.Error(), "polder status") || !strings.Contains(err.Error(), host) {
		t.Errorf("listing: %v", err)
	}
	if _, err := c.Logs(t.Context(), "n", "p", &corev1.PodLogOptions{}); err == nil || !strings.Contains(err.Error(), "polder status") {
		t.Errorf("reading a log: %v", err)
	}
}

func TestRegistry(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var answer any
		switch r.URL.Path {
		case "/api":
			answer = metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}
		case "/apis":
			answer = metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
		case "/api/v1":
			answer = metav1.APIResourceList{
				TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: "v1",
				APIResources: []metav1.APIResource{{Name: "configmaps", Namespaced: true, Kind: "ConfigMap"}},
			}
		case "/api/v1/namespaces/kube-public/configmaps/cloud":
			answer = corev1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}, Data: map[string]string{"registry": "https://10.1.255.2:5000"}}
		default:
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer s.Close()
	c, err := Open(kubeconfig(t, s.URL, "", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Registry(t.Context()); err != nil || got != "https://10.1.255.2:5000" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := c.Trust(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without a certificate: %v", err)
	}
}

func TestTrust(t *testing.T) {
	now := time.Now()
	ca, err := pki.OpenAuthority(t.TempDir(), "ca", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{Name: "admin", User: "admin"}, now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(kubeconfig(t, "https://127.0.0.1:1", "", &pair, ca.PEM()))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Trust()
	if err != nil {
		t.Fatal(err)
	}
	if got.RootCAs == nil || got.InsecureSkipVerify || got.ServerName != "" || got.NextProtos != nil {
		t.Errorf("%+v", got)
	}
	if got.GetClientCertificate == nil && len(got.Certificates) == 0 {
		t.Error("the certificate is not shown")
	}
	token, err := Open(kubeconfig(t, "https://127.0.0.1:1", "", nil, ca.PEM()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.Trust(); err == nil || !strings.Contains(err.Error(), "neither a client certificate nor a token") {
		t.Errorf("with an authority alone: %v", err)
	}
	token.config.BearerToken = "secret"
	if trust, err := token.Trust(); err != nil || trust.RootCAs == nil {
		t.Errorf("with a token: %v", err)
	}
	for c, want := range map[*Client]string{token: "Bearer secret", c: ""} {
		said := "nothing"
		rt, err := c.Shows(sends(func(r *http.Request) { said = r.Header.Get("Authorization") }))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rt.RoundTrip(httptest.NewRequest("GET", "https://127.0.0.1:1/v2/", nil)); err != nil || said != want {
			t.Errorf("%q is shown, want %q: %v", said, want, err)
		}
	}
}

type sends func(*http.Request)

func (s sends) RoundTrip(r *http.Request) (*http.Response, error) {
	s(r)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func TestWholeObjectsAreWhatAFileHas(t *testing.T) {
	m := &v1alpha1.Model{}
	m.Name, m.ManagedFields = "ocr", []metav1.ManagedFieldsEntry{{Manager: "polder"}}
	got := Whole(m)
	if k := got.GetObjectKind().GroupVersionKind(); k != v1alpha1.GroupVersion.WithKind("Model") || got.GetName() != "ocr" || got.GetManagedFields() != nil {
		t.Errorf("%v %+v", k, got)
	}
	if m.ManagedFields == nil || m.Kind != "" {
		t.Error("the object itself is changed")
	}
	if got := Whole(&corev1.Pod{}); got.GetObjectKind().GroupVersionKind().Kind != "" {
		t.Errorf("a pod is %v", got.GetObjectKind())
	}
}

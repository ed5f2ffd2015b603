package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/kubetest"
	"polder.dev/polder/internal/usage"
)

func TestMakeKey(t *testing.T) {
	cloud := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-public", Name: "cloud"}, Data: map[string]string{"gateway": "https://10.1.255.2:9443"}}
	c := &kube.Client{WithWatch: kubetest.New(t, nil, cloud), Namespace: "team"}
	file := filepath.Join(t.TempDir(), "phone.key")
	var out, said bytes.Buffer
	create := func(o *options, name, file string) error {
		cmd := &cobra.Command{}
		cmd.SetContext(t.Context())
		cmd.SetOut(&out)
		cmd.SetErr(&said)
		out.Reset()
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: name}, Type: v1alpha1.SecretAPIKey,
			Data: map[string][]byte{v1alpha1.APIKey: []byte(newKey())},
		}
		return o.makeKey(cmd, c, s, file)
	}
	held := func(name string) string {
		var s corev1.Secret
		if err := c.Get(t.Context(), kube.Key("team", name), &s); err != nil {
			t.Fatal(err)
		}
		return string(s.Data[v1alpha1.APIKey])
	}
	if err := create(&options{}, "shown", ""); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != held("shown")+"\n" || len(got) < 40 || strings.Contains(said.String(), held("shown")) {
		t.Errorf("printed %q, said %q", got, said.String())
	}
	if err := create(&options{output: "json"}, "phone", file); err != nil {
		t.Fatal(err)
	}
	var made madeKey
	if err := json.Unmarshal(out.Bytes(), &made); err != nil || made.Key != "" || made.File != file || made.Gateway != "https://10.1.255.2:9443" {
		t.Errorf("%s: %v", out.String(), err)
	}
	b, err := os.ReadFile(file)
	if err != nil || string(b) != held("phone")+"\n" {
		t.Errorf("the file has %q: %v", b, err)
	}
	if i, err := os.Stat(file); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v: %v", i.Mode(), err)
	}
	if held("phone") == held("shown") {
		t.Error("two keys are the same")
	}
	// Nothing is left of what could not be made.
	other := filepath.Join(filepath.Dir(file), "other.key")
	if err := create(&options{}, "phone", other); !usage.Is(err) || !strings.Contains(err.Error(), "choose another name") {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, err := os.Stat(other); !os.IsNotExist(err) {
		t.Errorf("the file of a key that was not made is there: %v", err)
	}
	if err := create(&options{}, "again", file); !usage.Is(err) || !strings.Contains(err.Error(), "name a new file") {
		t.Errorf("a file that is there: %v", err)
	}
	var s corev1.Secret
	if err := c.Get(t.Context(), kube.Key("team", "again"), &s); err == nil {
		t.Error("a key that nobody was told was made")
	}
}

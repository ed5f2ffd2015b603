//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// imagesApart lets a tenant who may edit red-one use the registry and its images,
// and try what is blue's, the cloud's or the controllers'.
func (c *cloud) imagesApart(t *testing.T, who *kube.Client, kubeconfig string) {
	c.tiny(t)
	dir, err := probeDir()
	if err != nil {
		t.Fatal(err)
	}
	c.must(t, "image", "push", dir, "code/blue/x")
	as := func(args ...string) (stdout, stderr string, code int) {
		return c.run(append(args, "--kubeconfig="+kubeconfig)...)
	}

	t.Run("pushes and lists its own", func(t *testing.T) {
		for _, repository := range []string{"code/red-one/x", "data/red-one/x", "images/red-one/x"} {
			out, errs, code := as("image", "push", dir, repository)
			if code != 0 || !strings.HasPrefix(out, repository+":latest@sha256:") {
				t.Fatalf("pushing %s: exit code %d\n%s%s", repository, code, out, errs)
			}
		}
		out, errs, code := as("image", "ls")
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, errs)
		}
		for name, listed := range map[string]bool{"code/red-one/x": true, "images/red-one/x": true, probeRepository: true, "code/blue/x": false} {
			if strings.Contains(out, name) != listed {
				t.Errorf("%s is listed: %v, want %v:\n%s", name, !listed, listed, out)
			}
		}
		if out := c.must(t, "image", "ls"); !strings.Contains(out, "code/blue/x") {
			t.Errorf("the administrator sees no code/blue/x, so that it shows nothing that a tenant does not:\n%s", out)
		}
	})
	t.Run("and nobody else's", func(t *testing.T) { c.imagesRefused(t, who, as, dir) })
	t.Run("runs its own", func(t *testing.T) {
		c.output(t, borrow("red-one", "own", "images/red-one/x", "data/red-one/x"))
	})
	t.Run("and nobody else's in a pod", func(t *testing.T) { c.podsRefused(t, who) })
	t.Run("by a token", func(t *testing.T) { c.imagesByToken(t, dir) })
	t.Run("removes its own", func(t *testing.T) {
		if out, errs, code := as("image", "rm", "code/red-one/x"); code != 0 {
			t.Errorf("exit code %d: %s%s", code, out, errs)
		}
	})
}

// imagesByToken uses the registry as a service account that may edit red-one, by polder and
// as clients of registries do.
func (c *cloud) imagesByToken(t *testing.T, dir string) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "red-one", Name: "default"}}
	token, vault := &authenticationv1.TokenRequest{}, &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"vault"}}}
	for _, of := range []*authenticationv1.TokenRequest{token, vault} {
		if err := c.api(t).SubResource("token").Create(brief(t), account, of); err != nil {
			t.Fatal(err)
		}
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "red-one", Name: "pipeline"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "red-one", Name: "default"}},
	}
	if err := c.api(t).Create(brief(t), binding); err != nil {
		t.Fatal(err)
	}
	_, kubeconfig := c.openAs(t, clientcmdapi.AuthInfo{Token: token.Status.Token})
	waitFor(t, time.Minute, "a push by token", func(context.Context) error { // a refusal is remembered for two seconds
		out, errs, code := c.run("image", "push", dir, "images/red-one/built", "--kubeconfig="+kubeconfig)
		if code != 0 || !strings.HasPrefix(out, "images/red-one/built:latest@sha256:") {
			return fmt.Errorf("exit code %d: %s%s", code, out, errs)
		}
		return nil
	})
	if _, errs, code := c.run("image", "push", dir, "images/blue/built", "--kubeconfig="+kubeconfig); code == 0 || !strings.Contains(errs, "system:serviceaccount:red-one:default") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: c.trust(t, false)}, Timeout: time.Minute}
	for name, tc := range map[string]struct {
		password, path string
		want           int
	}{
		"where clients begin": {token.Status.Token, "/v2/", 200},
		"its own":             {token.Status.Token, "/v2/images/red-one/built/tags/list", 200},
		"another's":           {token.Status.Token, "/v2/code/blue/x/tags/list", 403},
		"a token for others":  {vault.Status.Token, "/v2/images/red-one/built/tags/list", 401},
		"no token":            {"guess", "/v2/", 401},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.RegistryURL()+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("anybody", tc.password)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != tc.want {
			t.Errorf("%s: %s, want %d", name, resp.Status, tc.want)
		}
	}
}

// imagesRefused tries, as mallory, what belongs to others in the registry.
func (c *cloud) imagesRefused(t *testing.T, who *kube.Client, as func(...string) (string, string, int), dir string) {
	borrower := write(t, filepath.Join(t.TempDir(), "job.yaml"), fmt.Sprintf(`apiVersion: polder.dev/v1alpha1
kind: TrainJob
metadata: {name: borrower, namespace: red-one}
spec: {runtime: %s, command: [/probe], code: {image: code/blue/x}}
`, tinyRuntime))
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{[]string{"image", "push", dir, "code/blue/x"}, []string{"push code/blue/x", "namespace blue", "create trainjobs.polder.dev", "role edit"}},
		{[]string{"image", "push", dir, "code/red-two/x"}, []string{"push code/red-two/x", "namespace red-two"}},
		{[]string{"image", "push", dir, "models/blue/x"}, []string{"push models/blue/x", "namespace blue", "create models.polder.dev", "role edit"}},
		{[]string{"image", "push", dir, "models/red-one/x:volume-0"}, []string{"push models/red-one/x:volume-0", "the cloud's own"}},
		{[]string{"image", "push", dir, "stray"}, []string{"push stray", "no namespace", "images/NAMESPACE/NAME"}},
		{[]string{"image", "push", dir, probeRepository + ":other"}, []string{"push " + probeRepository, "no namespace"}},
		{[]string{"image", "rm", "code/blue/x"}, []string{"pull code/blue/x", "namespace blue"}},
		{[]string{"image", "rm", probeRepository}, []string{"delete " + probeRepository, "no namespace"}},
		{[]string{"train", borrower}, []string{"pull code/blue/x", "namespace blue", "get trainjobs.polder.dev", "role view"}},
	} {
		_, errs, code := as(tc.args...)
		if code != 1 {
			t.Errorf("%s: exit code %d, want 1: %s", tc.args, code, errs)
		}
		for _, w := range append(tc.want, `denied: user "mallory" may not`) {
			if !strings.Contains(errs, w) {
				t.Errorf("%s: the refusal does not say %q: %s", tc.args, w, errs)
			}
		}
	}
	trust, err := who.Trust()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/v2/": http.StatusOK, "/v2/code/red-one/x/tags/list": http.StatusOK, "/v2/" + probeRepository + "/tags/list": http.StatusOK,
		"/v2/code/blue/x/tags/list": http.StatusForbidden, "/v2/code/blue/x/manifests/latest": http.StatusForbidden, "/v2/code%2Fblue%2Fx/tags/list": http.StatusForbidden,
	} {
		if text, code, err := ask(brief(t), c.RegistryURL()+path, trust); err != nil || code != want {
			t.Errorf("GET %s: status %d, %v, want %d: %.200q", path, code, err, want, text)
		}
	}
}

// borrow is a pod whose container and volume are images of the cloud's registry.
func borrow(ns, name, image, volume string) *corev1.Pod {
	p := probePod(ns, name, "look")
	first(p).Image = v1alpha1.RegistryHost + "/" + image
	p.Spec.Volumes = []corev1.Volume{{Name: "x", VolumeSource: corev1.VolumeSource{
		Image: &corev1.ImageVolumeSource{Reference: v1alpha1.RegistryHost + "/" + volume},
	}}}
	first(p).VolumeMounts = []corev1.VolumeMount{{Name: "x", MountPath: "/x", ReadOnly: true}}
	return p
}

// podsRefused tries, as a tenant of red-one, to run what is blue's.
func (c *cloud) podsRefused(t *testing.T, who *kube.Client) {
	const foreign = v1alpha1.RegistryHost + "/code/blue/x"
	words := []string{"polder-images", "image " + foreign + " is not for pods of namespace red-one", "images/red-one/NAME"}
	check := func(what string, err error, words ...string) {
		t.Helper()
		refused(t, what, err)
		for _, w := range words {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: the reason does not say %q: %v", what, w, err)
			}
		}
	}
	check("a container of another's image", who.Create(brief(t), borrow("red-one", "borrower", "code/blue/x", "data/red-one/x")), words...)
	check("a volume of another's image", who.Create(brief(t), borrow("red-one", "borrower", "images/red-one/x", "code/blue/x")), words...)
	p := borrow("red-one", "borrower", "images/red-one/x", "data/red-one/x")
	p.Spec.InitContainers = []corev1.Container{*first(p).DeepCopy()}
	p.Spec.InitContainers[0].Name, p.Spec.InitContainers[0].Image = "init", foreign
	check("an init container of another's image", who.Create(brief(t), p), words...)
	p = probePod("red-one", "borrower", "look")
	first(p).Image, first(p).ImagePullPolicy = "sha256:0", corev1.PullNever
	check("an image by the beginning of its ID", who.Create(brief(t), p), "polder-images", "sha256:0 names no repository")

	var running corev1.Pod
	if err := who.Get(brief(t), kube.Key("red-one", "server"), &running); err != nil {
		t.Fatal(err)
	}
	changed := running.DeepCopy()
	first(changed).Image = foreign
	check("another's image in a running pod", who.Patch(brief(t), changed, kube.Changes(&running)), words...)
	changed = running.DeepCopy()
	changed.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "borrower", Image: foreign, Command: first(changed).Command, SecurityContext: first(changed).SecurityContext,
	}}}
	err := c.api(t).SubResource("ephemeralcontainers").Patch(brief(t), changed, kube.Changes(&running)) // edit does not reach these
	check("an ephemeral container of another's image, even by an administrator", err, words...)

	changed = running.DeepCopy()
	metav1.SetMetaDataLabel(&changed.ObjectMeta, "touched", "yes")
	if err := who.Patch(brief(t), changed, kube.Changes(&running)); err != nil {
		t.Errorf("labelling one's own pod: %v", err)
	}
}

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/internal/kube"
)

// TestGateway: who may ask, replicas that come and go with the requests and lose none, and
// a gateway that is killed.
func TestGateway(t *testing.T) {
	c := shared(t)
	image := probeRepository + "@" + c.probe(t)
	ns := c.namespace(t, "asking", nil)
	c.namespace(t, "others", nil)
	d := c.door(t)
	c.must(t, "serve", "--image", image, "--name", "echo", "--protocol", "http", "--min", "0", "--max", "3", "--concurrency", "2", "--idle", "5s",
		"--cpu", "20m", "--memory", "64Mi", "--request-timeout", "10s", "--namespace", ns, "--timeout", "3m", "--", "/probe", "serve", "8080", "one", "200ms")
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: c.trust(t, false)}, Timeout: 2 * time.Minute}
	asks := func(bearer, url string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		resp, err := stranger.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, strings.TrimSpace(string(b))
	}
	echo := d.url + "/" + ns + "/http/echo/"
	answered := func(t *testing.T, what, bearer string, want int) {
		t.Helper()
		waitFor(t, time.Minute, what, func(context.Context) error {
			if code, b := asks(bearer, echo); code != want {
				return fmt.Errorf("status %d: %s", code, b)
			}
			return nil
		})
	}

	t.Run("keys", func(t *testing.T) {
		if code, b := asks("", echo); code != 401 || !strings.Contains(b, "nobody is anonymous") {
			t.Errorf("without a key: %d %s", code, b)
		}
		key := strings.TrimSpace(c.must(t, "key", "create", "notebook", "--namespace", ns))
		answered(t, "an answer to the key", key, 200)
		if code, b := asks(key, d.url+"/others/http/echo/"); code != 403 || !strings.Contains(b, "another namespace") {
			t.Errorf("in another namespace: %d %s", code, b)
		}
		if out := c.must(t, "key", "ls", "--namespace", ns); !strings.Contains(out, "notebook") || strings.Contains(out, key) {
			t.Errorf("keys are listed as\n%s", out)
		}
		c.must(t, "key", "rm", "notebook", "--namespace", ns)
		answered(t, "the end of the key", key, 401)
		if _, errs, code := c.run("key", "rm", "notebook", "--namespace", ns); code != 2 || !strings.Contains(errs, "there is no key notebook") {
			t.Errorf("exit code %d, %s", code, errs)
		}
	})

	t.Run("service accounts", func(t *testing.T) {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "default"}}
		token := &authenticationv1.TokenRequest{}
		if err := c.api(t).SubResource("token").Create(brief(t), account, token); err != nil {
			t.Fatal(err)
		}
		if code, b := asks(token.Status.Token, echo); code != 403 || !strings.Contains(b, "polder:infer") {
			t.Errorf("without a role: %d %s", code, b)
		}
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "askers"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "polder:infer"},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "default"}},
		}
		if err := c.api(t).Create(brief(t), binding); err != nil {
			t.Fatal(err)
		}
		answered(t, "an answer to the account", token.Status.Token, 200)
	})

	t.Run("killed", func(t *testing.T) {
		c.killPart(t, "gateway")
		if got, err := d.get(t.Context(), ns, "echo", ""); err != nil || got != "one" {
			t.Errorf("afterwards it answers %q, %v", got, err)
		}
	})

	t.Run("scaled under load", func(t *testing.T) {
		pods := func(ctx context.Context) (n int, err error) {
			var list corev1.PodList
			err = c.api(t).List(ctx, &list, kube.InNamespace(ns), kube.Labelled(map[string]string{"polder.dev/inferenceservice": "echo"}))
			for i := range list.Items {
				if list.Items[i].DeletionTimestamp == nil {
					n++
				}
			}
			return n, err
		}
		replicas := func(want int, limit time.Duration) {
			t.Helper()
			waitFor(t, limit, fmt.Sprint(want, " replicas"), func(ctx context.Context) error {
				n, err := pods(ctx)
				if err == nil && n != want {
					err = fmt.Errorf("there are %d", n)
				}
				return err
			})
		}
		few, many := d.load(t, 1, ns, "echo"), d.load(t, 8, ns, "echo")
		replicas(3, time.Minute)
		_, failed := many.end()
		// The probe does not wait for requests when it is told to end: that none fails is the
		// gateway's doing.
		replicas(1, 4*time.Minute)
		_, more := few.end()
		if failed = append(failed, more...); len(failed) > 0 {
			t.Errorf("%d requests failed, the first with: %v", len(failed), failed[0])
		}
		replicas(0, time.Minute)
	})
}

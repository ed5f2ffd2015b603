//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// door is the gateway of a cloud, as the administrator reaches it.
type door struct {
	url    string
	client *http.Client
}

// door finds the gateway.
func (c *cloud) door(t testing.TB) *door {
	t.Helper()
	var m corev1.ConfigMap
	if err := c.api(t).Get(brief(t), kube.Key("kube-public", "cloud"), &m); err != nil {
		t.Fatal(err)
	}
	trust, err := c.api(t).Trust()
	if err != nil {
		t.Fatal(err)
	}
	return &door{m.Data["gateway"], &http.Client{Transport: &http.Transport{TLSClientConfig: trust, MaxIdleConnsPerHost: 64}, Timeout: 2 * time.Minute}}
}

// get asks a service of protocol http.
func (d *door) get(ctx context.Context, ns, service, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/"+ns+"/http/"+service+"/"+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %s", resp.StatusCode, b)
	}
	return strings.TrimSpace(string(b)), nil
}

// load is what clients that never rest are answered.
type load struct {
	mu      sync.Mutex
	answers map[string]int
	failed  []error
	stop    context.CancelFunc
	running sync.WaitGroup
}

// load has n clients ask a service of protocol http all the time.
func (d *door) load(t testing.TB, n int, ns, service string) *load {
	return loaded(t, n, func(ctx context.Context) (string, error) { return d.get(ctx, ns, service, "slow") })
}

// loaded has n clients ask all the time.
func loaded(t testing.TB, n int, ask func(context.Context) (string, error)) *load {
	ctx, stop := context.WithCancel(t.Context())
	l := &load{answers: map[string]int{}, stop: stop}
	t.Cleanup(func() { l.end() })
	for range n {
		l.running.Go(func() {
			for ctx.Err() == nil {
				// A request that was begun is seen to its end.
				text, err := ask(context.WithoutCancel(ctx))
				l.mu.Lock()
				if err != nil {
					l.failed = append(l.failed, err)
				} else {
					l.answers[text]++
				}
				l.mu.Unlock()
			}
		})
	}
	return l
}

func (l *load) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers[text]
}

// end stops the clients, and returns what was answered and what failed.
func (l *load) end() (map[string]int, []error) {
	l.stop()
	l.running.Wait()
	return l.answers, l.failed
}

// served reads a service.
func (c *cloud) served(ctx context.Context, t testing.TB, ns, name string) (*v1alpha1.InferenceService, error) {
	var s v1alpha1.InferenceService
	return &s, c.api(t).Get(ctx, kube.Key(ns, name), &s)
}

// roles are a service's revisions, in short.
func roles(s *v1alpha1.InferenceService) string {
	var words []string
	for _, r := range s.Status.Revisions {
		words = append(words, fmt.Sprintf("%s %d%% %d/%d", r.Role, r.Percent, r.ReadyReplicas, r.Replicas))
	}
	return strings.Join(words, ", ")
}

// awaitRoles waits until the revisions of a service are these.
func (c *cloud) awaitRoles(t testing.TB, ns, name, want string, limit time.Duration) {
	t.Helper()
	waitFor(t, limit, "service "+name+" with "+want, func(ctx context.Context) error {
		s, err := c.served(ctx, t, ns, name)
		if err != nil {
			return err
		}
		if got := roles(s); got != want {
			return fmt.Errorf("it has %s; conditions %+v", got, s.Status.Conditions)
		}
		return nil
	})
}

// awaitTrouble waits until a service says of a revision that starts why it does not.
func (c *cloud) awaitTrouble(t testing.TB, ns, name, want string) {
	t.Helper()
	waitFor(t, podLimit, "the reason why "+name+" does not start", func(ctx context.Context) error {
		s, err := c.served(ctx, t, ns, name)
		if err != nil {
			return err
		}
		for _, r := range s.Status.Revisions {
			if r.Role == v1alpha1.RevisionStarting && strings.Contains(r.Message, want) {
				return nil
			}
		}
		return fmt.Errorf("revisions %+v", s.Status.Revisions)
	})
}

// left are the names of the ReplicaSets and pods of a service.
func (c *cloud) left(ctx context.Context, t testing.TB, ns, name string) ([]string, error) {
	ours := []kube.ListOption{kube.InNamespace(ns), kube.Labelled(map[string]string{v1alpha1.LabelService: name})}
	var sets appsv1.ReplicaSetList
	var pods corev1.PodList
	err := errors.Join(c.api(t).List(ctx, &sets, ours...), c.api(t).List(ctx, &pods, ours...))
	var names []string
	for _, s := range sets.Items {
		names = append(names, "set "+s.Name)
	}
	for _, p := range pods.Items {
		names = append(names, "pod "+p.Name)
	}
	return names, err
}

// TestServe serves the probe: it is rolled out under load, a revision that does not start
// changes nothing for clients, it sleeps and is woken, and goes without a trace.
func TestServe(t *testing.T) {
	c := shared(t)
	image := probeRepository + "@" + c.probe(t)
	ns := c.namespace(t, "serving", nil)
	d := c.door(t)
	flags := []string{"--namespace", ns, "--timeout", "3m"}
	polder := func(t *testing.T, args ...string) string {
		t.Helper()
		return c.must(t, append(args[:len(args):len(args)], flags...)...)
	}
	with := func(args []string, command ...string) []string {
		return append(append(append([]string{}, args...), "--"), command...)
	}

	began := time.Now()
	c.must(t, with(append([]string{"serve", "--image", image, "--name", "echo", "--protocol", "http", "--min", "2", "--cpu", "20m", "--memory", "64Mi", "--request-timeout", "10s"}, flags...),
		"/probe", "serve", "8080", "one", "100ms")...)
	t.Logf("served after %.1f s", time.Since(began).Seconds())
	c.awaitRoles(t, ns, "echo", "stable 100% 2/2", podLimit)
	if got, err := d.get(t.Context(), ns, "echo", ""); err != nil || got != "one" {
		t.Fatalf("it answers %q, %v", got, err)
	}
	t.Run("pods are restricted", func(t *testing.T) { c.servedRestricted(t, ns) })

	t.Run("rolled out under load", func(t *testing.T) {
		l := d.load(t, 8, ns, "echo")
		waitFor(t, time.Minute, "answers", func(context.Context) error {
			if l.count("one") < 20 {
				return fmt.Errorf("%d answers", l.count("one"))
			}
			return nil
		})
		c.must(t, with(append([]string{"service", "update", "echo"}, flags...), "/probe", "serve", "8080", "two", "100ms")...)
		// Until the old one is gone, and so are the requests that it had.
		c.awaitRoles(t, ns, "echo", "stable 100% 2/2", time.Minute)
		before := l.count("two")
		waitFor(t, time.Minute, "answers of the new revision", func(context.Context) error {
			if l.count("two") < before+20 {
				return fmt.Errorf("%d answers", l.count("two"))
			}
			return nil
		})
		answers, failed := l.end()
		t.Logf("answers: %v", answers)
		if len(failed) > 0 {
			t.Errorf("%d requests failed, the first with: %v", len(failed), failed[0])
		}
	})

	t.Run("a controller that is killed goes on", func(t *testing.T) {
		l := d.load(t, 2, ns, "echo")
		before, err := c.served(brief(t), t, ns, "echo")
		if err != nil {
			t.Fatal(err)
		}
		polder(t, "service", "update", "echo", "--env", "A=1", "--no-wait")
		c.killPart(t, "controllers")
		waitFor(t, 3*time.Minute, "the new revision alone", func(ctx context.Context) error {
			s, err := c.served(ctx, t, ns, "echo")
			if err == nil && (roles(s) != "stable 100% 2/2" || s.Status.Revisions[0].Name == before.Status.Revisions[0].Name) {
				err = errors.New(roles(s))
			}
			return err
		})
		if _, failed := l.end(); len(failed) > 0 {
			t.Errorf("%d requests failed, the first with: %v", len(failed), failed[0])
		}
	})

	t.Run("what does not start", func(t *testing.T) {
		l := d.load(t, 2, ns, "echo")
		crash := func(how ...string) (stdout, stderr string, code int) {
			return c.run(with(append([]string{"service", "update", "echo", "--namespace", ns}, how...), "/probe", "crash")...)
		}
		if _, errs, code := crash("--no-wait"); code != 0 {
			t.Fatal(errs)
		}
		c.awaitTrouble(t, ns, "echo", "the flux capacitor is empty")
		_, errs, code := crash("--timeout", "5s")
		for _, want := range []string{"ended with exit code 1", "the flux capacitor is empty", "not ready yet"} {
			if code != 1 || !strings.Contains(errs, want) {
				t.Errorf("exit code %d, and it does not say %q: %s", code, want, errs)
			}
		}
		s, err := c.served(brief(t), t, ns, "echo")
		if err != nil {
			t.Fatal(err)
		}
		if got := roles(s); got != "starting 0% 0/2, stable 100% 2/2" || !apimeta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionReady) {
			t.Errorf("revisions %s, conditions %+v", got, s.Status.Conditions)
		}
		if logs := c.must(t, "service", "logs", "echo", "--namespace", ns, "--revision", s.Status.Revisions[0].Name); !strings.Contains(logs, "flux capacitor") {
			t.Errorf("its log is %q", logs)
		}
		// Taken back, it is as it was, at once.
		c.must(t, with(append([]string{"service", "update", "echo"}, flags...), "/probe", "serve", "8080", "two", "100ms")...)
		c.awaitRoles(t, ns, "echo", "stable 100% 2/2", time.Minute)
		answers, failed := l.end()
		if len(failed) > 0 || len(answers) != 1 {
			t.Errorf("answers %v; %d requests failed: %v", answers, len(failed), errors.Join(failed...))
		}
	})

	t.Run("what is not there is refused", func(t *testing.T) {
		before, err := c.served(brief(t), t, ns, "echo")
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct{ args, want string }{
			{"service update echo --model nothing", "there is no model nothing in namespace serving"},
			{"service update echo --runtime nothing", "there is no runtime nothing"},
			{"service update echo --env PORT=1", "--env PORT is set by the cloud"},
			{"service update other --min 1", "there is no service other"},
			{"service update echo --port 80", "port"},
			{"serve --image tests/probe --name echo", "there is a service echo"},
			{"serve nothing", "there is no"},
		} {
			_, errs, code := c.run(append(strings.Fields(tt.args), "--namespace", ns)...)
			if code != 2 || !strings.Contains(errs, tt.want) {
				t.Errorf("%s: exit code %d, %q", tt.args, code, errs)
			}
		}
		after, err := c.served(brief(t), t, ns, "echo")
		if err != nil {
			t.Fatal(err)
		}
		if got := roles(after); got != roles(before) {
			t.Errorf("afterwards there is %s", got)
		}
	})

	t.Run("it sleeps and is woken", func(t *testing.T) {
		polder(t, "service", "scale", "echo", "--min", "0", "--idle", "1s")
		c.awaitRoles(t, ns, "echo", "stable 100% 0/0", 2*time.Minute)
		began := time.Now()
		got, err := d.get(t.Context(), ns, "echo", "")
		if err != nil || got != "two" {
			t.Fatalf("it answers %q, %v", got, err)
		}
		t.Logf("woken and answered after %.1f s", time.Since(began).Seconds())
		if out := c.must(t, "service", "show", "echo", "--namespace", ns); !strings.Contains(out, "asleep after 1 s") {
			t.Errorf("it is shown as\n%s", out)
		}
	})

	c.must(t, "service", "rm", "echo", "--namespace", ns)
	waitFor(t, podLimit, "the end of all that was the service's", func(ctx context.Context) error {
		names, err := c.left(ctx, t, ns, "echo")
		if err == nil && len(names) > 0 {
			err = fmt.Errorf("left are %q", names)
		}
		return err
	})
	if got, err := d.get(t.Context(), ns, "echo", ""); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a service that is gone answers %q, %v", got, err)
	}
}

// servedRestricted looks at what became of a service's pods: a sandbox, and no way to the
// API.
func (c *cloud) servedRestricted(t *testing.T, ns string) {
	var pods corev1.PodList
	if err := c.api(t).List(brief(t), &pods, kube.InNamespace(ns)); err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.Spec.RuntimeClassName == nil || *p.Spec.RuntimeClassName != "gvisor" {
			t.Errorf("pod %s has runtime class %v", p.Name, p.Spec.RuntimeClassName)
		}
		out, err := c.exec(brief(t), t, p, "look")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out, "serviceaccount") || !strings.Contains(out, `"uid":65532`) {
			t.Errorf("pod %s sees %s", p.Name, out)
		}
	}
	if len(pods.Items) != 2 {
		t.Errorf("there are %d pods", len(pods.Items))
	}
}

// killPart kills a component and waits until it is back.
func (c *cloud) killPart(t testing.TB, component string) {
	t.Helper()
	s, err := c.status()
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.component(component)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, time.Minute, component+" after it was killed", func(context.Context) error {
		s, err := c.status()
		if err != nil {
			return err
		}
		now, err := s.component(component)
		if err != nil {
			return err
		}
		if now.State != "Ready" || now.PID == before.PID {
			return fmt.Errorf("it is %s", now.State)
		}
		return nil
	})
}

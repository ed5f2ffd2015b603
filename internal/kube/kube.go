// Package kube makes clients of Kubernetes for everybody who is not a controller:
// the command line, the console, tests from outside. It is the only place they get
// one from, so that nobody else links client-go.
package kube

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
)

// Client reads and writes objects: those of Kubernetes that a job is made of, and
// Polder's own.
type Client struct {
	client.WithWatch

	// Namespace is the one to use when none is named.
	Namespace string

	config *rest.Config
	set    *kubernetes.Clientset
}

// Open returns a client for the context that kubeconfig, a file, is set to; an
// empty path means what KUBECONFIG says, and then ~/.kube/config.
func Open(kubeconfig string) (*Client, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if kubeconfig != "" {
		if _, err := os.Stat(kubeconfig); err != nil {
			return nil, fmt.Errorf("kubeconfig: %w; is there a cloud? `polder up` starts one, --data-dir or --kubeconfig names another", err)
		}
		rules.ExplicitPath = kubeconfig
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil)
	cfg, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, errors.New("no cloud is known here: start one with `polder up`, or name one with --kubeconfig or KUBECONFIG")
	}
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	cfg.QPS, cfg.Burst = 50, 100
	cfg.WarningHandler = rest.NoWarnings{}
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return &reach{rt, cfg.Host} })
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("making client: %w", err)
		}
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("making client: %w", err)
	}
	set, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making client: %w", err)
	}
	return &Client{WithWatch: c, Namespace: namespace, config: cfg, set: set}, nil
}

// reach adds to an error of the connection what to do about it. Clients connect
// when they are first used.
type reach struct {
	http.RoundTripper
	host string
}

// RoundTrip implements http.RoundTripper.
func (r *reach) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.RoundTripper.RoundTrip(req)
	if err != nil && req.Context().Err() == nil {
		err = fmt.Errorf("%w; is the cloud at %s up? `polder status` tells", err, r.host)
	}
	return resp, err
}

// Greet returns an error that says so when the cloud does not answer.
func (c *Client) Greet(ctx context.Context) error {
	const limit = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := c.set.Discovery().RESTClient().Get().AbsPath("/version").DoRaw(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the cloud at %s does not answer; is it up? `polder status` tells", c.config.Host)
	}
	if err != nil {
		return fmt.Errorf("asking the cloud: %w", err)
	}
	return nil
}

// User is the name by which the API server knows who asks.
func (c *Client) User(ctx context.Context) (string, error) {
	r, err := c.set.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("asking the cloud who you are: %w", err)
	}
	return r.Status.UserInfo.Username, nil
}

// Raw reads a path of the API server that has no objects, such as /metrics.
func (c *Client) Raw(ctx context.Context, path string) ([]byte, error) {
	b, err := c.set.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return b, nil
}

// Object is one that a Client reads and writes, ObjectList what it lists, and ListOption
// narrows a List.
type (
	Object     = client.Object
	ObjectList = client.ObjectList
	ListOption = client.ListOption
)

// Whole is o as a file would have it: with its kind, which is left out of what is read, and
// without the record of who wrote which field. Kinds of others than ours stay as they are.
func Whole(o Object) Object {
	o = o.DeepCopyObject().(Object)
	o.SetManagedFields(nil)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		panic("kube: the API's own kinds: " + err.Error()) // they are fixed
	}
	if kinds, _, err := scheme.ObjectKinds(o); err == nil && len(kinds) == 1 {
		o.GetObjectKind().SetGroupVersionKind(kinds[0])
	}
	return o
}

// Key is the name of an object in a namespace.
func Key(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// Trust is the certificate this client shows, if it has one, and the authority it believes.
// One without a certificate has a token; Shows adds it to requests.
func (c *Client) Trust() (*tls.Config, error) {
	t, err := rest.TLSConfigFor(c.config)
	if err != nil {
		return nil, fmt.Errorf("reading certificates of kubeconfig: %w", err)
	}
	token := c.config.BearerToken != "" || c.config.BearerTokenFile != "" || c.config.ExecProvider != nil
	if t == nil || len(t.Certificates) == 0 && t.GetClientCertificate == nil && !token {
		return nil, errors.New("the kubeconfig has neither a client certificate nor a token, by which the cloud's registry knows people; docs/howto/tenant.md says how an administrator makes one")
	}
	t.ServerName, t.NextProtos = "", nil
	return t, nil
}

// Shows adds to requests who asks, if that is told by a token.
func (c *Client) Shows(rt http.RoundTripper) (http.RoundTripper, error) {
	cfg := rest.CopyConfig(c.config)
	cfg.WrapTransport, cfg.Impersonate = nil, rest.ImpersonationConfig{}
	wrapped, err := rest.HTTPWrappersForConfig(cfg, rt)
	if err != nil {
		return nil, fmt.Errorf("reading the token of kubeconfig: %w", err)
	}
	return wrapped, nil
}

// HTTP returns a client of the cloud's other doors, such as the gateway, which shows who
// asks as the API server is shown it: by certificate or by token.
func (c *Client) HTTP() (*http.Client, error) {
	cfg := rest.CopyConfig(c.config)
	cfg.ServerName, cfg.WrapTransport, cfg.Timeout = "", nil, 0
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("reading certificates of kubeconfig: %w", err)
	}
	return client, nil
}

// Registry is the address of the cloud's registry.
func (c *Client) Registry(ctx context.Context) (string, error) { return c.told(ctx, "registry") }

// Gateway is the address of the cloud's gateway.
func (c *Client) Gateway(ctx context.Context) (string, error) { return c.told(ctx, "gateway") }

// told is what the cloud says of itself to everybody who is known.
func (c *Client) told(ctx context.Context, what string) (string, error) {
	var m corev1.ConfigMap
	if err := c.Get(ctx, Key("kube-public", "cloud"), &m); err != nil {
		return "", fmt.Errorf("asking for the %s: %w", what, err)
	}
	return m.Data[what], nil
}

// Logs reads the log of a container; it must be closed.
func (c *Client) Logs(ctx context.Context, namespace, pod string, opts *corev1.PodLogOptions) (io.ReadCloser, error) {
	return c.set.CoreV1().Pods(namespace).GetLogs(pod, opts).Stream(ctx)
}

// Exec runs a command in a container and returns when it has ended.
func (c *Client) Exec(ctx context.Context, namespace, pod string, opts *corev1.PodExecOptions, out, errs io.Writer) error {
	opts.Stdout, opts.Stderr = out != nil, errs != nil
	req := c.set.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(opts, clientgoscheme.ParameterCodec)
	e, err := remotecommand.NewWebSocketExecutor(c.config, "GET", req.URL().String())
	if err != nil {
		return fmt.Errorf("opening %s/%s: %w", namespace, pod, err)
	}
	return e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: out, Stderr: errs})
}

// InNamespace and Labelled narrow a List.
func InNamespace(namespace string) client.ListOption { return client.InNamespace(namespace) }

// Labelled narrows a List to objects with all of these labels.
func Labelled(labels map[string]string) client.ListOption { return client.MatchingLabels(labels) }

// Selected narrows a List to objects of which a field that the API server knows has a value.
func Selected(field, value string) client.ListOption { return client.MatchingFields{field: value} }

// List is what List fills: the objects of one kind.
type List = client.ObjectList

// Changes is a patch from what old was before it was changed.
func Changes(old client.Object) client.Patch { return client.MergeFrom(old) }

// DryRun has a Create checked, and nothing written.
func DryRun() client.CreateOption { return client.DryRunAll }

// InForeground lets a Delete remove what the object owns first.
const InForeground = client.PropagationPolicy("Foreground")

// IndexAnnotation is, on a pod of an Indexed Job, which of its pods it is.
const IndexAnnotation = batchv1.JobCompletionIndexAnnotation

package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway/route"
	"polder.dev/polder/storage/transfer"
	"polder.dev/polder/system/layout"
)

// gatewayDir is what the gateway keeps, below the data directory: what tenants have spent.
const gatewayDir = "gateway"

// newRoutes makes what answers requests for ModelRoutes.
func newRoutes(log *slog.Logger, c layout.Cloud, m ctrl.Manager, services route.Services) (*route.Router, error) {
	dir := c.Path(gatewayDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the gateway's directory: %w", err)
	}
	ca, err := os.ReadFile(c.Cert("ca"))
	if err != nil {
		return nil, fmt.Errorf("reading authority: %w", err)
	}
	live, err := client.New(m.GetConfig(), client.Options{Scheme: m.GetScheme(), Mapper: m.GetRESTMapper(), HTTPClient: m.GetHTTPClient()})
	if err != nil {
		return nil, fmt.Errorf("making the client of routes: %w", err)
	}
	return route.New(route.Config{
		Log: log, Services: services, Status: route.API{Live: live}, SpendFile: filepath.Join(dir, "spend.json"),
		Bucket: &buckets{secrets: live, endpoint: c.StoreURL(), ca: ca, clients: map[string]*bucketClient{}},
		Now:    time.Now, Draw: rand.Float64, Metrics: metrics.Registry,
	})
}

// buckets writes to tenants' buckets with the keys of their jobs. Of the Secrets, which
// tenants may write, it takes the keys alone: where the store is, the cloud knows.
type buckets struct {
	secrets  client.Reader
	endpoint string
	ca       []byte

	mu      sync.Mutex
	clients map[string]*bucketClient // by namespace
}

type bucketClient struct {
	version string // of the Secret
	*transfer.Client
}

// bucketClientsMax are kept.
const bucketClientsMax = 1000

// Put implements route.Bucket.
func (b *buckets) Put(ctx context.Context, namespace, bucket, key string, body []byte) error {
	c, err := b.client(ctx, namespace)
	if err != nil {
		return err
	}
	return c.Write(ctx, bytes.NewReader(body), transfer.Address{Bucket: bucket, Key: key}, &transfer.Meter{})
}

func (b *buckets) client(ctx context.Context, namespace string) (*bucketClient, error) {
	var s corev1.Secret
	err := b.secrets.Get(ctx, client.ObjectKey{Namespace: namespace, Name: v1alpha1.StoreJobSecret}, &s)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("namespace %s has no key for the object store (Secret %s)", namespace, v1alpha1.StoreJobSecret)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key for the object store: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if have := b.clients[namespace]; have != nil && have.version == s.ResourceVersion {
		return have, nil
	}
	access, secret := string(s.Data[v1alpha1.StoreAccessKey]), string(s.Data[v1alpha1.StoreSecretKey])
	if access == "" || secret == "" {
		return nil, errors.New("the Secret " + v1alpha1.StoreJobSecret + " has no key")
	}
	made, err := transfer.New(transfer.Config{Endpoint: b.endpoint, AccessKey: access, SecretKey: secret, CA: b.ca, Region: storeRegion, Parallel: 1, PartBytes: transfer.PartBytesMin})
	if err != nil {
		return nil, err
	}
	if len(b.clients) >= bucketClientsMax {
		clear(b.clients)
	}
	b.clients[namespace] = &bucketClient{version: s.ResourceVersion, Client: made}
	return b.clients[namespace], nil
}

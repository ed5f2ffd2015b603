package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/node/containerd"
	"polder.dev/polder/system/layout"
)

const answerBytesMax = 4 << 20

// probe asks components whether they serve, over the connections their clients use.
type probe struct {
	cloud   layout.Cloud
	cluster *http.Client
	etcd    *http.Client
}

func newProbe(c layout.Cloud) (*probe, error) {
	cluster, err := mutual(c.Path("pki"), leafSupervisor)
	if err != nil {
		return nil, err
	}
	etcd, err := mutual(c.Path("pki", "etcd"), leafSupervisor)
	if err != nil {
		return nil, err
	}
	return &probe{cloud: c, cluster: cluster, etcd: etcd}, nil
}

// mutual returns a client that trusts dir's authority and shows the pair name.
func mutual(dir, name string) (*http.Client, error) {
	config, err := pki.ClientTLS(dir+"/ca.crt", dir+"/"+name+".crt", dir+"/"+name+".key")
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{IdleConnTimeout: 10 * time.Second, TLSClientConfig: config}}, nil
}

// get returns the answer's body, and an error unless it is 200.
func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return nil, fmt.Errorf("reading answer of %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s: %.200s", url, resp.Status, strings.TrimSpace(string(b)))
	}
	return b, nil
}

func (p *probe) https(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := get(ctx, p.cluster, url)
		return err
	}
}

func (p *probe) http(url string) func(context.Context) error { return p.https(url) }

func (p *probe) store(ctx context.Context) error {
	_, err := get(ctx, p.etcd, "https://"+p.cloud.At(layout.PortEtcd)+"/health")
	return err
}

func (p *probe) containers(ctx context.Context) error { return containerd.Ready(ctx, p.cloud) }

// node tells whether the node is registered and ready for pods.
func (p *probe) node(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		b, err := get(ctx, p.cluster, p.cloud.APIURL()+"/api/v1/nodes/"+name)
		if err != nil {
			return err
		}
		var n struct {
			Status struct {
				Conditions []struct {
					Type, Status, Message string
					LastHeartbeatTime     time.Time
				}
			}
		}
		if err := json.Unmarshal(b, &n); err != nil {
			return fmt.Errorf("reading node: %w", err)
		}
		for _, c := range n.Status.Conditions {
			if c.Type == "Ready" && c.Status != "True" {
				return fmt.Errorf("node is not ready: %s", c.Message)
			}
			if c.Type == "Ready" {
				_, err := get(ctx, p.cluster, fmt.Sprintf("http://%s/healthz", p.cloud.At(layout.PortKubeletOK)))
				return err
			}
		}
		return errors.New("node has not said whether it is ready")
	}
}

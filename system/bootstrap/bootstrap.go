// Package bootstrap puts into a fresh API server what a cloud is made of: its
// kinds, its rules about sandboxes, its roles, its name service, and the one image
// every pod needs. It runs at every start, between the API server and everything
// that relies on these, and puts back what is missing. Only system imports it.
package bootstrap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	ggcr "github.com/google/go-containerregistry/pkg/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/api/v1alpha1/crd"
	"polder.dev/polder/device/controller"
	"polder.dev/polder/device/dra"
	"polder.dev/polder/gateway/httproute"
	"polder.dev/polder/internal/pki"
	"polder.dev/polder/internal/version"
	"polder.dev/polder/model/controller/alias"
	"polder.dev/polder/model/controller/distillation"
	"polder.dev/polder/model/controller/evaluation"
	"polder.dev/polder/model/controller/removal"
	"polder.dev/polder/model/controller/route"
	"polder.dev/polder/model/image"
	"polder.dev/polder/model/registry"
	"polder.dev/polder/node/containerd"
	"polder.dev/polder/node/firewall"
	"polder.dev/polder/node/volume"
	"polder.dev/polder/policy/tenant"
	queue "polder.dev/polder/sched/controller"
	store "polder.dev/polder/storage/controller"
	"polder.dev/polder/system/layout"
	"polder.dev/polder/workload/offer"
	"polder.dev/polder/workload/serve"
	"polder.dev/polder/workload/train"
)

//go:embed manifest/*.yaml
var manifests embed.FS

// Options of Run.
type Options struct {
	Libexec string
	// Supervisor is the pair that may do all this.
	Supervisor string
	// Kata says that Kata Containers is installed.
	Kata bool
}

// Run brings everything into place and returns.
func Run(ctx context.Context, log *slog.Logger, c layout.Cloud, o Options) error {
	if err := own(ctx, c, o); err != nil {
		return fmt.Errorf("pushing the cloud's own images: %w", err)
	}
	objects, err := collect(c, o)
	if err != nil {
		return err
	}
	a, err := newApplier(log, c, o.Supervisor)
	if err != nil {
		return err
	}
	return a.apply(ctx, objects)
}

// own pushes the images that the cloud itself needs in pods, unless they are there.
func own(ctx context.Context, c layout.Cloud, o Options) error {
	trust, err := pki.ClientTLS(c.Cert("ca"), c.Cert(o.Supervisor), c.Key(o.Supervisor))
	if err != nil {
		return err
	}
	client, err := registry.New(c.RegistryURL(), trust)
	if err != nil {
		return err
	}
	copier, err := CopyImage(o.Libexec)
	if err != nil {
		return err
	}
	return errors.Join(push(ctx, client, o, "pause", containerd.PauseImage), push(ctx, client, o, "fetch", copier), pushRecipes(ctx, client))
}

// CopyImage is the image of the program that copies between the store and pods, named by
// what the program is, so that a node never runs an older one.
func CopyImage(libexec string) (string, error) {
	b, err := os.ReadFile(filepath.Join(libexec, "fetch"))
	if err != nil {
		return "", fmt.Errorf("reading the program that copies between the store and pods: %w", err)
	}
	sum := sha256.Sum256(b)
	return v1alpha1.RegistryHost + "/system/fetch:" + hex.EncodeToString(sum[:8]), nil
}

// push makes an image of one helper binary.
func push(ctx context.Context, client *registry.Client, o Options, name, reference string) error {
	b, err := os.ReadFile(filepath.Join(o.Libexec, name))
	if err != nil {
		return err
	}
	img, err := image.OfFiles([]image.File{{Name: name, Mode: 0o755, Data: b}}, ggcr.Config{Entrypoint: []string{"/" + name}, User: "65535:65535"})
	if err != nil {
		return err
	}
	want, err := img.Digest()
	if err != nil {
		return err
	}
	if have, err := client.Digest(ctx, reference); err == nil && have == want {
		return nil
	}
	_, err = client.Push(ctx, reference, img, nil)
	return err
}

// collect gathers all objects: the kinds first.
func collect(c layout.Cloud, o Options) ([]*unstructured.Unstructured, error) {
	out, err := files(crd.Files, ".", nil)
	if err != nil {
		return nil, err
	}
	upstream, err := files(httproute.CRDs, "crd", nil)
	if err != nil {
		return nil, err
	}
	out = append(out, upstream...)
	values := strings.NewReplacer(
		"${DNS_SERVICE_IP}", c.DNSServiceIP().String(), "${HOST_IP}", c.HostIP().String(),
		"${NODE_IP}", c.NodeIP().String(), "${STORE_PORT}", strconv.Itoa(layout.PortStore),
		"${GATEWAY_PORT}", strconv.Itoa(layout.PortGateway), "${GATEWAY}", c.GatewayURL(),
		"${REGISTRY}", c.RegistryURL(), "${REGISTRY_HOST}", v1alpha1.RegistryHost, "${VERSION}", version.String(),
	)
	own, err := files(manifests, "manifest", values)
	if err != nil {
		return nil, err
	}
	for _, text := range [][]byte{train.RBAC, serve.RBAC, distillation.RBAC, volume.RBAC, volume.Manifest, firewall.RBAC, tenant.RBAC, offer.RBAC, dra.RBAC, controller.RBAC, queue.RBAC, store.RBAC, alias.RBAC, removal.RBAC, evaluation.RBAC, route.RBAC, httproute.RBAC, httproute.Class} {
		objects, err := parse(text)
		if err != nil {
			return nil, err
		}
		own = append(own, objects...)
	}
	for _, u := range own {
		if u.GetKind() == "RuntimeClass" && u.GetName() == "kata" && !o.Kata {
			continue
		}
		out = append(out, u)
	}
	return out, nil
}

// files reads the YAML files in dir.
func files(fsys fs.FS, dir string, values *strings.Replacer) ([]*unstructured.Unstructured, error) {
	names, err := fs.Glob(fsys, filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for _, n := range names {
		b, err := fs.ReadFile(fsys, n)
		if err != nil {
			return nil, err
		}
		if values != nil {
			b = []byte(values.Replace(string(b)))
		}
		objects, err := parse(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		out = append(out, objects...)
	}
	return out, nil
}

// parse reads a stream of YAML documents.
func parse(b []byte) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(b), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := d.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading manifest: %w", err)
		}
		if len(u.Object) > 0 {
			out = append(out, u)
		}
	}
}

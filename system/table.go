package system

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"polder.dev/polder/controlplane/apiserver"
	"polder.dev/polder/node/containerd"
	"polder.dev/polder/node/dns"
	"polder.dev/polder/node/gvisor"
	"polder.dev/polder/node/kubelet"
	"polder.dev/polder/node/network"
	"polder.dev/polder/node/proxy"
	"polder.dev/polder/system/component"
	"polder.dev/polder/system/layout"
)

// environment is all that a child sees of ours.
func environment(extra ...string) []string {
	return append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}, extra...)
}

// assembly is what the table is made from.
type assembly struct {
	log      *slog.Logger
	cloud    layout.Cloud
	program  string // polder itself
	libexec  string
	options  containerd.Options
	probe    *probe
	keepPods *atomic.Bool // at the stop that is to come
}

// table lists the components of a cloud in the order they are started: a row
// starts as soon as the rows it names are ready.
func table(a *assembly) ([]component.Entry, error) {
	c, p := a.cloud, a.probe
	type row struct {
		spec  component.Spec
		after []string
	}
	var (
		inside = c.NetnsPath()
		own    = func(name string) []string { return []string{a.program, name, "--data-dir=" + c.Dir} }
		helper = func(name string, args ...string) []string {
			return append([]string{filepath.Join(a.libexec, name)}, args...)
		}
		small    = environment(fmt.Sprintf("GOMAXPROCS=%d", max(1, runtime.NumCPU()/8))) // seldom busy: each processor more costs wake-ups
		registry = helper("registry", "--address="+c.At(layout.PortRegistry), "--dir="+c.RegistryDir(), "--ca="+c.Cert("ca"),
			"--cert="+c.Cert("registry"), "--key="+c.Key("registry"), "--api="+c.APIURL(), "--writers="+groupAdmins+","+groupWriters, "--readers="+userReader,
			"--audiences="+apiserver.Issuer+","+c.RegistryURL())
	)
	afterStore := []string{"bootstrap"}
	if c.Config.Registry.Storage == layout.RegistryObjects {
		// The store serves the registry before there is an API server, and the registry waits
		// for it. All others it serves after bootstrap, which it waits for.
		registry = append(registry, "--store-socket="+c.RegistryStore(), "--store-key="+registryUser, "--store-secret-file="+c.RegistrySecret(), "--bucket="+registryBucket)
		afterStore = nil
	}
	rows := []row{
		{component.Spec{Name: "etcd", Command: own("etcd"), Netns: inside, Ready: p.store}, nil},
		{component.Spec{Name: "containerd", Command: containerd.Command(c, a.options), Netns: inside, Env: environment(), Init: a.initContainerd, Ready: p.containers}, nil},
		{component.Spec{Name: "registry", Command: registry, Netns: inside, Ready: p.https(c.RegistryURL() + "/v2/")}, nil},
		{component.Spec{Name: "kube-apiserver", Command: own("kube-apiserver"), Netns: inside, Env: environment(),
			Init: files(c, apiserver.Files), Ready: p.https(c.APIURL() + "/readyz")}, []string{"etcd"}},
		{component.Spec{Name: "bootstrap", Command: own("bootstrap"), Netns: inside, Once: true}, []string{"kube-apiserver", "registry"}},
		{component.Spec{Name: "kube-controller-manager", Command: own("kube-controller-manager"), Netns: inside,
			Ready: p.https("https://" + c.At(layout.PortManager) + "/healthz")}, []string{"kube-apiserver"}},
		{component.Spec{Name: "kube-scheduler", Command: own("kube-scheduler"), Netns: inside,
			Init: files(c, schedulerFiles), Ready: p.https("https://" + c.At(layout.PortScheduler) + "/readyz")}, []string{"kube-apiserver"}},
		{component.Spec{Name: "kubelet", Command: own("kubelet"), Netns: inside, Env: environment(),
			Init: files(c, kubelet.Files), Ready: p.node(c.Config.Node.Name)}, []string{"kube-apiserver", "containerd", "pods"}},
		{component.Spec{Name: "kube-proxy", Command: own("kube-proxy"), Netns: inside,
			Init: files(c, proxy.Files), Ready: p.http("http://" + c.At(layout.PortProxyOK) + "/livez")}, []string{"kube-apiserver"}},
		{component.Spec{Name: "coredns", Command: helper("coredns", "-conf", c.Path("etc", "Corefile")),
			Init: files(c, dns.Files), Ready: p.http(fmt.Sprintf("http://%s:%d/ready", c.HostIP(), layout.PortDNSReady))}, []string{"bootstrap"}},
		{component.Spec{Name: "controllers", Command: own("controllers"), Netns: inside,
			Ready: p.http("http://" + c.At(layout.PortControlOK) + "/readyz")}, []string{"bootstrap"}},
		{component.Spec{Name: partStore, Command: own(partStore), Netns: inside, Env: environment(),
			Ready: p.http("http://" + c.At(layout.PortStoreOK) + "/readyz")}, afterStore},
		{component.Spec{Name: partGateway, Command: own(partGateway), Netns: inside, Env: environment(),
			Ready: p.https(c.GatewayURL() + "/readyz")}, []string{"bootstrap"}},
	}
	if *c.Config.Node.DeviceDriver {
		rows = append(rows, row{component.Spec{Name: "device-driver", Command: own("device-driver"), Netns: inside,
			Ready: p.http("http://" + c.At(layout.PortDevicesOK) + "/readyz")}, []string{"bootstrap", "kubelet"}})
	}
	var out []component.Entry
	for _, r := range rows {
		s := r.spec
		if s.Env == nil {
			s.Env = small
		}
		s.Log = component.LogFile{Path: c.Log(s.Name), BytesMax: c.Config.Logs.FileBytesMax, Files: c.Config.Logs.Files}
		proc, err := component.NewProcess(a.log, s)
		if err != nil {
			return nil, err
		}
		out = append(out, component.Entry{Component: proc, After: r.after})
		if s.Name == "containerd" {
			out = append(out, component.Entry{Component: newPods(a), After: []string{"containerd"}})
		}
	}
	return out, nil
}

func files(c layout.Cloud, write func(layout.Cloud) error) func(context.Context) error {
	return func(context.Context) error { return write(c) }
}

func (a *assembly) initContainerd(ctx context.Context) error {
	platform, why, err := gvisor.Platform(ctx, a.cloud, a.libexec)
	if err != nil {
		return err
	}
	a.log.Info("sandbox platform", "platform", platform, "why", why)
	if err := gvisor.Files(a.cloud, a.libexec, platform); err != nil {
		return err
	}
	if err := network.Files(a.cloud); err != nil {
		return err
	}
	return containerd.Files(a.cloud, a.options)
}

// pods is the component that stands for what runs in pods: nothing starts them
// here, but they are stopped between the kubelet, which would start them again,
// and containerd, without which they could not be stopped.
type pods struct {
	a      *assembly
	status atomic.Pointer[component.Status]
}

func newPods(a *assembly) *pods {
	p := &pods{a: a}
	p.set(component.Waiting)
	return p
}

func (p *pods) set(s component.State) {
	p.status.Store(&component.Status{Name: p.Name(), State: s, Since: time.Now()})
}

// Name implements component.Component.
func (p *pods) Name() string { return "pods" }

// Init implements component.Component.
func (p *pods) Init(context.Context) error { return nil }

// Start implements component.Component.
func (p *pods) Start(context.Context) error {
	p.set(component.Ready)
	return nil
}

// Stop implements component.Component.
func (p *pods) Stop(ctx context.Context) error {
	if p.Status().State != component.Ready {
		return nil
	}
	if !p.a.keepPods.Load() {
		if err := containerd.Drain(ctx, p.a.cloud); err != nil {
			return err
		}
	}
	p.set(component.Stopped)
	return nil
}

// Ready implements component.Component.
func (p *pods) Ready(context.Context) error { return nil }

// Status implements component.Component.
func (p *pods) Status() component.Status { return *p.status.Load() }

// ownLibexec is where the helper binaries of the program that runs are.
func ownLibexec() (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	return layout.Libexec(program)
}

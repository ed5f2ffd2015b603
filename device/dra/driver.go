package dra

import (
	"context"
	_ "embed" // the roles beside this file
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/dynamic-resource-allocation/resourceslice"

	"polder.dev/polder/device"
	"polder.dev/polder/device/profile"
	"polder.dev/polder/internal/logs"
)

// RBAC is what the driver may do, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

// How often what is not told by an event is looked at.
const (
	findEvery    = 5 * time.Minute
	measureEvery = 10 * time.Second
	// settle is the quiet after an event that ends waiting for more: a card that is
	// plugged in brings dozens.
	settle = 500 * time.Millisecond
)

// Machine is where devices come from; discovery.Machine is one.
type Machine interface {
	// Find looks for devices.
	Find(ctx context.Context) (device.Inventory, error)
	// Measure reads health and meters again.
	Measure(ctx context.Context, devices []device.Device) error
	// Edits says what containers need.
	Edits(devices []device.Device) device.Edits
	// Stat looks at a file of the machine, which need not be where this process has
	// its own files of that path.
	Stat(file string) (fs.FileInfo, error)
	// Listen hears, until ctx ends, what the machine's log tells of devices; the
	// channel has something when that changed.
	Listen(ctx context.Context) (<-chan struct{}, error)
	// Tell sets the health of devices to what was found and heard so far, and asks
	// nobody.
	Tell(devices []device.Device)
}

// Config says where things are.
type Config struct {
	// Node is its name; it names the pool, too.
	Node string
	// Plugins is the kubelet's directory of plugins, and Registry that of their
	// registration.
	Plugins, Registry string
	// CDI is a directory that the container runtime reads, and State one that only
	// this driver uses. Both may be lost in a reboot.
	CDI, State string
}

// Driver is the driver of a node.
type Driver struct {
	log     *slog.Logger
	clients kubernetes.Interface
	machine Machine
	cfg     Config
	claims  *store
	gauges  *gauges

	mu      sync.Mutex
	devices []device.Device
	changed chan struct{} // closed and replaced when devices change
	helper  *kubeletplugin.Helper
}

// New returns a driver; Run runs it.
func New(log *slog.Logger, clients kubernetes.Interface, m Machine, cfg Config) (*Driver, error) {
	if log == nil || clients == nil || m == nil || cfg.Node == "" || cfg.Plugins == "" || cfg.Registry == "" || cfg.CDI == "" || cfg.State == "" {
		return nil, errors.New("device driver: a dependency is missing")
	}
	s, err := openStore(cfg.CDI, cfg.State)
	if err != nil {
		return nil, err
	}
	return &Driver{log: log, clients: clients, machine: m, cfg: cfg, claims: s, gauges: newGauges(s), changed: make(chan struct{})}, nil
}

// Run publishes and prepares until ctx ends.
func (d *Driver) Run(ctx context.Context) error {
	heard, err := d.machine.Listen(ctx)
	if err != nil { // health is still read
		d.log.WarnContext(ctx, "the kernel's log cannot be heard; faults that drivers only write there are not known", logs.Err, err)
	}
	if err := d.find(ctx); err != nil {
		return err
	}
	for _, dir := range []string{d.cfg.Plugins, d.cfg.Registry} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("making the kubelet's directories: %w", err)
		}
	}
	data := d.cfg.Plugins + "/" + profile.Domain
	if err := os.MkdirAll(data, 0o750); err != nil {
		return fmt.Errorf("making the kubelet's directories: %w", err)
	}
	events, err := listen(ctx, d.log)
	if err != nil { // it is found out later, then
		d.log.WarnContext(ctx, "hot-plug events cannot be heard; devices are looked for every few minutes", logs.Err, err)
	}
	helper, err := kubeletplugin.Start(ctx, d,
		kubeletplugin.DriverName(profile.Domain), kubeletplugin.NodeName(d.cfg.Node), kubeletplugin.KubeClient(d.clients),
		kubeletplugin.PluginDataDirectoryPath(data), kubeletplugin.RegistrarDirectoryPath(d.cfg.Registry))
	if err != nil {
		return fmt.Errorf("registering with the kubelet: %w", err)
	}
	defer helper.Stop()
	d.mu.Lock()
	d.helper = helper
	d.mu.Unlock()
	if err := d.publish(ctx); err != nil {
		return err
	}
	d.watch(ctx, events, heard)
	return nil
}

// watch looks again when something happens, and from time to time. What is heard waits
// for no quiet: a card that goes on complaining would put it off.
func (d *Driver) watch(ctx context.Context, events, heard <-chan struct{}) {
	find, measure := time.NewTicker(findEvery), time.NewTicker(measureEvery)
	defer find.Stop()
	defer measure.Stop()
	var quiet, alarm <-chan time.Time
	for {
		look := d.measure
		select {
		case <-ctx.Done():
			return
		case <-events:
			quiet = time.After(settle)
			continue
		case <-quiet:
			quiet, look = nil, d.find
		case _, ok := <-heard:
			switch {
			case !ok:
				heard = nil
				d.deaf(ctx)
			case alarm == nil:
				alarm = time.After(settle)
			}
			continue
		case <-alarm:
			alarm, look = nil, d.hear
		case <-find.C:
			look = d.find
		case <-measure.C:
		}
		if err := look(ctx); err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "looking at devices", logs.Err, err)
		}
	}
}

// find looks for devices and publishes them if they are not what they were.
func (d *Driver) find(ctx context.Context) error {
	v, err := d.machine.Find(ctx)
	if err != nil {
		return fmt.Errorf("looking for devices: %w", err)
	}
	for _, p := range v.Problems {
		d.log.WarnContext(ctx, "a device is not fully known", logs.Component, p.Adapter, logs.Err, p.Error())
	}
	return d.set(ctx, v.Devices)
}

// hear publishes what was heard, and then looks: the program of a vendor whose card is
// ill may take its time.
func (d *Driver) hear(ctx context.Context) error {
	devices := d.list()
	d.machine.Tell(devices)
	return errors.Join(d.set(ctx, devices), d.measure(ctx))
}

func (d *Driver) deaf(ctx context.Context) {
	if ctx.Err() == nil {
		d.log.WarnContext(ctx, "the kernel's log cannot be heard any more; faults that drivers only write there are not known")
	}
}

func (d *Driver) measure(ctx context.Context) error {
	devices := d.list()
	if err := d.machine.Measure(ctx, devices); err != nil {
		d.log.WarnContext(ctx, "reading meters", logs.Err, err)
	}
	return d.set(ctx, devices)
}

// list copies what is known.
func (d *Driver) list() []device.Device {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]device.Device, len(d.devices))
	for i := range d.devices {
		out[i] = d.devices[i].Clone()
	}
	return out
}

// set takes over what is known, and publishes it if it says something new.
func (d *Driver) set(ctx context.Context, devices []device.Device) error {
	d.mu.Lock()
	before, after := profile.Pool(d.devices, false), profile.Pool(devices, false)
	same := reflect.DeepEqual(before, after)
	d.devices = slices.Clone(devices)
	if !same {
		close(d.changed)
		d.changed = make(chan struct{})
	}
	d.mu.Unlock()
	d.gauges.set(devices)
	if same {
		return nil
	}
	return d.publish(ctx)
}

// publish hands what is known to the helper, which writes what differs.
func (d *Driver) publish(ctx context.Context) error {
	d.mu.Lock()
	helper, devices := d.helper, d.devices
	d.mu.Unlock()
	if helper == nil {
		return nil
	}
	pool := resourceslice.Pool{Slices: []resourceslice.Slice{}}
	for _, s := range profile.Pool(devices, false) {
		pool.Slices = append(pool.Slices, resourceslice.Slice{Devices: s.Devices, SharedCounters: s.Counters})
	}
	if len(pool.Slices) == 0 {
		pool.Slices = []resourceslice.Slice{{}} // says that somebody looked
	}
	err := helper.PublishResources(ctx, resourceslice.DriverResources{Pools: map[string]resourceslice.Pool{d.cfg.Node: pool}})
	if err != nil {
		return fmt.Errorf("publishing devices: %w", err)
	}
	d.log.InfoContext(ctx, "published devices", "count", len(devices))
	return nil
}

// Ready is nil once devices are handed over to be published.
func (d *Driver) Ready() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.helper == nil {
		return errors.New("devices are not published yet")
	}
	return nil
}

// HandleError implements kubeletplugin.DRAPlugin.
func (d *Driver) HandleError(ctx context.Context, err error, msg string) {
	d.log.ErrorContext(ctx, "publishing devices", "what", msg, logs.Err, err, "retried", errors.Is(err, kubeletplugin.ErrRecoverable))
}

// healthEvery is how often the kubelet is told even when nothing has changed; after
// 30 s without a word it takes devices for unknown.
const healthEvery = 10 * time.Second

// WatchHealthStatus implements kubeletplugin.DRAPlugin.
func (d *Driver) WatchHealthStatus(ctx context.Context, reports chan<- kubeletplugin.DeviceHealthReport) error {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case reports <- d.report(time.Now()):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

func (d *Driver) report(now time.Time) kubeletplugin.DeviceHealthReport {
	var r kubeletplugin.DeviceHealthReport
	for _, one := range d.list() {
		h := kubeletplugin.DeviceHealth{PoolName: d.cfg.Node, DeviceName: one.Name, LastUpdated: now, Health: kubeletplugin.HealthStatusHealthy}
		switch one.Health.State {
		case device.Failed:
			h.Health = kubeletplugin.HealthStatusUnhealthy
		case device.Unknown:
			h.Health = kubeletplugin.HealthStatusUnknown
		case device.Healthy, device.Degraded:
		}
		if f := one.Health.Faults; len(f) > 0 {
			h.Message = f[0].Code + ": " + f[0].Message
		}
		r.Devices = append(r.Devices, h)
	}
	return r
}

// ours are the results of a claim that this driver and node are to prepare.
func (d *Driver) ours(c *resourcev1.ResourceClaim) []resourcev1.DeviceRequestAllocationResult {
	if c.Status.Allocation == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(c.Status.Allocation.Devices.Results), func(r resourcev1.DeviceRequestAllocationResult) bool {
		return r.Driver != profile.Domain || r.Pool != d.cfg.Node
	})
}

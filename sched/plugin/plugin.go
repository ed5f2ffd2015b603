package plugin

import (
	"context"
	"fmt"
	"sync"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/dynamic-resource-allocation/cel"
	configv1 "k8s.io/kube-scheduler/config/v1"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/dynamicresources"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/stock"
	"polder.dev/polder/system/layout"
)

// Config is how the plugins decide.
type Config struct {
	// Policy is one of sched's, or layout.PolicyStock, which leaves kube-scheduler as it
	// is.
	Policy string
	// Workload is a file that says what requests are expected to be like, instead of
	// learning it from those that come.
	Workload string
}

// Options add the plugins to kube-scheduler's command.
func Options(c Config) []app.Option {
	if c.Policy == layout.PolicyStock {
		return nil
	}
	shared := &profiles{config: c, clusters: map[string]*Devices{}}
	return []app.Option{
		app.WithPlugin(NameDevices, shared.newDevices), app.WithPlugin(NameScore, shared.newScore),
		app.WithPlugin(NamePreemption, shared.newPreemption),
	}
}

// Profile is the part of kube-scheduler's configuration that has the plugins run. Ours
// is first among those that act when nothing fits: nobody shall give way before all
// nodes were tried. Pods without claims are scored on all nodes, because the nodes
// that strand no device may be few. name is what pods give as their schedulerName.
func Profile(name, policy string) string {
	if policy == layout.PolicyStock {
		return ""
	}
	return fmt.Sprintf(`profiles:
- schedulerName: %[5]s
  percentageOfNodesToScore: 100
  plugins:
    multiPoint:
      disabled: [{name: DynamicResources}, {name: DefaultPreemption}, {name: TopologyPlacementGenerator}]
      enabled: [{name: %[1]s, weight: 2}, {name: %[2]s, weight: %[3]d}, {name: %[4]s}]
    postFilter:
      enabled: [{name: %[1]s}, {name: %[4]s}]
    podGroupPostFilter:
      enabled: [{name: %[1]s}, {name: %[4]s}]
`, NameDevices, NameScore, weightScore, NamePreemption, name)
}

// weightScore has one point of the policy outweigh all that upstream's plugins can give
// together, 12 times 100: these decide among nodes that are alike to it, which for a
// pod without claims most are.
const weightScore = 1300

// profiles has the plugins of one profile share a cluster.
type profiles struct {
	config   Config
	mu       sync.Mutex
	clusters map[string]*Devices
}

func (p *profiles) newDevices(ctx context.Context, _ runtime.Object, h fwk.Handle) (fwk.Plugin, error) {
	return p.of(ctx, h)
}

func (p *profiles) newScore(ctx context.Context, _ runtime.Object, h fwk.Handle) (fwk.Plugin, error) {
	d, err := p.of(ctx, h)
	if err != nil {
		return nil, err
	}
	return &Score{cluster: d.cluster}, nil
}

func (p *profiles) newPreemption(ctx context.Context, _ runtime.Object, h fwk.Handle) (fwk.Plugin, error) {
	d, err := p.of(ctx, h)
	if err != nil {
		return nil, err
	}
	return newPreemption(ctx, d.cluster, h, feature.NewSchedulerFeaturesFromGates(utilfeature.DefaultFeatureGate))
}

func (p *profiles) of(ctx context.Context, h fwk.Handle) (*Devices, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.clusters[h.ProfileName()]; d != nil {
		return d, nil
	}
	d, err := newDevices(ctx, h, p.config, feature.NewSchedulerFeaturesFromGates(utilfeature.DefaultFeatureGate))
	if err != nil {
		return nil, err
	}
	p.clusters[h.ProfileName()] = d
	return d, nil
}

// newDevices puts upstream's plugin around our manager.
func newDevices(ctx context.Context, h fwk.Handle, c Config, f feature.Features) (*Devices, error) {
	k, err := newCluster(h, c, f)
	if err != nil {
		return nil, err
	}
	m := &manager{SharedDRAManager: h.SharedDRAManager(), ledger: k.ledger}
	args := &config.DynamicResourcesArgs{FilterTimeout: &metav1.Duration{Duration: configv1.DynamicResourcesFilterTimeoutDefault}}
	if f.EnableDRADeviceBindingConditions && f.EnableDRAResourceClaimDeviceStatus {
		args.BindingTimeout = &metav1.Duration{Duration: configv1.DynamicResourcesBindingTimeoutDefault}
	}
	inner, err := dynamicresources.New(ctx, args, handle{h, m}, f)
	if err != nil {
		return nil, fmt.Errorf("making upstream's plugin: %w", err)
	}
	up, ok := inner.(*dynamicresources.DynamicResources)
	if !ok {
		return nil, fmt.Errorf("upstream's plugin is a %T", inner)
	}
	return &Devices{DynamicResources: up, cluster: k, manager: m, handle: h, chosen: map[types.UID]bool{}}, nil
}

func newCluster(h fwk.Handle, c Config, f feature.Features) (*cluster, error) {
	habits, err := newHabits(c.Workload)
	if err != nil {
		return nil, err
	}
	if _, err := sched.NewBoard(sched.Snapshot{}, sched.Config{Policy: c.Policy}); err != nil {
		return nil, err
	}
	dra := h.SharedDRAManager()
	k := &cluster{
		config: c, handle: h, slices: dra.ResourceSlices(), claims: dra.ResourceClaims(),
		inventory: newInventory(), ledger: newLedger(), habits: habits, metrics: theMeters(), gangs: f.EnableGenericWorkload, promised: map[types.UID]string{},
		uses: map[key][]stock.Use{}, holds: map[types.UID]sched.Request{}, tours: map[types.NamespacedName]*tour{},
	}
	k.compiler = newCompiler(k.inventory.catalogue, func(name string) (*resourcev1.DeviceClass, error) { return dra.DeviceClasses().Get(name) },
		cel.Features{EnableConsumableCapacity: f.EnableDRAConsumableCapacity, EnableListTypeAttributes: f.EnableDRAListTypeAttributes})
	if err := k.ledger.listen(h.SharedInformerFactory().Resource().V1().ResourceClaims().Informer()); err != nil {
		return nil, fmt.Errorf("listening to claims: %w", err)
	}
	return k, nil
}

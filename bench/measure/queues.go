package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/sched/controller"
)

// load is what Kueue's test of its scheduler's performance makes
// (kubernetes-sigs/kueue, test/performance/scheduler): in each queue of each cohort,
// workloads of each class, one after the other at the class's interval.
type load struct {
	cohorts, queues int // queues of each cohort
	classes         []loadClass
}

type loadClass struct {
	name              string
	count             int
	interval, runtime time.Duration
	priority          int32
	cpus              int64
}

// Every queue has nominal processors of its own and may borrow that many.
const loadNominal, loadBorrow = 20, 100

var (
	// loadBaseline is configs/baseline of commit cc13fff8.
	loadBaseline = load{cohorts: 5, queues: 6, classes: []loadClass{
		{"small", 350, 100 * time.Millisecond, 200 * time.Millisecond, 50, 1},
		{"medium", 100, 500 * time.Millisecond, 500 * time.Millisecond, 100, 5},
		{"large", 50, 1200 * time.Millisecond, 1000 * time.Millisecond, 200, 20},
	}}
	// loadLarge is configs/large-scale of commit f6517b0c.
	loadLarge = load{cohorts: 10, queues: 100, classes: []loadClass{
		{"small", 35, 60 * time.Millisecond, 150 * time.Millisecond, 50, 1},
		{"medium", 11, 300 * time.Millisecond, 350 * time.Millisecond, 100, 5},
		{"large", 4, 700 * time.Millisecond, 700 * time.Millisecond, 200, 20},
	}}
)

// part is the load with a percentage of its workloads.
func (l load) part(percent int) load {
	l.classes = slices.Clone(l.classes)
	for i := range l.classes {
		l.classes[i].count = max(1, l.classes[i].count*percent/100)
	}
	return l
}

func (l load) workloads() int {
	n := 0
	for _, c := range l.classes {
		n += c.count
	}
	return n * l.cohorts * l.queues
}

func measureQueues(ctx context.Context, b *bench) error { return b.queues(ctx, loadBaseline) }

func measureQueuesLarge(ctx context.Context, b *bench) error { return b.queues(ctx, loadLarge) }

// queueTime is the longest that one load may take.
const queueTime = 25 * time.Minute

// queues has the load go through a real API server and the real controller of Queues.
// Nothing makes pods of the jobs: whatever else works in a cloud stands still, and an
// ended runtime is written into a job's status as its trainer would.
func (b *bench) queues(ctx context.Context, l load) error {
	l = l.part(b.part)
	if err := b.cloud.reset(ctx); err != nil {
		return err
	}
	if err := b.cloud.up(ctx); err != nil {
		return err
	}
	wake, err := b.cloud.quiet(ctx, "")
	defer wake()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, queueTime)
	defer cancel()
	store, server, err := b.cloud.stores(ctx)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	admin, err := clientcmd.BuildConfigFromFlags("", filepath.Join(b.cloud.dir, "admin.kubeconfig"))
	if err != nil {
		return err
	}
	admin.QPS, admin.Burst = 1000, 2000 // as Kueue's runs
	users, err := client.NewWithWatch(admin, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	stop, err := b.cloud.controller(ctx, scheme)
	if err != nil {
		return err
	}
	storeBefore, serverBefore, ownBefore := ticks(store), ticks(server), ticks(os.Getpid())
	r := newRunner(users, l)
	end := b.profiled()
	took, err := r.run(ctx, b.note)
	end()
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	busy := func(pid int, before int64) float64 {
		return (time.Duration(ticks(pid)-before) * time.Second / hertz).Seconds()
	}
	what := fmt.Sprintf("%d workloads, %d queues", l.workloads(), l.cohorts*l.queues)
	b.add(what+": until the last has ended", "s", []float64{took.Seconds()}, "")
	b.add("the same, use of the quota", "%", []float64{100 * r.use(took)}, "mean over that time of what admitted work asks for, of the nominal quotas")
	b.add("the same, workloads", "per s", []float64{float64(l.workloads()) / took.Seconds()}, fmt.Sprintf("%d admissions, %d of them ended again for others", r.admissions, r.preemptions))
	for i, c := range l.classes {
		b.add("the same, wait of "+c.name, "s", []float64{r.wait(i).Seconds()}, "mean, until the last admission")
	}
	b.add("the same, processor time of the API server", "s", []float64{busy(server, serverBefore)}, "")
	b.add("the same, of etcd", "s", []float64{busy(store, storeBefore)}, "")
	b.add("the same, of the controller and of what makes and ends the load", "s", []float64{busy(os.Getpid(), ownBefore)}, "")
	return nil
}

// ticks of the processor that a process has used.
func ticks(pid int) int64 {
	p, err := ofProcess(filepath.Join("/proc", fmt.Sprint(pid)))
	if err != nil {
		return 0
	}
	return int64(p.ticks)
}

// quiet has all stand still that speaks to the API server, but for one component that is
// measured, until wake.
func (c *cloud) quiet(ctx context.Context, measured string) (wake func(), err error) {
	var stopped []int
	wake = func() {
		for _, pid := range stopped {
			_ = syscall.Kill(pid, syscall.SIGCONT) // it may have ended
		}
	}
	s, err := c.status(ctx)
	if err != nil {
		return wake, err
	}
	for _, p := range s.Components {
		if p.PID == 0 || p.Name == measured || !slices.Contains([]string{"kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns", "controllers", "device-driver"}, p.Name) {
			continue
		}
		if err := syscall.Kill(p.PID, syscall.SIGSTOP); err != nil {
			return wake, fmt.Errorf("stopping %s: %w", p.Name, err)
		}
		stopped = append(stopped, p.PID)
	}
	return wake, nil
}

// stores are the processes of etcd and of the API server.
func (c *cloud) stores(ctx context.Context) (etcd, server int, err error) {
	s, err := c.status(ctx)
	for _, p := range s.Components {
		switch p.Name {
		case "etcd":
			etcd = p.PID
		case "kube-apiserver":
			server = p.PID
		}
	}
	return etcd, server, err
}

// controller runs the controller of Queues, as who it is in a cloud, until stop.
func (c *cloud) controller(ctx context.Context, scheme *runtime.Scheme) (stop func() error, err error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(c.dir, "etc", "controllers.kubeconfig"))
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1 // as in a cloud
	cfg.WarningHandler = rest.NoWarnings{}
	m, err := manager.New(cfg, manager.Options{Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}})
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	held, err := cache.New(cfg, cache.Options{Scheme: scheme, Mapper: m.GetRESTMapper(), HTTPClient: m.GetHTTPClient(), ByObject: controller.HeldOptions()})
	if err != nil {
		return nil, err
	}
	queues, err := controller.New(log, controller.Deps{
		Client: m.GetClient(), Held: held, Judge: nobody{}, Events: m.GetEventRecorder(controller.Name), Clock: clock.RealClock{}, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return nil, err
	}
	if err := queues.Register(ctx, m, held); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Start(ctx) }()
	return func() error { cancel(); return <-done }, nil
}

// nobody judges devices: the loads ask for none.
type nobody struct{}

// Accepts refuses.
func (nobody) Accepts(*claim.Offer, []resourcev1.DeviceSelector) (bool, error) {
	return false, errors.New("no load asks for devices")
}

func loadCohort(c int) string { return fmt.Sprintf("cohort-%d", c) }

func loadQueue(c, q int) string { return fmt.Sprintf("queue-%d-%d", c, q) }

// roots creates the cohorts.
func (l *load) roots(ctx context.Context, k client.Client) error {
	for c := range l.cohorts {
		q := &v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: loadCohort(c)}, Spec: v1alpha1.QueueSpec{Namespaces: []string{"*"}}}
		if err := k.Create(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// queue creates one, and its namespace.
func (l *load) queue(ctx context.Context, k client.Client, c, q int) error {
	quota := v1alpha1.QueueQuota{Resource: "cpu", Nominal: *resource.NewQuantity(loadNominal, resource.DecimalSI), BorrowMax: resource.NewQuantity(loadBorrow, resource.DecimalSI)}
	if err := k.Create(ctx, &v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: loadQueue(c, q)}, Spec: v1alpha1.QueueSpec{
		Parent: loadCohort(c), Quotas: []v1alpha1.QueueQuota{quota}, Preempt: v1alpha1.QueuePreempt{Within: "LowerPriority", Reclaim: "Any"},
	}}); err != nil {
		return err
	}
	return k.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: loadQueue(c, q)}})
}

// job is one workload.
func (l *load) job(namespace string, class, n int) *v1alpha1.TrainJob {
	c := &l.classes[class]
	return &v1alpha1.TrainJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%s-%03d", c.name, n)},
		Spec: v1alpha1.TrainJobSpec{
			Runtime: "none", Code: v1alpha1.Code{Image: "code/none"}, Command: []string{"none"}, Queue: namespace, Priority: c.priority, Retries: ptr.To[int32](0),
			Resources: v1alpha1.WorkerResources{CPU: *resource.NewQuantity(c.cpus, resource.DecimalSI)},
		},
	}
}

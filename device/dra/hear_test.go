package dra

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"

	"polder.dev/polder/device"
	"polder.dev/polder/device/profile"
)

var lost = device.Fault{Code: "xid-79", State: device.Failed, Message: "it has fallen off the bus"}

// talking is a machine whose log a test writes. Its meters answer when the test lets
// them.
type talking struct {
	made
	heard chan struct{}
	asked chan struct{} // nil: they answer at once

	mu    sync.Mutex
	fault *device.Fault
	tells int
}

func talk(n int) *talking { return &talking{made: made{gpus(n)}, heard: make(chan struct{}, 1)} }

func (m *talking) Listen(context.Context) (<-chan struct{}, error) { return m.heard, nil }

func (m *talking) Find(context.Context) (device.Inventory, error) {
	v := device.Inventory{}
	for i := range m.devices {
		v.Devices = append(v.Devices, m.devices[i].Clone())
	}
	m.Tell(v.Devices)
	return v, nil
}

func (m *talking) Measure(ctx context.Context, devices []device.Device) error {
	if m.asked != nil {
		select {
		case <-m.asked:
		case <-ctx.Done():
		}
	}
	m.Tell(devices)
	return nil
}

func (m *talking) Tell(devices []device.Device) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tells++
	devices[0].Health = device.Of()
	if m.fault != nil {
		devices[0].Health = device.Of(*m.fault)
	}
}

// say has the log tell of a fault, or that it is over, without waiting for anybody.
func (m *talking) say(f *device.Fault) {
	m.mu.Lock()
	m.fault = f
	m.mu.Unlock()
	select {
	case m.heard <- struct{}{}:
	default:
	}
}

// TestHeardFaultIsToldAtOnce has the vendor's program hang, as it may when a card is
// ill: what was heard is told all the same, in a fraction of the time to the next look,
// and taken back when it is over.
func TestHeardFaultIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := talk(2)
		m.asked = make(chan struct{})
		d, err := New(slog.New(slog.DiscardHandler), fake.NewClientset(), m, at(t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.find(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); d.watch(ctx, nil, m.heard) }()
		began := time.Now()

		m.say(&lost)
		time.Sleep(settle) // of the bubble's clock
		synctest.Wait()
		if h := d.list()[0].Health; h.State != device.Failed || time.Since(began) > settle {
			t.Errorf("after %v it is %+v", time.Since(began), h)
		}
		if r := d.report(time.Now()); r.Devices[0].Health != kubeletplugin.HealthStatusUnhealthy || r.Devices[1].Health != kubeletplugin.HealthStatusHealthy {
			t.Errorf("the kubelet is told %+v", r.Devices)
		}
		if taints := profile.Pool(d.list(), false)[0].Devices[0].Taints; len(taints) != 1 || taints[0].Effect != resourcev1.DeviceTaintEffectNoExecute {
			t.Errorf("its taints are %+v", taints)
		}
		m.asked <- struct{}{}

		m.say(nil)
		time.Sleep(settle)
		synctest.Wait()
		if h := d.list()[0].Health; h.State != device.Healthy || len(profile.Pool(d.list(), false)[0].Devices[0].Taints) != 0 {
			t.Errorf("when it is over it is %+v", h)
		}
		cancel()
		<-done
	})
}

// TestHeardFloodIsBounded has the log change a thousand times a second for ten seconds.
func TestHeardFloodIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := talk(1)
		d, err := New(slog.New(slog.DiscardHandler), fake.NewClientset(), m, at(t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.find(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); d.watch(ctx, nil, m.heard) }()
		for i := range 10_000 {
			f := lost
			if m.say(&f); i%2 == 0 {
				m.say(nil)
			}
			time.Sleep(time.Millisecond)
		}
		cancel()
		<-done
		// Each look tells twice: at once and when the meters were read.
		if most := 2*int(10*time.Second/settle) + 4; m.tells > most || m.tells < most/2 {
			t.Errorf("ten thousand changes in ten seconds were looked at %d times, not about %d", m.tells, most)
		}
	})
}

// TestHeardFaultIsPublished follows a fault to the API server.
func TestHeardFaultIsPublished(t *testing.T) {
	m := talk(1)
	clients := fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "u"}})
	d, err := New(slog.New(slog.DiscardHandler), clients, m, at(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	written, err := clients.ResourceV1().ResourceSlices().Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	defer func() { cancel(); <-done }()
	late := time.After(measureEvery - time.Second) // before any ticker of the driver
	told := false
	for {
		select {
		case e := <-written.ResultChan():
			s, ok := e.Object.(*resourcev1.ResourceSlice)
			switch {
			case !ok || len(s.Spec.Devices) == 0:
			case !told && len(s.Spec.Devices[0].Taints) == 0:
				told = true
				m.say(&lost)
			case told && len(s.Spec.Devices[0].Taints) == 1 && s.Spec.Devices[0].Taints[0].Key == profile.Domain+"/xid-79":
				return
			}
		case err := <-done:
			t.Fatalf("the driver ended: %v", err)
		case <-late:
			t.Fatalf("no taint was written; devices were written: %v", told)
		}
	}
}

func at(dir string) Config {
	return Config{Node: "n", Plugins: filepath.Join(dir, "plugins"), Registry: filepath.Join(dir, "registry"), CDI: filepath.Join(dir, "cdi"), State: filepath.Join(dir, "state")}
}

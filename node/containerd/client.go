package containerd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"polder.dev/polder/system/layout"
)

// stopSeconds is what a container has to end by itself.
const stopSeconds = 10

// The conditions of the CRI that must hold.
const (
	runtimeReady = "RuntimeReady"
	networkReady = "NetworkReady"
)

// connect opens the CRI of the cloud's containerd: a socket that root alone can
// reach, hence without TLS.
func connect(c layout.Cloud) (cri.RuntimeServiceClient, *grpc.ClientConn, error) {
	conn, err := grpc.NewClient("unix://"+c.ContainerdSocket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, fmt.Errorf("connecting to containerd: %w", err)
	}
	return cri.NewRuntimeServiceClient(conn), conn, nil
}

// Ready returns nil when containerd can run pods.
func Ready(ctx context.Context, c layout.Cloud) error {
	client, conn, err := connect(c)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := client.Status(ctx, &cri.StatusRequest{})
	if err != nil {
		return fmt.Errorf("asking containerd: %w", err)
	}
	known := 0
	for _, cond := range s.Status.Conditions {
		if cond.Type == runtimeReady || cond.Type == networkReady {
			known++
		} else {
			continue // of containerd's own, such as its warnings of deprecation
		}
		if !cond.Status {
			return fmt.Errorf("containerd: %s: %s", cond.Type, cond.Message)
		}
	}
	if known < 2 {
		return errors.New("containerd does not say whether it is ready")
	}
	return nil
}

// Drain stops all pods, each container given 10 seconds to end by itself.
func Drain(ctx context.Context, c layout.Cloud) error {
	ctx, cancel := context.WithTimeout(ctx, (2*stopSeconds+20)*time.Second)
	defer cancel()
	client, conn, err := connect(c)
	if err != nil {
		return err
	}
	defer conn.Close()
	running := &cri.ContainerFilter{State: &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING}}
	containers, err := client.ListContainers(ctx, &cri.ListContainersRequest{Filter: running})
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	var g group
	for _, one := range containers.Containers {
		g.run(func() error {
			_, err := client.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: one.Id, Timeout: stopSeconds})
			return err
		})
	}
	if err := g.wait(); err != nil {
		return fmt.Errorf("stopping containers: %w", err)
	}
	sandboxes, err := client.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return fmt.Errorf("listing pods: %w", err)
	}
	for _, one := range sandboxes.Items {
		g.run(func() error {
			_, err := client.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: one.Id})
			return err
		})
	}
	if err := g.wait(); err != nil {
		return fmt.Errorf("stopping pods: %w", err)
	}
	return nil
}

// group runs functions at once and joins their errors.
type group struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (g *group) run(f func() error) {
	g.wg.Go(func() {
		if err := f(); err != nil {
			g.mu.Lock()
			g.errs = append(g.errs, err)
			g.mu.Unlock()
		}
	})
}

func (g *group) wait() error {
	g.wg.Wait()
	return errors.Join(g.errs...)
}

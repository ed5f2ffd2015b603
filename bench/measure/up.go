package main

import (
	"context"
	"fmt"
	"time"

	"polder.dev/polder/api/v1alpha1"
)

// measureUp: from nothing, and from a cloud that was down, to a node that is
// Ready and a pod that runs in gVisor.
func measureUp(ctx context.Context, b *bench) error {
	var node, first, again []float64
	for i := range b.runs {
		if err := b.cloud.reset(ctx); err != nil {
			return err
		}
		began := time.Now()
		if err := b.cloud.up(ctx); err != nil {
			return err
		}
		node = append(node, time.Since(began).Seconds())
		if err := sandboxed(ctx, b, fmt.Sprintf("first-%d", i)); err != nil {
			return err
		}
		first = append(first, time.Since(began).Seconds())
		if _, err := b.cloud.do(ctx, "down"); err != nil {
			return err
		}
		began = time.Now()
		if err := b.cloud.up(ctx); err != nil {
			return err
		}
		if err := sandboxed(ctx, b, fmt.Sprintf("again-%d", i)); err != nil {
			return err
		}
		again = append(again, time.Since(began).Seconds())
	}
	b.add("`polder up`, empty data directory, to node Ready", "s", node, "files of the program in the page cache")
	b.add("the same, to a gVisor pod running", "s", first, "")
	b.add("`polder up` after `polder down`, to a gVisor pod running", "s", again, "")
	return nil
}

// sandboxed runs one pod in gVisor: the image that every cloud has.
func sandboxed(ctx context.Context, b *bench, name string) error {
	k, err := b.cloud.prepare(ctx)
	if err != nil {
		return err
	}
	p := pod(namespace, name, v1alpha1.RegistryHost+"/system/pause:1")
	if err := create(ctx, k, p); err != nil {
		return err
	}
	if err := running(ctx, k, p); err != nil {
		return err
	}
	if p.Spec.RuntimeClassName == nil || *p.Spec.RuntimeClassName != "gvisor" {
		return fmt.Errorf("pod %s does not run in gVisor", name)
	}
	return nil
}

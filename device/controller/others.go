package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/emulate"
	"polder.dev/polder/internal/logs"
)

// Pods of jobs are watched. All others of a cluster would be too many to remember for
// the few that tolerate an emulated node, so these are looked for from time to time,
// and only while there is such a node.
const (
	othersEvery = 5 * time.Second
	othersPage  = 500
)

// placed are pods that have a node on which they do not run, as all do that are on an
// emulated one.
var placed = fields.ParseSelectorOrDie("spec.nodeName!=,status.phase=" + string(corev1.PodPending))

// others looks after pods that are no job's, until ctx ends.
func (c *Controller) others(ctx context.Context) error {
	tick := time.NewTicker(othersEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := c.lookAtOthers(ctx); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "looking for pods on emulated nodes", logs.Err, err)
		}
	}
}

func (c *Controller) lookAtOthers(ctx context.Context) error {
	var nodes corev1.NodeList
	if err := c.client.List(ctx, &nodes); err != nil {
		return fmt.Errorf("listing nodes: %w", err)
	}
	emulated := map[string]bool{}
	for i := range nodes.Items {
		if emulate.Emulated(&nodes.Items[i]) {
			emulated[nodes.Items[i].Name] = true
		}
	}
	if len(emulated) == 0 {
		return nil
	}
	var errs []error
	for page := (&corev1.PodList{}); ; {
		err := c.live.List(ctx, page, client.MatchingFieldsSelector{Selector: placed}, client.Limit(othersPage), client.Continue(page.Continue))
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("listing pods: %w", err))...)
		}
		for i := range page.Items {
			pod := &page.Items[i]
			if _, watched := pod.Labels[v1alpha1.LabelTrainJob]; watched || !emulated[pod.Spec.NodeName] {
				continue
			}
			if _, err := (podder{c}).Reconcile(ctx, pod); err != nil {
				errs = append(errs, err)
			}
		}
		if page.Continue == "" {
			return errors.Join(errs...)
		}
	}
}

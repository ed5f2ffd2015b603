package kube

import (
	"context"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// An API server looks twice a minute which kinds there are. One that was just started does
// not know for that long those that an admission policy goes by, and refuses what the
// policy is about, whatever it is. That passes.
const (
	settleLimit = 45 * time.Second
	settleEvery = time.Second
)

// unsettled goes by the words: the reason is that of whatever a policy refuses, Invalid.
func unsettled(err error) bool {
	return (apierrors.IsForbidden(err) || apierrors.IsInvalid(err)) && strings.Contains(err.Error(), "failed to find resource referenced by paramKind")
}

// settled does what an API server refuses only because it was just started again until it
// knows better.
func settled(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	t := time.NewTicker(settleEvery)
	defer t.Stop()
	for {
		err := do()
		if !unsettled(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-t.C:
		}
	}
}

// Update writes obj whole.
func (c *Client) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	return settled(ctx, func() error { return c.WithWatch.Update(ctx, obj, opts...) })
}

// Patch writes what has changed of obj.
func (c *Client) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	return settled(ctx, func() error { return c.WithWatch.Patch(ctx, obj, patch, opts...) })
}

// Delete removes obj.
func (c *Client) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	return settled(ctx, func() error { return c.WithWatch.Delete(ctx, obj, opts...) })
}

package discovery

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// TestAProgramThatCannotBeEnded is given up, and not started again before it ends.
func TestAProgramThatCannotBeEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), toolTime)
		defer cancel()
		answer, began := make(chan struct{}), 0
		program := func() error {
			began++
			<-answer // whatever ctx says
			return nil
		}
		if err := wait(ctx, "smi", program); !errors.Is(err, errStuck) || ctx.Err() == nil {
			t.Fatalf("error %v, of the context %v", err, ctx.Err())
		}
		if err := wait(t.Context(), "smi", program); !errors.Is(err, errStuck) || began != 1 {
			t.Errorf("error %v; it began %d times", err, began)
		}
		if err := wait(t.Context(), "another", func() error { return nil }); err != nil {
			t.Errorf("another program: %v", err)
		}
		close(answer)
		synctest.Wait()
		if err := wait(t.Context(), "smi", program); err != nil || began != 2 {
			t.Errorf("when it has ended: %v; it began %d times", err, began)
		}
	})
}

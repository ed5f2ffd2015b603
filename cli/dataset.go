package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/storage/transfer"
)

// datasetEvery is how often a verb that waits looks again.
const datasetEvery = 200 * time.Millisecond

func (o *options) dataset() *cobra.Command {
	cmd := &cobra.Command{Use: "dataset", Short: "Freeze what lies in a bucket, so that jobs can name it, and part tables"}
	cmd.AddCommand(o.datasetFreeze(), o.datasetList(), o.datasetShow(), o.datasetWarm(), o.datasetRemove(), o.datasetSplit())
	return cmd
}

func (o *options) datasetFreeze() *cobra.Command {
	var classification string
	var limit time.Duration
	cmd := &cobra.Command{
		Use: "freeze NAME s3://BUCKET/PREFIX", Short: "Make a data set of what lies below a prefix now", Args: exactly("NAME", "s3://BUCKET/PREFIX"),
		Long: `Make a data set of what lies below a prefix now: a manifest of keys, versions and
hashes, which has a digest for a name. A job that reads it (spec.data[].dataset) gets
these bytes or fails, whatever becomes of the bucket. In a bucket with versioning
they stay although objects are overwritten.`,
		Example: "  polder dataset freeze digits-v1 s3://digits/",
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		from, err := transfer.Parse(args[1])
		if err != nil {
			return err
		}
		if !from.Remote() {
			return usage.Errorf("%s is not in the store; write s3://BUCKET/PREFIX", args[1])
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		d := &v1alpha1.Dataset{
			ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: args[0]},
			Spec:       v1alpha1.DatasetSpec{Bucket: from.Bucket, Prefix: from.Key, Classification: classification},
		}
		err = c.Create(cmd.Context(), d)
		if apierrors.IsAlreadyExists(err) {
			return usage.Errorf("there is a data set %s in namespace %s, and what is frozen stays; choose another name", args[0], c.Namespace)
		}
		if err != nil {
			return fmt.Errorf("making data set %s: %w", args[0], err)
		}
		if err := awaitFrozen(cmd.Context(), c, d, limit); err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), d)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Data set %s is frozen: %d objects, %d bytes, %s.\n", d.Name, d.Status.Objects, d.Status.Bytes, d.Status.Digest)
		if !d.Status.Pinned {
			fmt.Fprintf(cmd.OutOrStdout(), "Bucket %s keeps no versions, so a job fails if an object of it has changed; `polder bucket versioning %s on`, before it is frozen, keeps them.\n", d.Spec.Bucket, d.Spec.Bucket)
		}
		return nil
	}
	cmd.Flags().StringVar(&classification, "classification", "", "of the data, in your organisation's words")
	cmd.Flags().DurationVar(&limit, "timeout", 10*time.Minute, "how long to wait for it")
	return o.flags(cmd, "json")
}

// awaitFrozen waits until d is ready. One that cannot be is removed again, so that its
// name is free when what is wrong has been put right.
func awaitFrozen(ctx context.Context, c *kube.Client, d *v1alpha1.Dataset, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(datasetEvery)
	defer tick.Stop()
	for {
		if err := c.Get(ctx, kube.Key(d.Namespace, d.Name), d); err != nil {
			return fmt.Errorf("reading data set %s: %w", d.Name, err)
		}
		r := apimeta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
		switch {
		case r != nil && r.Status == metav1.ConditionTrue:
			return nil
		case r != nil && r.Reason != "":
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			if err := c.Delete(end, d); err != nil {
				return fmt.Errorf("removing what could not be frozen: %w", err)
			}
			return usage.Errorf("it cannot be frozen: %s", r.Message)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("data set %s is not frozen yet (%w); `polder dataset show %s` tells how it goes on", d.Name, ctx.Err(), d.Name)
		case <-tick.C:
		}
	}
}

func (o *options) datasetList() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "List data sets", Args: cobra.NoArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		var list v1alpha1.DatasetList
		if err := c.List(cmd.Context(), &list, kube.InNamespace(c.Namespace)); err != nil {
			return fmt.Errorf("listing data sets: %w", err)
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), list.Items)
		}
		if len(list.Items) == 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "There are no data sets in namespace %s; `polder dataset freeze` makes one.\n", c.Namespace)
			return nil
		}
		rows := [][]string{{"DATASET", "FROM", "OBJECTS", "BYTES", "DIGEST", "READY"}}
		for i := range list.Items {
			d := &list.Items[i]
			ready := "no"
			if apimeta.IsStatusConditionTrue(d.Status.Conditions, v1alpha1.ConditionReady) {
				ready = "yes"
			}
			rows = append(rows, []string{d.Name, "s3://" + d.Spec.Bucket + "/" + d.Spec.Prefix, fmt.Sprint(d.Status.Objects), fmt.Sprint(d.Status.Bytes), dash(d.Status.Digest), ready})
		}
		return term.Table(cmd.OutOrStdout(), rows)
	}
	return o.flags(cmd, "json")
}

// datasetNamed reads one.
func datasetNamed(ctx context.Context, c *kube.Client, name string) (*v1alpha1.Dataset, error) {
	var o v1alpha1.Dataset
	return &o, read(ctx, c, name, &o, "data set", "dataset ls")
}

func (o *options) datasetShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "Show one data set", Args: exactly("NAME"), ValidArgsFunction: o.completeDatasets}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		d, err := datasetNamed(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), d)
		}
		rows := [][]string{
			{"Data set", d.Name}, {"From", "s3://" + d.Spec.Bucket + "/" + d.Spec.Prefix}, {"Digest", dash(d.Status.Digest)},
			{"Manifest", dash(d.Status.Manifest)}, {"Objects", fmt.Sprint(d.Status.Objects)}, {"Bytes", fmt.Sprint(d.Status.Bytes)},
			{"Versions", map[bool]string{true: "named, and kept by the bucket", false: "none: the bucket keeps none"}[d.Status.Pinned]},
			{"Classification", dash(d.Spec.Classification)}, {"Jurisdiction", dash(d.Status.Jurisdiction)},
		}
		if d.Spec.Warm {
			rows = append(rows, []string{"Warm", fmt.Sprintf("%d bytes", d.Status.Warmed)})
		}
		if r := apimeta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady); r != nil && r.Status != metav1.ConditionTrue {
			rows = append(rows, []string{"Not ready", r.Message})
		}
		return term.Table(cmd.OutOrStdout(), rows)
	}
	return o.flags(cmd, "json")
}

func (o *options) datasetWarm() *cobra.Command {
	var off bool
	var limit time.Duration
	cmd := &cobra.Command{
		Use: "warm NAME", Short: "Bring a data set into the store's fastest tier, and keep it there", Args: exactly("NAME"), ValidArgsFunction: o.completeDatasets,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		d, err := datasetNamed(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if d.Spec.Warm == off {
			d.Spec.Warm = !off
			if err := c.Update(cmd.Context(), d); err != nil {
				return fmt.Errorf("changing data set %s: %w", d.Name, err)
			}
		}
		if off {
			fmt.Fprintf(cmd.OutOrStdout(), "Data set %s may cool down.\n", d.Name)
			return nil
		}
		return awaitWarm(cmd, c, d, limit)
	}
	cmd.Flags().BoolVar(&off, "off", false, "let it go to slower tiers again")
	cmd.Flags().DurationVar(&limit, "timeout", time.Hour, "how long to wait for it")
	return o.flags(cmd)
}

// awaitWarm shows how much is there until all is.
func awaitWarm(cmd *cobra.Command, c *kube.Client, d *v1alpha1.Dataset, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), limit)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	told := int64(-1)
	for {
		if err := c.Get(ctx, kube.Key(d.Namespace, d.Name), d); err != nil {
			return fmt.Errorf("reading data set %s: %w", d.Name, err)
		}
		if d.Status.Digest != "" && d.Status.Warmed >= d.Status.Bytes {
			fmt.Fprintf(cmd.OutOrStdout(), "Data set %s is warm: %d bytes.\n", d.Name, d.Status.Bytes)
			return nil
		}
		if d.Status.Warmed != told {
			told = d.Status.Warmed
			fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d bytes are warm\n", told, d.Status.Bytes)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("data set %s is not warm yet (%w); it goes on, and `polder dataset show %s` tells how far it is", d.Name, ctx.Err(), d.Name)
		case <-tick.C:
		}
	}
}

func (o *options) datasetRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "Forget a data set; objects and manifest stay in the bucket", Args: exactly("NAME"), ValidArgsFunction: o.completeDatasets,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		d, err := datasetNamed(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if err := c.Delete(cmd.Context(), d); err != nil {
			return fmt.Errorf("removing data set %s: %w", d.Name, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Data set %s is forgotten.\n", d.Name)
		return nil
	}
	return o.flags(cmd)
}

func (o *options) completeDatasets(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var l v1alpha1.DatasetList
	return completeNames(o, cmd, args, &l, &l.Items)
}

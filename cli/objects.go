package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/storage/transfer"
)

// objects are the flags of the verbs that speak to the object store.
type objects struct {
	*options
	endpoint, caFile string
	parallel         int
	partSize         string
}

func (o *options) objects() *objects { return &objects{options: o} }

// flags gives cmd the flags that say where the store is and who asks.
func (s *objects) flags(cmd *cobra.Command, formats ...string) *cobra.Command {
	cmd.Flags().StringVar(&s.endpoint, "endpoint", "", "URL of the store (default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or what the Secret "+v1alpha1.StoreSecret+" of the namespace says)")
	cmd.Flags().StringVar(&s.caFile, "ca-file", "", "file of certificates to believe (default: AWS_CA_BUNDLE, or the Secret's)")
	_ = cmd.RegisterFlagCompletionFunc("endpoint", cobra.NoFileCompletions)
	return s.options.flags(cmd, formats...)
}

// moving gives cmd the flags of verbs that move data.
func (s *objects) moving(cmd *cobra.Command) {
	cmd.Flags().IntVar(&s.parallel, "parallel", 8, "how many requests to make at once")
	cmd.Flags().StringVar(&s.partSize, "part-size", "32Mi", "size of the parts of large objects; each request at once of a stream holds one in memory")
}

// client opens the store.
func (s *objects) client(cmd *cobra.Command) (*transfer.Client, error) {
	cfg, err := transfer.Environment(os.Getenv, s.endpoint, s.caFile)
	if err != nil {
		return nil, usage.Error(err)
	}
	if s.partSize != "" {
		q, err := resource.ParseQuantity(s.partSize)
		if err != nil {
			return nil, usage.Errorf("--part-size %s is no size; write 32Mi or 1Gi", s.partSize)
		}
		cfg.PartBytes, cfg.Parallel = q.Value(), s.parallel
		if cfg.Parallel == 0 || cfg.PartBytes == 0 {
			return nil, usage.Errorf("--parallel and --part-size are above 0")
		}
	}
	if cfg.Endpoint == "" || cfg.AccessKey == "" {
		if err := s.fromSecret(cmd, &cfg); err != nil {
			return nil, err
		}
	}
	c, err := transfer.New(cfg)
	return c, usage.Error(err)
}

// fromSecret takes what is missing from the namespace's Secret.
func (s *objects) fromSecret(cmd *cobra.Command, cfg *transfer.Config) error {
	secret, err := s.secret(cmd)
	if err != nil {
		return fmt.Errorf("no object store is known here: set AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a kubeconfig whose namespace has the Secret %s (%w)", v1alpha1.StoreSecret, err)
	}
	return fill(cfg, secret)
}

// fill completes cfg. Keys belong to the place where the endpoint was found: those of
// another store are not used with this one.
func fill(cfg *transfer.Config, secret *corev1.Secret) error {
	get := func(field string) string { return string(secret.Data[field]) }
	if cfg.Endpoint == "" {
		cfg.Endpoint = get(v1alpha1.StoreEndpoint)
	}
	if cfg.Region == "" {
		cfg.Region = get(v1alpha1.StoreRegion)
	}
	cfg.AccessKey, cfg.SecretKey, cfg.SessionToken = get(v1alpha1.StoreAccessKey), get(v1alpha1.StoreSecretKey), ""
	if ca := get(v1alpha1.StoreCA); ca != "" {
		cfg.CA = append(append(cfg.CA, '\n'), ca...)
	}
	for _, f := range []struct{ field, value string }{{v1alpha1.StoreEndpoint, cfg.Endpoint}, {v1alpha1.StoreAccessKey, cfg.AccessKey}, {v1alpha1.StoreSecretKey, cfg.SecretKey}} {
		if f.value == "" {
			return fmt.Errorf("the Secret %s of namespace %s has no %s", secret.Name, secret.Namespace, f.field)
		}
	}
	return nil
}

func (s *objects) secret(cmd *cobra.Command) (*corev1.Secret, error) {
	c, err := s.open(cmd)
	if err != nil {
		return nil, err
	}
	var secret corev1.Secret
	if err := c.Get(cmd.Context(), kube.Key(c.Namespace, v1alpha1.StoreSecret), &secret); err != nil {
		return nil, err
	}
	return &secret, nil
}

// misnamed marks what a person can put right: names of what is not there.
func misnamed(err error) error {
	if errors.Is(err, transfer.ErrNotFound) || errors.Is(err, transfer.ErrRefused) {
		return usage.Error(err)
	}
	return err
}

// address reads an address of an object or a bucket.
func address(s string) (transfer.Address, error) {
	a, err := transfer.Parse(s)
	if err == nil && !a.Remote() {
		err = fmt.Errorf("%s is not in the store; write s3://BUCKET/KEY", a)
	}
	return a, usage.Error(err)
}

// fromTo reads a source and a destination.
func fromTo(args []string) (from, to transfer.Address, err error) {
	if from, err = transfer.Parse(args[0]); err == nil {
		to, err = transfer.Parse(args[1])
	}
	if err == nil && !from.Remote() && !to.Remote() {
		err = fmt.Errorf("neither %s nor %s is in the store; write one as s3://BUCKET/KEY", from, to)
	}
	return from, to, usage.Error(err)
}

// plural is n of what.
func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.FormatInt(n, 10) + " " + what + "s"
}

// completeWait bounds how long a shell waits for names.
const completeWait = 3 * time.Second

// bucketNames are what completes a bucket.
func (s *objects) bucketNames(cmd *cobra.Command) ([]string, error) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
	defer cancel()
	c, err := s.client(cmd)
	if err != nil {
		return nil, err
	}
	list, err := c.Buckets(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, b := range list {
		names = append(names, b.Name)
	}
	return names, nil
}

// completeBuckets completes the name of a bucket, as the only argument.
func (s *objects) completeBuckets(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	names, err := s.bucketNames(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeAddresses completes paths, and after s3:// buckets.
func (s *objects) completeAddresses(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	rest, remote := strings.CutPrefix(typed, "s3://")
	if !remote || strings.Contains(rest, "/") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	names, err := s.bucketNames(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	for i, n := range names {
		names[i] = "s3://" + n + "/"
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

package scheduler

import (
	"bytes"
	_ "embed" // the manifest beside this file
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"text/template"

	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// Second is the scheduler in a cluster that somebody else made, beside the one that is
// there.
type Second struct {
	// Image has this program as /polder.
	Image string
	// Name that pods give as their schedulerName.
	Name string
	// Policy by which it chooses.
	Policy string
}

//go:embed second.yaml
var second string

var (
	imageForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9./:@_-]{0,254}$`)
	nameForm  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$`)
)

// Manifest is all that it needs there, as YAML.
func (s Second) Manifest() ([]byte, error) {
	if !imageForm.MatchString(s.Image) {
		return nil, fmt.Errorf("image %q is no reference to an image; write one like registry.example.com/polder:1.0", s.Image)
	}
	if !nameForm.MatchString(s.Name) || s.Name == "default-scheduler" {
		return nil, fmt.Errorf("name %q will not do: want up to 42 lower-case letters, digits and dashes, and not default-scheduler, which is there already", s.Name)
	}
	if s.Policy != "polder" && s.Policy != "fgd" {
		return nil, fmt.Errorf("policy %q is not known; choose polder or fgd", s.Policy)
	}
	t, err := template.New("second").Parse(second)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, s); err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	return b.Bytes(), nil
}

// Run becomes that scheduler, in its pod. profiles, in YAML, say which plugins run, and
// dir is where it may write.
func (s Second) Run(dir, profiles string, plugins ...app.Option) (int, error) {
	cfg, err := rest.InClusterConfig()
	if err != nil {
		return 1, fmt.Errorf("finding the cluster: %w", err)
	}
	served, err := gangs(cfg)
	if err != nil {
		return 1, err
	}
	file := filepath.Join(dir, "scheduler.yaml")
	err = os.WriteFile(file, fmt.Appendf(nil, `apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {leaderElect: true, resourceNamespace: polder-system, resourceName: %s}
enableProfiling: false
clientConnection: {qps: 1000, burst: 2000}
%s`, s.Name, profiles), 0o600)
	if err != nil {
		return 1, fmt.Errorf("writing its configuration: %w", err)
	}
	gates := gatesOurs
	if served {
		gates += ",GenericWorkload=true,TopologyAwareWorkloadScheduling=true"
	}
	return run([]string{"--config=" + file, "--feature-gates=" + gates}, plugins), nil
}

// gangs reports whether the cluster serves PodGroups: without, a scheduler that wants
// them would wait for them for ever.
func gangs(cfg *rest.Config) (bool, error) {
	d, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return false, fmt.Errorf("asking the cluster what it serves: %w", err)
	}
	list, err := d.ServerResourcesForGroupVersion(schedulingv1beta1.SchemeGroupVersion.String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking the cluster whether it serves PodGroups: %w", err)
	}
	for _, r := range list.APIResources {
		if r.Kind == "PodGroup" {
			return true, nil
		}
	}
	return false, nil
}

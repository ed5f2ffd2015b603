package train

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/workload"
)

// reserved are the environment variables of the worker's contract; those that
// begin with reservedPrefix are too.
var reserved = []string{"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}

const reservedPrefix = "POLDER_"

// invalid says what is wrong with a job that no later change of the cluster can
// put right, in sentences naming the field; nil when nothing is. It checks what
// the kind's own rules in the API server cannot express.
func invalid(job *v1alpha1.TrainJob) error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if len(validation.IsDNS1123Label(job.Name)) > 0 {
		refuse("metadata.name %q cannot name pods: use only lower-case letters, digits and '-'", job.Name)
	}
	if !workload.IsReference(job.Spec.Code.Image) {
		refuse("spec.code.image %q is not an image reference: write it as code/NAMESPACE/NAME@sha256:DIGEST", job.Spec.Code.Image)
	}
	for i, d := range job.Spec.Data {
		if d.Image != "" && !workload.IsReference(d.Image) {
			refuse("spec.data[%d].image %q is not an image reference: write it as data/NAMESPACE/NAME@sha256:DIGEST", i, d.Image)
		}
	}
	for i, e := range job.Spec.Env {
		if slices.Contains(reserved, e.Name) || strings.HasPrefix(e.Name, reservedPrefix) {
			refuse("spec.env[%d].name %s is set by the cloud: choose another name", i, e.Name)
		}
	}
	for _, q := range []struct {
		field string
		sign  int
	}{
		{"spec.resources.cpu", job.Spec.Resources.CPU.Sign()},
		{"spec.resources.memory", job.Spec.Resources.Memory.Sign()},
		{"spec.checkpoints.size", job.Spec.Checkpoints.Size.Sign()},
	} {
		if q.sign < 0 {
			refuse("%s is negative: give an amount above 0", q.field)
		}
	}
	if want := job.Spec.Accelerators; want.Count > 0 {
		if err := claim.Validate(claim.Of(want)); err != nil {
			refuse("spec.%w", err)
		}
	}
	if _, err := parents(job); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, parameterClash(job.Spec.Parameters))
	return errors.Join(errs...)
}

// parameterClash finds two parameters that would share one variable.
func parameterClash(parameters map[string]string) error {
	seen := make(map[string]string, len(parameters))
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		env := parameterEnv(name)
		if other, ok := seen[env]; ok {
			return fmt.Errorf("spec.parameters %q and %q are both passed as %s: rename one", other, name, env)
		}
		seen[env] = name
	}
	return nil
}

// oneLine joins the sentences of an error into one line.
func oneLine(err error) string {
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

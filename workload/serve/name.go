package serve

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/api/v1alpha1"
)

// Container is the name of a replica's container in its pod.
const Container = "server"

// managedBy is the value of upstream's label for who looks after an object.
const (
	labelManager = "app.kubernetes.io/managed-by"
	managedBy    = "polder"
)

// hashDigits is how much of a hash a revision's name bears.
const hashDigits = 10

// served is all that makes a revision another one. It names what was asked for rather
// than what this program makes of it, so that a newer program does not roll out
// everything anew.
type served struct {
	Model        string                    `json:"model,omitempty"` // NAME@DIGEST
	Image        string                    `json:"image,omitempty"`
	Variants     []v1alpha1.RuntimeVariant `json:"variants,omitempty"` // that would do
	Command      []string                  `json:"command,omitempty"`
	Env          []corev1.EnvVar           `json:"env,omitempty"`
	Protocol     v1alpha1.Protocol         `json:"protocol"`
	Port         int32                     `json:"port"`
	ReadyPath    string                    `json:"readyPath"`
	Resources    v1alpha1.WorkerResources  `json:"resources"`
	Accelerators v1alpha1.Accelerators     `json:"accelerators"`
	Batch        *v1alpha1.Batch           `json:"batch,omitempty"`
	Timeout      int32                     `json:"timeoutSeconds"`
}

// revisionName is the name of the revision of a service that serves this.
func revisionName(service string, what *served) (string, error) {
	b, err := json.Marshal(what)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return service + "-" + hex.EncodeToString(sum[:])[:hashDigits], nil
}

// revisionLabels are the labels of everything that belongs to a revision.
func revisionLabels(service, revision string) map[string]string {
	return map[string]string{v1alpha1.LabelService: service, v1alpha1.LabelRevision: revision, labelManager: managedBy}
}

// readyPath is what answers 200 when requests may come.
func readyPath(svc *v1alpha1.InferenceService) string {
	if svc.Spec.ReadyPath != "" {
		return svc.Spec.ReadyPath
	}
	switch protocol(svc) {
	case v1alpha1.ProtocolOpenAI:
		return "/v1/models"
	case v1alpha1.ProtocolHTTP:
		return "/"
	}
	return "/v2/health/ready"
}

// protocol, port, timeout, scaleMin and scaleMax are those of the service, where the API
// server has not filled them in.
func protocol(svc *v1alpha1.InferenceService) v1alpha1.Protocol {
	if svc.Spec.Protocol == "" {
		return v1alpha1.ProtocolV2
	}
	return svc.Spec.Protocol
}

func port(svc *v1alpha1.InferenceService) int32 {
	if svc.Spec.Port == 0 {
		return 8080
	}
	return svc.Spec.Port
}

func timeout(svc *v1alpha1.InferenceService) int32 {
	if svc.Spec.TimeoutSeconds == 0 {
		return 60
	}
	return svc.Spec.TimeoutSeconds
}

func scaleMin(svc *v1alpha1.InferenceService) int32 {
	if svc.Spec.Scale.Min == nil {
		return 1
	}
	return *svc.Spec.Scale.Min
}

func scaleMax(svc *v1alpha1.InferenceService) int32 { return max(svc.Spec.Scale.Max, 1) }

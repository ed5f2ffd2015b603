package emulate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
)

// Annotations of an emulated node.
const (
	// AnnotationInventory names the ConfigMap, in Namespace, of its devices.
	AnnotationInventory = v1alpha1.Group + "/emulated-inventory"
	// AnnotationFaults makes devices ill: "gpu-0=gpu-lost,gpu-1=ecc:degraded".
	AnnotationFaults = v1alpha1.Group + "/emulated-faults"
)

// Namespace of the ConfigMaps, and the key of the inventory in them.
const (
	Namespace = "polder-system"
	key       = "inventory.json"
)

// inventoryBytesMax is what a ConfigMap can hold, less room for the rest of it.
const inventoryBytesMax = 900 << 10

// Inventory is the ConfigMap of a dump. Its name is made of its content, so that one
// serves all nodes that are emulated from it. An error says what cannot be emulated.
func Inventory(v device.Inventory) (*corev1.ConfigMap, error) {
	v.Problems = nil
	v.Devices = slices.Clone(v.Devices)
	for i := range v.Devices {
		d := v.Devices[i].Clone()
		d.Emulated, d.Nodes, d.Provenance, d.Reading = true, nil, nil, nil
		if d.Health.State == "" || d.Health.State == device.Unknown {
			d.Health = device.Health{State: device.Healthy}
		}
		v.Devices[i] = d
	}
	if len(v.Devices) == 0 {
		return nil, fmt.Errorf("the dump has no devices: there is nothing to emulate")
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("writing inventory: %w", err)
	}
	if len(text) > inventoryBytesMax {
		return nil, fmt.Errorf("the dump's inventory has %d bytes of at most %d", len(text), inventoryBytesMax)
	}
	sum := sha256.Sum256(text)
	immutable := true
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: "emulated-" + hex.EncodeToString(sum[:8]), Labels: map[string]string{v1alpha1.LabelEmulated: "true"}},
		Immutable:  &immutable, Data: map[string]string{key: string(text)},
	}, nil
}

// Node is an emulated node with the devices of an inventory.
func Node(name string, inventory *corev1.ConfigMap) (*corev1.Node, error) {
	if wrong := validation.IsDNS1123Label(name); len(wrong) > 0 {
		return nil, fmt.Errorf("%q cannot name a node: %s", name, wrong[0])
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Labels:      map[string]string{v1alpha1.LabelEmulated: "true", corev1.LabelHostname: name, corev1.LabelOSStable: "linux"},
			Annotations: map[string]string{AnnotationInventory: inventory.Name},
		},
		Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: v1alpha1.LabelEmulated, Value: "true", Effect: corev1.TaintEffectNoSchedule}}},
	}, nil
}

// Emulated reports whether the node does not exist.
func Emulated(n *corev1.Node) bool { return n.Labels[v1alpha1.LabelEmulated] == "true" }

// Read is the inverse of Inventory.
func Read(m *corev1.ConfigMap) (device.Inventory, error) {
	var v device.Inventory
	if err := json.Unmarshal([]byte(m.Data[key]), &v); err != nil {
		return v, fmt.Errorf("reading the inventory %s: %w", m.Name, err)
	}
	for i := range v.Devices { // whatever it says
		v.Devices[i].Emulated = true
	}
	return v, nil
}

// Devices are the inventory's devices as this node's: its UUIDs are its own, and
// its fabrics do not reach other nodes that are emulated from the same dump.
func Devices(node string, v device.Inventory, faults map[string]device.Fault) []device.Device {
	out := make([]device.Device, len(v.Devices))
	for i := range v.Devices {
		d := v.Devices[i].Clone()
		d.UUID = short(node, d.UUID)
		if d.Parent != "" {
			d.Parent = short(node, d.Parent)
		}
		if d.Fabric != nil && d.Fabric.Domain != "" {
			d.Fabric.Domain = short(node, d.Fabric.Domain)
		}
		if f, ill := faults[d.Name]; ill {
			d.Health = device.Of(f)
		}
		out[i] = d
	}
	return out
}

// short joins a node's name and what a device is called into what an attribute holds.
func short(node, s string) string {
	sum := sha256.Sum256([]byte(node + "\x00" + s))
	return "emulated-" + hex.EncodeToString(sum[:12])
}

var faultShape = regexp.MustCompile(`^([a-z0-9-]+)=([a-z0-9-]+)(?::(failed|degraded))?$`)

// Faults reads AnnotationFaults.
func Faults(text string) (map[string]device.Fault, error) {
	out := map[string]device.Fault{}
	for _, f := range strings.Split(text, ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		m := faultShape.FindStringSubmatch(f)
		if m == nil {
			return nil, fmt.Errorf("annotation %s: %q is not DEVICE=CODE or DEVICE=CODE:failed or :degraded", AnnotationFaults, f)
		}
		fault := device.Fault{Code: m[2], State: device.Failed, Message: "emulated"}
		if m[3] != "" {
			fault.State = device.State(m[3])
		}
		out[m[1]] = fault
	}
	return out, nil
}

// The size of an emulated machine whose dump does not tell.
var (
	coresDefault  = resource.MustParse("96")
	memoryDefault = resource.MustParse("1Ti")
)

// Size is what the node has beside its devices.
func Size(v device.Inventory) corev1.ResourceList {
	cores, memory := int64(0), int64(0)
	for _, d := range v.Devices {
		if d.Kind == device.CPU {
			cores, memory = cores+int64(d.Units), memory+d.Memory
		}
	}
	list := corev1.ResourceList{
		corev1.ResourceCPU: coresDefault, corev1.ResourceMemory: memoryDefault,
		corev1.ResourcePods: resource.MustParse("110"), corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
	}
	if cores > 0 && memory > 0 {
		list[corev1.ResourceCPU] = *resource.NewQuantity(cores, resource.DecimalSI)
		list[corev1.ResourceMemory] = *resource.NewQuantity(memory, resource.BinarySI)
	}
	return list
}

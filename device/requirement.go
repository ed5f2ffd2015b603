package device

// Requirement is what a worker needs of devices, in terms that hold for every
// vendor. The zero value asks for none. api/v1alpha1.Accelerators is how people
// write it; package claim compiles it.
type Requirement struct {
	// Count of devices.
	Count int
	// Kinds that will do, best first. Empty: any accelerator, which a CPU is not.
	Kinds []Kind
	// Memory is the least memory of one device in bytes.
	Memory int64
	// Precision that a device must compute in; "" is any.
	Precision Precision
	// Software stacks that will do, best first. Empty: any.
	Software []string
	// SameFabric asks that all devices reach each other over one fabric.
	SameFabric bool
	// Share accepts a part of a device in place of a whole one.
	Share bool
	// Sandbox is the RuntimeClass of the pod, in which the devices must work. "" and
	// [SandboxNone] ask for nothing.
	Sandbox string
}

// SandboxNone is the RuntimeClass that keeps no device from working.
const SandboxNone = "runc"

// Accelerators are the kinds that a requirement without kinds means.
func Accelerators() []Kind { return []Kind{GPU, NPU, TPU} }

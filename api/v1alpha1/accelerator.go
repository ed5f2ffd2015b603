package v1alpha1

import "k8s.io/apimachinery/pkg/api/resource"

// Accelerators says what a worker needs of accelerators, in terms that hold
// across vendors. The zero value asks for none.
type Accelerators struct {
	// Count of devices per worker. 0 runs on the CPU.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=32
	// +optional
	Count int32 `json:"count,omitempty"`
	// Kinds of device that will do, best first: gpu, npu, tpu, dpu, fpga, vpu, cpu.
	// Empty: gpu, npu and tpu.
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +optional
	Kinds []string `json:"kinds,omitempty"`
	// Memory is the least device memory, per device, in bytes.
	// +optional
	Memory *resource.Quantity `json:"memory,omitempty"`
	// Precision the device must compute in, for example bf16 or fp8.
	// +kubebuilder:validation:MaxLength=16
	// +optional
	Precision string `json:"precision,omitempty"`
	// Software stacks that will do (cuda, rocm, cann, ...), best first. Empty: any
	// that the Runtime has a variant for.
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +optional
	Software []string `json:"software,omitempty"`
	// SameFabric asks that all devices of a worker share one fabric.
	// +optional
	SameFabric bool `json:"sameFabric,omitempty"`
	// Share accepts a part of a device instead of a whole one.
	// +optional
	Share bool `json:"share,omitempty"`
}

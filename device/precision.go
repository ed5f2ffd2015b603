package device

import "slices"

// byFeature says which precision a processor computes in because of an
// instruction set.
var byFeature = map[string]Precision{
	"avx512_bf16": BF16, "amx_bf16": BF16, "bf16": BF16, "svebf16": BF16,
	"avx512_fp16": FP16, "amx_fp16": FP16, "fphp": FP16, "asimdhp": FP16,
	"avx512_vnni": INT8, "avx_vnni": INT8, "amx_int8": INT8, "i8mm": INT8, "asimddp": INT8, "svei8mm": INT8,
}

// Computes lists the precisions that a device is known to compute in, in the order
// of [Precisions]: those whose speed is known, and those that the instruction sets
// of a processor tell. All processors compute in fp64 and fp32.
func (d *Device) Computes() []Precision {
	have := map[Precision]bool{}
	for p := range d.FLOPS {
		have[p] = true
	}
	if d.Kind == CPU {
		have[FP64], have[FP32] = true, true
	}
	for _, f := range d.Features {
		if p, ok := byFeature[f]; ok {
			have[p] = true
		}
	}
	return slices.DeleteFunc(Precisions(), func(p Precision) bool { return !have[p] })
}

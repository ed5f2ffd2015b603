module polder.dev/polder/tools/onnx

go 1.26.0

replace polder.dev/polder => ../..

require (
	github.com/google/go-cmp v0.7.0
	github.com/yalue/onnxruntime_go v1.27.0
	polder.dev/polder v0.0.0
)

package httproute

import (
	"embed"
)

// RBAC is what the gateway may do with the Gateway API, and who may write it, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

// Class is the GatewayClass, as YAML.
//
//go:embed class.yaml
var Class []byte

// CRDs of the Gateway API that are honoured, as upstream publishes them: `make gen` copies
// them from the module that the types are from.
//
//go:embed crd/*.yaml
var CRDs embed.FS

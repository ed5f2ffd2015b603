package serve

import _ "embed"

// RBAC is what the controller may do, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

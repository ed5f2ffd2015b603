package firewall

import _ "embed"

// RBAC is what the firewall may do, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

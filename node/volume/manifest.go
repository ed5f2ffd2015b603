package volume

import _ "embed"

// Manifest is the StorageClass "local", the default one, as YAML.
//
//go:embed storageclass.yaml
var Manifest []byte

// RBAC is what the provisioner may do, as YAML.
//
//go:embed rbac.yaml
var RBAC []byte

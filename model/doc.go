// Package model is the life of a model: how it is packed, kept, shown and found
// again. Its rooms know artifacts by name and digest, and neither who trains
// models nor who serves them. Clients and system import it.
package model

// Package policy is who may do what: rules about tenants, and in time about data
// and agents. Its rooms write them as objects of the API; who enforces them reads
// those. Everybody may import it.
package policy

// Package volume keeps the volumes that live on this machine's own disk: it
// provisions a local PersistentVolume for every claim of the StorageClass
// "local" that the scheduler placed here, removes the directory when the claim
// is gone, and opens a claim's directory for the controllers of this process.
//
// Only system imports it. It is an edge: the claims' life is upstream's
// sig-storage-lib-external-provisioner, ours is what happens on the disk.
//
// Invariants:
//   - A volume is exactly one directory, <Dir>/<name of the PersistentVolume>.
//     Nothing outside of Dir is ever made, opened or removed, whatever the API
//     objects or the files in a volume say.
//   - A claim gets a volume only if the disk has as much free space as it asks
//     for. The size is a promise at that moment, not a limit: the disk has no
//     quotas, and a volume may grow until it is full.
//   - Volumes are of type local, so that the kubelet gives them the pod's group.
//
// It refuses claims of another node, claims for many nodes (ReadWriteMany,
// ReadOnlyMany), raw block devices and claims with a selector.
package volume

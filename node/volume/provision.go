package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	// annotationProvisioner is upstream's mark of who made a volume.
	annotationProvisioner = "pv.kubernetes.io/provisioned-by"
	// annotationNode names the Node whose disk a volume is on.
	annotationNode = "polder.dev/node"
	// annotationSelected is the scheduler's choice, on a claim.
	annotationSelected = "volume.kubernetes.io/selected-node"
)

const (
	// group of a new volume: the one that tenants' pods run in. The kubelet
	// changes it for a pod that asks for another.
	group = 65532
	// mode of a new volume; new files in it inherit the group.
	mode = fs.ModeSetgid | 0o770
)

// ShouldProvision leaves to other nodes what the scheduler placed there.
func (l *Local) ShouldProvision(_ context.Context, claim *corev1.PersistentVolumeClaim) bool {
	return claim.Annotations[annotationSelected] == l.node
}

// ShouldDelete leaves alone what is not a volume of this machine.
func (l *Local) ShouldDelete(_ context.Context, pv *corev1.PersistentVolume) bool {
	_, err := l.ours(pv)
	return err == nil
}

// Provision makes the directory of a volume and describes it. It may be asked
// again for the same volume.
func (l *Local) Provision(ctx context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	fail := func(err error) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
		return nil, controller.ProvisioningFinished, err
	}
	if o.SelectedNodeName != l.node {
		return fail(&controller.IgnoredError{Reason: fmt.Sprintf("node %q was selected, this is %q", o.SelectedNodeName, l.node)})
	}
	if err := servable(o.PVC); err != nil {
		return fail(err)
	}
	node, err := l.client.CoreV1().Nodes().Get(ctx, l.node, metav1.GetOptions{})
	if err != nil {
		return fail(fmt.Errorf("reading node %s: %w", l.node, err))
	}
	host := node.Labels[corev1.LabelHostname]
	if host == "" {
		return fail(fmt.Errorf("node %s has no label %s", l.node, corev1.LabelHostname))
	}
	size := o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]
	if err := l.fits(size); err != nil {
		return fail(err)
	}
	if err := l.makeDir(o.PVName); err != nil {
		return fail(fmt.Errorf("making the directory of volume %s: %w", o.PVName, err))
	}
	return l.describe(o, size, host), controller.ProvisioningFinished, nil
}

// servable refuses what a directory on one node cannot be.
func servable(claim *corev1.PersistentVolumeClaim) error {
	if claim.Spec.Selector != nil {
		return errors.New("spec.selector: local volumes cannot be selected by label; leave it out")
	}
	for _, m := range claim.Spec.AccessModes {
		if m != corev1.ReadWriteOnce && m != corev1.ReadWriteOncePod {
			return fmt.Errorf("spec.accessModes %s: a local volume is on one node; ask for ReadWriteOnce", m)
		}
	}
	return nil
}

// fits checks that the disk has the room.
func (l *Local) fits(size resource.Quantity) error {
	free, err := l.free(l.dir)
	if err != nil {
		return fmt.Errorf("reading the free space of %s: %w", l.dir, err)
	}
	if free < size.Value() {
		return fmt.Errorf("the disk of node %s has %.1f GiB free, less than the %.1f GiB asked for: make room, or ask for less (spec.checkpoints.size of a TrainJob)",
			l.node, gib(free), gib(size.Value()))
	}
	return nil
}

func gib(bytes int64) float64 { return float64(bytes) / (1 << 30) }

// freeBytes is the space on dir's disk that is free for us.
func freeBytes(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}

// makeDir makes a volume's directory, or takes the one that an earlier attempt
// at the same volume made.
func (l *Local) makeDir(name string) error {
	if !element(name) {
		return fmt.Errorf("%q is not a name", name)
	}
	if err := l.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := l.root.Lstat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is in the way", name)
	}
	if os.Geteuid() == 0 {
		if err := l.root.Chown(name, 0, group); err != nil {
			return err
		}
	}
	return l.root.Chmod(name, mode)
}

// describe returns the PersistentVolume of a directory.
func (l *Local) describe(o controller.ProvisionOptions, size resource.Quantity, host string) *corev1.PersistentVolume {
	policy := corev1.PersistentVolumeReclaimDelete
	if o.StorageClass.ReclaimPolicy != nil {
		policy = *o.StorageClass.ReclaimPolicy
	}
	filesystem := corev1.PersistentVolumeFilesystem
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        o.PVName,
			Annotations: map[string]string{annotationProvisioner: Provisioner, annotationNode: l.node},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: size},
			AccessModes:                   slices.Clone(o.PVC.Spec.AccessModes),
			PersistentVolumeReclaimPolicy: policy,
			VolumeMode:                    &filesystem,
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				Local: &corev1.LocalVolumeSource{Path: filepath.Join(l.dir, o.PVName)},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{host},
				}}}},
			}},
		},
	}
}

// Delete removes a volume's directory and everything in it. Links in there are
// removed, not followed.
func (l *Local) Delete(_ context.Context, pv *corev1.PersistentVolume) error {
	name, err := l.ours(pv)
	if err != nil {
		return &controller.IgnoredError{Reason: err.Error()}
	}
	if err := l.root.RemoveAll(name); err != nil {
		return fmt.Errorf("removing the directory of volume %s: %w", name, err)
	}
	return nil
}

package recipe

import "syscall"

// alone is how mmdebstrap runs: what it mounts only it sees, and is gone when it has
// ended, however that was; and who is left behind by a killed parent is told to stop.
func alone() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
}

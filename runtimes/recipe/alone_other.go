//go:build !linux

package recipe

import "syscall"

// alone is how mmdebstrap would run, where there is none.
func alone() *syscall.SysProcAttr { return nil }

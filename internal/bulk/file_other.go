//go:build !linux

package bulk

import (
	"errors"
	"os"
)

func readPast(*os.File, []byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func writePast(*os.File, []byte) (int, error)       { return 0, errors.ErrUnsupported }
func cannot(err error) bool                         { return errors.Is(err, errors.ErrUnsupported) }

// begin does nothing where the system has no such call: it is only slower.
func begin(*os.File, int64) {}

package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

const (
	// LibraryName is what the runtime's library is called.
	LibraryName = "libonnxruntime.so.1"
	// LibraryVariable names the library, if it is not beside the program.
	LibraryVariable = "POLDER_ONNXRUNTIME"
)

// library is loaded once in a process, and stays.
var library sync.Mutex

// Start loads the library: the one that LibraryVariable names, else the one beside the
// program, else where the machine's loader looks. It may be called again.
func Start() error {
	library.Lock()
	defer library.Unlock()
	if ort.IsInitialized() {
		return nil
	}
	path, err := find()
	if err != nil {
		return err
	}
	ort.SetSharedLibraryPath(path)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		return fmt.Errorf("loading onnxruntime (%s): %w; %s may name the library", path, err, LibraryVariable)
	}
	return nil
}

func find() (string, error) {
	if named := os.Getenv(LibraryVariable); named != "" {
		if _, err := os.Stat(named); err != nil {
			return "", fmt.Errorf("%s: %w", LibraryVariable, err)
		}
		return named, nil
	}
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding the program's own directory: %w", err)
	}
	beside := filepath.Join(filepath.Dir(program), LibraryName)
	switch _, err := os.Stat(beside); {
	case err == nil:
		return beside, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("looking for onnxruntime: %w", err)
	}
	return LibraryName, nil
}

// Version of the library; empty before Start.
func Version() string {
	library.Lock()
	defer library.Unlock()
	if !ort.IsInitialized() {
		return ""
	}
	return ort.GetVersion()
}

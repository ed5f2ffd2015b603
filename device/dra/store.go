package dra

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// prepared is what a claim was given, as its file says it.
type prepared struct {
	UID       types.UID `json:"uid"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	// Devices that no other claim may have meanwhile.
	Devices []string `json:"devices"`
	// Pods that the claim was reserved for when it was prepared, in its namespace.
	Pods []string `json:"pods,omitempty"`
}

// store keeps what is prepared: a file per claim, and beside it the CDI file, which
// is there if and only if the claim's file is. A file is written whole and renamed,
// so that a process killed at any moment leaves an old state or a new one. It is not
// synced: after a reboot no pod of before runs, and the kubelet prepares anew.
type store struct {
	cdi, state string

	mu     sync.Mutex
	claims map[types.UID]prepared
}

// filePrefix begins the names of our files in the CDI directory.
const filePrefix = "polder-claim-"

var uidShape = regexp.MustCompile(`^[a-zA-Z0-9-]{1,64}$`)

// openStore reads what an earlier process prepared, and removes what it left half
// done.
func openStore(cdiDir, state string) (*store, error) {
	s := &store{cdi: cdiDir, state: state, claims: map[types.UID]prepared{}}
	for _, dir := range []string{cdiDir, state} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("making a directory for prepared claims: %w", err)
		}
	}
	files, err := os.ReadDir(state)
	if err != nil {
		return nil, fmt.Errorf("reading prepared claims: %w", err)
	}
	for _, f := range files {
		var p prepared
		b, err := os.ReadFile(filepath.Join(state, f.Name()))
		if err == nil {
			err = json.Unmarshal(b, &p)
		}
		if err != nil || f.Name() != string(p.UID)+".json" || !uidShape.MatchString(string(p.UID)) {
			_ = os.Remove(filepath.Join(state, f.Name())) // half written; the kubelet will ask again
			continue
		}
		s.claims[p.UID] = p
	}
	specs, err := os.ReadDir(cdiDir)
	if err != nil {
		return nil, fmt.Errorf("reading CDI files: %w", err)
	}
	for _, f := range specs {
		uid, ours := strings.CutPrefix(strings.TrimSuffix(f.Name(), ".json"), filePrefix)
		if _, known := s.claims[types.UID(uid)]; ours && !known {
			_ = os.Remove(filepath.Join(cdiDir, f.Name()))
		}
	}
	return s, nil
}

func (s *store) specFile(uid types.UID) string {
	return filepath.Join(s.cdi, filePrefix+string(uid)+".json")
}

func (s *store) stateFile(uid types.UID) string { return filepath.Join(s.state, string(uid)+".json") }

// holder is another claim that has the device.
func (s *store) holder(name string, but types.UID) (prepared, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for uid, p := range s.claims {
		if uid == but {
			continue
		}
		for _, d := range p.Devices {
			if d == name {
				return p, true
			}
		}
	}
	return prepared{}, false
}

// list copies what is prepared.
func (s *store) list() []prepared {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.claims))
}

// put writes both files: first what is taken, then what containers get.
func (s *store) put(p prepared, spec []byte) error {
	if !uidShape.MatchString(string(p.UID)) {
		return errClaim
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := replace(s.stateFile(p.UID), b); err != nil {
		return fmt.Errorf("recording the claim: %w", err)
	}
	s.claims[p.UID] = p
	if err := replace(s.specFile(p.UID), spec); err != nil {
		return fmt.Errorf("writing the CDI file: %w", err)
	}
	return nil
}

// remove undoes put, in its reverse order.
func (s *store) remove(uid types.UID) error {
	if !uidShape.MatchString(string(uid)) {
		return errClaim
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range []string{s.specFile(uid), s.stateFile(uid)} {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing what was prepared: %w", err)
		}
	}
	delete(s.claims, uid)
	return nil
}

// replace writes a file whole. Its name while it is written does not end in .json,
// so that nobody reads it.
func replace(file string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".polder-*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return os.Rename(f.Name(), file)
}

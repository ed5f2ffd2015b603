package system

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStoreRefused: a flag that is wrong is named, and nothing is made, no key either.
func TestStoreRefused(t *testing.T) {
	for flag, f := range map[string]storeFlags{
		"--lifecycle-day":     {},
		"--process-bytes-max": {day: time.Hour, memory: 1},
		"--domain":            {day: time.Hour, domains: []string{"no host"}},
		"--website-domain":    {day: time.Hour, sites: []string{"no host"}},
		"--tls-key-file":      {day: time.Hour, cert: "c"},
		"--tiers":             {day: time.Hour, tiers: "/nowhere"},
		"--secret-key-file":   {day: time.Hour, accessKey: "k"},
	} {
		dir := filepath.Join(t.TempDir(), "store")
		if err := serveStore(t.Context(), dir, &f); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s: %s is there (%v)", flag, dir, err)
		}
	}
}

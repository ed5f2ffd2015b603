package plugin

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/component-base/metrics/testutil"
)

// expect writes a workload to a file.
func expect(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "workload.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// count is the attempts of a sort so far.
func count(t *testing.T, how string) int {
	t.Helper()
	v, err := testutil.GetCounterMetricValue(theMeters().attempts.WithLabelValues(how))
	if err != nil {
		t.Fatal(err)
	}
	return int(v)
}

// gangs is the attempts to place gangs, of a sort, so far.
func gangs(t *testing.T, how string) int {
	t.Helper()
	v, err := testutil.GetCounterMetricValue(theMeters().gangs.WithLabelValues(how))
	if err != nil {
		t.Fatal(err)
	}
	return int(v)
}

package trial

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Meter reads the energy that the machine's processors have used, from the counters that
// Linux shows of Intel's and AMD's. Most sandboxes hide them: then there is no energy in
// the report.
type Meter struct {
	dirs []string
	last map[string]float64
	sum  float64
}

// NewMeter looks for counters below root, which is / but in tests. It is nil when there
// are none that can be read.
func NewMeter(root string) *Meter {
	found, err := filepath.Glob(filepath.Join(root, "sys/class/powercap/intel-rapl:[0-9]*"))
	if err != nil {
		return nil
	}
	m := &Meter{last: map[string]float64{}}
	for _, dir := range found {
		if strings.Count(filepath.Base(dir), ":") != 1 { // a part of another one
			continue
		}
		if v, ok := microjoules(dir, "energy_uj"); ok {
			m.dirs, m.last[dir] = append(m.dirs, dir), v
		}
	}
	if len(m.dirs) == 0 {
		return nil
	}
	return m
}

// Joules used since the meter was made; 0 without one. Counters that have begun anew
// since it was read last are counted on, once.
func (m *Meter) Joules() float64 {
	if m == nil {
		return 0
	}
	for _, dir := range m.dirs {
		v, ok := microjoules(dir, "energy_uj")
		if !ok {
			continue
		}
		d := v - m.last[dir]
		if d < 0 {
			most, _ := microjoules(dir, "max_energy_range_uj")
			d = max(d+most, 0)
		}
		m.sum += d / 1e6
		m.last[dir] = v
	}
	return m.sum
}

func microjoules(dir, name string) (float64, bool) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, false
	}
	v, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return float64(v), err == nil
}

// processor is what the machine says it computes with; "" if it does not say.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

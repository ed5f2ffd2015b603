package engine

import (
	"testing"
	"time"

	"polder.dev/polder/storage"
)

// counting is a ledger without entries that counts commits.
type counting struct {
	Ledger
	rev     uint64
	commits int
}

func (c *counting) Rev() uint64 { c.rev++; return c.rev }

func (c *counting) CopiesMax() int { return 1 }

func (c *counting) Scan([]byte, []byte, bool) Cursor { return nothing{} }

func (c *counting) Commit(Batch) error { c.commits++; return nil }

type nothing struct{ Cursor }

func (nothing) Next() bool { return false }

func (nothing) Close() error { return nil }

// TestConfigureCommitsChangesAlone: who looks after a bucket may say again what it is.
func TestConfigureCommitsChangesAlone(t *testing.T) {
	l := &counting{}
	s, err := New(l, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.CreateBucket(t.Context(), "b", storage.Settings{Labels: map[string]string{"a": "1"}, Residency: storage.Residency{Home: "nl", Allowed: []string{"de"}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change  func(*storage.Settings)
		commits int
	}{
		"nothing":              {func(*storage.Settings) {}, 0},
		"the same again":       {func(s *storage.Settings) { s.Labels = map[string]string{"a": "1"}; s.Copies = 1 }, 0},
		"a label":              {func(s *storage.Settings) { s.Labels["b"] = "2" }, 1},
		"a list, where it lay": {func(s *storage.Settings) { s.Residency.Allowed[0] = "be" }, 1},
	} {
		l.commits = 0
		if err := b.Configure(t.Context(), func(s *storage.Settings) error { c.change(s); return nil }); err != nil || l.commits != c.commits {
			t.Errorf("%s: %d commits, %v", name, l.commits, err)
		}
		if err := b.Configure(t.Context(), func(s *storage.Settings) error {
			delete(s.Labels, "b")
			s.Residency.Allowed = []string{"de"}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

package tier

import "polder.dev/polder/storage"

// Below is the store of a lower tier, for tests that look at what it holds.
func (s *Store) Below(name string) storage.Store { return s.level(name).Store }

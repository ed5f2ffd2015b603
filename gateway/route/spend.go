package route

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"polder.dev/polder/internal/pki"
	rules "polder.dev/polder/model/route"
)

// spendBytesMax of the file of what was spent.
const spendBytesMax = 64 << 20

// purseKey is whose purse it is: a route's by namespace and name, so that one that was
// removed and made again opens no second purse on the same day.
type purseKey struct {
	Route  string `json:"route"`
	Tenant string `json:"tenant"`
}

// ledger keeps account of what tenants spend. Its file says of each purse what may have
// been spent at most, and is durable before more than that is; so after a crash a little
// more counts as spent than was, and never less.
type ledger struct {
	file string

	mu     sync.Mutex
	purses map[purseKey]*rules.Purse
}

// spendFile is the form of the file.
type spendFile struct {
	Version int         `json:"version"`
	Purses  []spendLine `json:"purses"`
}

type spendLine struct {
	purseKey
	rules.Purse
}

func openLedger(file string, now time.Time) (*ledger, error) {
	l := &ledger{file: file, purses: map[purseKey]*rules.Purse{}}
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil && info.Size() > spendBytesMax {
		err = fmt.Errorf("it has %d bytes", info.Size())
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(file)
	}
	var f spendFile
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err == nil && f.Version != 1 {
		err = fmt.Errorf("it has version %d; this program knows 1", f.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was spent from %s: %w; to forget what was spent today, remove it", file, err)
	}
	today := rules.Day(now)
	for _, line := range f.Purses {
		if line.Day >= today { // a day to come is a clock that was put back
			p := rules.Restore(line.Purse)
			l.purses[line.purseKey] = &p
		}
	}
	return l, nil
}

// reserve asks for what a request may cost at most.
func (l *ledger) reserve(who purseKey, cost, budget int64, now time.Time) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.purses[who]
	if p == nil {
		p = &rules.Purse{}
		l.purses[who] = p
	}
	before := p.Kept
	keep, ok := p.Reserve(cost, budget, now)
	if !keep {
		return ok, nil
	}
	if err := l.save(rules.Day(now)); err != nil {
		p.Release(cost)
		p.Kept = before
		return false, fmt.Errorf("keeping what is spent: %w", err)
	}
	return ok, nil
}

// settle tells what a request has cost.
func (l *ledger) settle(who purseKey, reserved, spent int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.purses[who].Settle(reserved, spent)
}

// save writes the file anew, without days that are over. The caller holds the lock.
func (l *ledger) save(today string) error {
	f := spendFile{Version: 1, Purses: []spendLine{}}
	for who, p := range l.purses {
		if p.Day >= today {
			f.Purses = append(f.Purses, spendLine{purseKey: who, Purse: *p})
		}
	}
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return pki.WriteFile(l.file, data)
}

// close writes what was spent, to the unit.
func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.purses) == 0 {
		return nil
	}
	for _, p := range l.purses {
		*p = p.Settled()
	}
	if err := l.save(""); err != nil {
		return fmt.Errorf("keeping what was spent: %w", err)
	}
	return nil
}

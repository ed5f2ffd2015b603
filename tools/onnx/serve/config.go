package serve

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"
)

// config is what the environment says. docs/formats/serving.md is normative.
type config struct {
	port     int
	dir      string        // of the model
	name     string        // by which it is asked for
	version  string        // its digest, which answers tell; may be empty
	rowsMax  int           // of one run
	delay    time.Duration // that a request may wait for others
	threads  int
	bodyMax  int64 // bytes
	drainMax time.Duration
}

const (
	portDefault  = 8080
	dirDefault   = "/polder/model"
	nameDefault  = "model"
	batchDefault = 32
	drainMax     = 25 * time.Second
)

// ErrEnvironment is what is said in the environment that cannot be.
var ErrEnvironment = errors.New("the environment is wrong")

// read reads the environment by get.
func read(get func(string) string) (config, error) {
	c := config{dir: get("POLDER_MODEL_DIR"), name: get("POLDER_MODEL_NAME"), version: get("POLDER_MODEL_DIGEST"), bodyMax: bodyMax, drainMax: drainMax}
	if c.dir == "" {
		c.dir = dirDefault
	}
	if c.name == "" {
		c.name = nameDefault
	}
	var delay int
	for _, n := range []struct {
		name             string
		to               *int
		least, most, def int
	}{
		{"PORT", &c.port, 1, 65535, portDefault},
		{"POLDER_BATCH_MAX", &c.rowsMax, 1, 4096, batchDefault},
		{"POLDER_BATCH_DELAY_MICROSECONDS", &delay, 0, 1000000, 0},
		// Go knows the pod's limit.
		{"POLDER_THREADS", &c.threads, 1, 1024, runtime.GOMAXPROCS(0)},
	} {
		text := get(n.name)
		if text == "" {
			*n.to = n.def
			continue
		}
		v, err := strconv.Atoi(text)
		if err != nil || v < n.least || v > n.most {
			return c, fmt.Errorf("%w: %s is %q; it must be a number from %d to %d", ErrEnvironment, n.name, text, n.least, n.most)
		}
		*n.to = v
	}
	c.delay = time.Duration(delay) * time.Microsecond
	return c, nil
}

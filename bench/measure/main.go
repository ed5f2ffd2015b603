// Command measure makes every number of bench/README.md, on clouds of its own that
// it removes again. It prints one row per number: the median of all runs, and each
// run. It needs root and a built polder but for -only sim, store, distil and cascade, and an otherwise idle
// machine.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// row is one number.
type row struct {
	What   string    `json:"what"`
	Unit   string    `json:"unit"`
	Median float64   `json:"median"`
	Runs   []float64 `json:"runs"`
	Note   string    `json:"note,omitempty"`
}

// benchmark makes rows.
type benchmark struct {
	name  string
	run   func(context.Context, *bench) error
	alone bool // needs no cloud
}

// benchmarks, in the order they are made: what wants a fresh cloud comes first.
var benchmarks = []benchmark{
	{name: "up", run: measureUp},
	{name: "pod", run: measurePod},
	{name: "wake", run: measureWake},
	{name: "train", run: measureTrain},
	{name: "idle", run: measureIdle},
	{name: "test", run: measureTest},
	{name: "device", run: measureDevice},
	{name: "rate", run: measureRate},
	{name: "gang", run: measureGang},
	{name: "registry", run: measureRegistry},
	{name: "queues", run: measureQueues},
	{name: "queues-large", run: measureQueuesLarge},
	{name: "sched", run: measureSched},
	{name: "sim", run: measureSim, alone: true},
	{name: "store", run: measureStore, alone: true},
	{name: "doors", run: measureDoors, alone: true},
	{name: "growth", run: measureGrowth, alone: true},
	{name: "distil", run: measureDistil, alone: true},
	{name: "onnx", run: measureONNX, alone: true},
	{name: "gateway", run: measureGateway, alone: true},
	{name: "cascade", run: measureCascade, alone: true},
}

// bench is one run of this program.
type bench struct {
	cloud *cloud
	runs  int
	openb string // folder of the traces
	seeds int    // of the traces in the real scheduler
	part  int    // of a load of queues, in percent
	cpu   string // file for a profile of the controller of queues
	rows  []row

	pictures string // folder for pictures of growth; "" for none

	storeDir string // where the stores lie
	objects  int    // that the store grows to

	// What the store is measured beside; "" is without: the programs of versitygw and
	// AIStore, and the folder of Swift's.
	versity, aisnode, swift string

	answers string // file for what a student and its teacher answer; "" for none
}

// add records the runs of one number.
func (b *bench) add(what, unit string, runs []float64, note string) {
	r := row{What: what, Unit: unit, Median: median(runs), Runs: runs, Note: note}
	b.rows = append(b.rows, r)
	fmt.Println(r)
}

// String is the row as Markdown.
func (r row) String() string {
	digits := 3
	if r.Unit == "%" {
		digits = 4 // policies differ in the hundredths
	}
	var each []string
	for _, v := range r.Runs {
		each = append(each, fmt.Sprintf("%.*g", digits, v))
	}
	return fmt.Sprintf("| %s | %.*g %s | %s | %s |", r.What, digits, r.Median, r.Unit, strings.Join(each, ", "), r.Note)
}

// profiled writes a profile of this program from now on, if there is to be one, until
// end.
func (b *bench) profiled() (end func()) {
	if b.cpu == "" {
		return func() {}
	}
	f, err := os.Create(b.cpu)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		b.note("-cpuprofile: %v", err)
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	m := len(s) / 2
	if len(s)%2 == 1 {
		return s[m]
	}
	return (s[m-1] + s[m]) / 2
}

func main() {
	log.SetLogger(logr.Discard()) // of the clients; errors come back to us
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	if order := os.Getenv(fillVariable); order != "" {
		return fillStore(order)
	}
	if addr := os.Getenv(plainVariable); addr != "" {
		return servePlain(addr)
	}
	if order := os.Getenv(gatewayVariable); order != "" {
		return serveChild(ctx, order)
	}
	polder := flag.String("polder", "bin/polder", "the program to measure")
	dir := flag.String("dir", "/var/tmp/polder-bench", "where the clouds lie")
	runs := flag.Int("runs", 5, "runs of each number")
	only := flag.String("only", "", "regular expression: the benchmarks to run, of up, pod, wake, train, idle, test, device, rate, gang, queues, queues-large, sched, sim, store, doors, growth, registry, distil, onnx, gateway, cascade")
	versity := flag.String("versitygw", "", "versitygw to measure beside in doors; tools/peer builds it")
	aisnode := flag.String("aisnode", "", "AIStore's aisnode to measure beside in doors (bench/README.md)")
	swift := flag.String("swift", "", "folder of Swift's servers to measure beside in doors, with memcached in the PATH (bench/README.md)")
	openb := flag.String("openb", "../shared/data/openb", "folder of the openb traces, which are not ours to bring along")
	seeds := flag.Int("seeds", 1, "seeds of each trace that is played to the real scheduler")
	part := flag.Int("part", 100, "percent of the workloads that queues and queues-large make")
	cpu := flag.String("cpuprofile", "", "file for a profile of the processor time of queues and queues-large (of the controller and of what makes the load) or of gateway (of it alone)")
	objects := flag.Int("objects", 1_000_000, "objects that the store of growth grows to, by powers of ten")
	out := flag.String("json", "", "file to write the rows to")
	answers := flag.String("answers", "", "with -only distil: a file for what a student of 150 labels and its teacher answer to rows that neither has seen, as CSV, instead of rows of numbers; cascade reads it, or makes one")
	pictures := flag.String("pictures", "", "folder to draw pictures of growth in, as SVG")
	flag.Parse()
	pick, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	program, err := filepath.Abs(*polder)
	if err != nil {
		return err
	}
	b := &bench{cloud: &cloud{program: program, dir: filepath.Join(*dir, "cloud")}, runs: *runs, openb: *openb, seeds: *seeds, part: *part, cpu: *cpu, pictures: *pictures, storeDir: *dir, objects: *objects, versity: *versity, aisnode: *aisnode, swift: *swift, answers: *answers}
	picked := slices.DeleteFunc(slices.Clone(benchmarks), func(m benchmark) bool { return !pick.MatchString(m.name) })
	if slices.ContainsFunc(picked, func(m benchmark) bool { return !m.alone }) {
		if os.Geteuid() != 0 {
			return errors.New("this needs root, as a cloud does; run it with sudo")
		}
		if err := errors.Join(b.cloud.reset(ctx), os.MkdirAll(*dir, 0o755)); err != nil {
			return err
		}
		defer func() {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
			defer cancel()
			err = errors.Join(err, b.cloud.reset(end))
		}()
	}
	fmt.Println(machine())
	fmt.Println("\n| what | median | runs | |\n|---|---|---|---|")
	for _, m := range picked {
		if err := m.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if *out == "" {
		return nil
	}
	text, err := json.MarshalIndent(b.rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*out, append(text, '\n'), 0o644)
}

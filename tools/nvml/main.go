// Command polder-nvml asks NVML, the library of NVIDIA's driver, for all that polder
// wants to know of the machine's GPUs, prints it as one JSON document and ends. Only
// polder runs it, and people who want to keep its output for `polder devices --from`.
//
// It is a program of its own because the library is C and may hang or crash: then this
// program is ended, and nothing else. The library is loaded when the program runs; it
// is not linked, and a machine that lacks it costs one sentence and exit code 3.
//
// A query that fails is a field of the document, not the end. It changes nothing.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// Exit codes.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitAbsent  = 3 // there is no such library
	exitRefused = 4 // there is, and it does not start
)

// documentMax is the most that is printed. Sixteen cards with all that they can have
// are a tenth of it.
const documentMax = 4 << 20

// soname is what the driver's library is called.
const soname = "libnvidia-ml.so.1"

// places are where it is looked for: first where the loader looks, then where
// Google's images, NixOS and older Red Hat packages of the driver put it.
var places = []string{soname, "/usr/local/nvidia/lib64/" + soname, "/run/opengl-driver/lib/" + soname, "/usr/lib64/nvidia/" + soname}

// failure is an error with the exit code it ends the program with.
type failure struct {
	code int
	err  error
}

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

func main() {
	err := run(os.Args[1:], os.Stdout)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	code := exitFailed
	var f failure
	if errors.As(err, &f) {
		code = f.code
	}
	fmt.Fprintln(os.Stderr, "polder-nvml:", err)
	os.Exit(code)
}

func run(args []string, to io.Writer) error {
	flags := flag.NewFlagSet("polder-nvml", flag.ContinueOnError)
	library := flags.String("library", "", "path of "+soname+", if it is not where loaders look")
	meters := flags.Bool("meters", false, "leave out the links between cards, which do not change")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "polder-nvml prints what NVML knows of this machine's GPUs, as JSON.")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return failure{exitUsage, errors.New("see -help")}
	}
	if flags.NArg() > 0 {
		return failure{exitUsage, fmt.Errorf("%q is not understood; it takes flags only, see -help", flags.Arg(0))}
	}
	lib, err := load(*library)
	if err != nil {
		return err
	}
	document := ask(lib, !*meters)
	text, err := json.MarshalIndent(document, "", " ")
	if err != nil {
		return fmt.Errorf("writing the document: %w", err)
	}
	if len(text) > documentMax {
		return fmt.Errorf("the document has %d bytes, of at most %d", len(text), documentMax)
	}
	_, err = to.Write(append(text, '\n'))
	return err
}

// load loads the library and starts it. File "" looks in all places.
func load(file string) (nvml.Interface, error) {
	tries := places
	if file != "" {
		tries = []string{file}
	}
	found, why := "", ""
	for i, t := range tries {
		l := dl.New(t, dl.RTLD_LAZY|dl.RTLD_GLOBAL)
		err := l.Open()
		if err != nil {
			if i == 0 {
				why = err.Error()
			}
			continue
		}
		if l.Lookup("nvmlInit_v2") != nil && l.Lookup("nvmlInit") != nil {
			return nil, failure{exitRefused, fmt.Errorf("%s is not NVML: it has no nvmlInit", t)}
		}
		found = t // left open: the library counts who uses it
		break
	}
	if found == "" {
		if !strings.Contains(why, "No such file") {
			return nil, failure{exitRefused, fmt.Errorf("loading NVML: %s", why)}
		}
		return nil, failure{exitAbsent, fmt.Errorf("this machine has no NVML (%s); it comes with NVIDIA's driver", why)}
	}
	lib := nvml.New(nvml.WithLibraryPath(found))
	if r := lib.Init(); r != nvml.SUCCESS {
		return nil, failure{exitRefused, fmt.Errorf("starting NVML: %s", say(r))}
	}
	return lib, nil
}

// Policy compares the policy engine with other engines and with the limit, a
// function written by hand for the very policy, on the workloads of
// dataplane/policy/policytest. It first asserts that all decide alike, then gives
// them turns of some milliseconds, so that what disturbs the machine disturbs all,
// and prints one table and what became of each promise.
//
// It is a module of its own: the engines that it compares with never enter the
// product's go.mod.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/dataplane/policy/policytest"
)

func main() {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// errUsage: the command line can't be read, and that has been said.
var errUsage = errors.New("bad usage")

func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("policy", flag.ContinueOnError)
	flags.SetOutput(stderr)
	workloads := flags.String("workloads", strings.Join(policytest.Names(), ","), "which `workloads`, with commas between them")
	seconds := flags.Float64("seconds", 96, "how long to measure, all workloads together; preparing them takes half a minute more")
	check := flags.Bool("check", false, "exit with 1 if a promise is missed")
	output := flags.String("o", "text", "`format` of the report: text or json")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return errUsage
	}
	names := strings.Split(*workloads, ",")
	for _, name := range names {
		if !slices.Contains(policytest.Names(), name) {
			fmt.Fprintf(stderr, "-workloads %s: not one of %s\n", name, strings.Join(policytest.Names(), ", "))
			return errUsage
		}
	}
	if *output != "text" && *output != "json" || flags.NArg() > 0 || *seconds <= 0 {
		flags.Usage()
		return errUsage
	}
	r, err := measureAll(names, time.Duration(*seconds*float64(time.Second)), stderr)
	if err != nil {
		return err
	}
	if *output == "json" {
		err = json.NewEncoder(stdout).Encode(r)
	} else {
		err = r.print(stdout)
	}
	if err != nil {
		return err
	}
	missed := 0
	for _, v := range r.Verdicts {
		if !v.Met {
			missed++
		}
	}
	if *check && missed > 0 {
		return fmt.Errorf("%d of %d promises are missed", missed, len(r.Verdicts))
	}
	return nil
}

func measureAll(names []string, budget time.Duration, progress io.Writer) (*report, error) {
	r := &report{Machine: machine()}
	for i, name := range names {
		fmt.Fprintf(progress, "%d of %d: %s: preparing\n", i+1, len(names), name)
		f, err := newField(name, makers)
		if err != nil {
			return nil, err
		}
		if d := f.disagreement(sampleOf(name)); d != "" {
			return nil, errors.New(d)
		}
		fmt.Fprintf(progress, "%d of %d: %s: all decide alike; measuring\n", i+1, len(names), name)
		m := measured{Name: name, Statements: len(f.statements), Document: len(f.workload.Document)}
		m.Figures = measure(f, budget/time.Duration(len(names)))
		together, err := scaling(f)
		if err != nil {
			return nil, err
		}
		m.Scaling = ratio(together)
		r.Workloads = append(r.Workloads, m)
		if name == "W2" || name == "W3-10000" {
			document := f.workload.Document
			f.contenders = nil
			c, err := measureCompiling(name, document, budget/100)
			if err != nil {
				return nil, err
			}
			r.Compiling = append(r.Compiling, c)
		}
		f = nil
		runtime.GC()
	}
	if slices.Contains(names, "W3-100") && slices.Contains(names, "W3-10000") {
		g, err := growth("W3-100", "W3-10000")
		if err != nil {
			return nil, err
		}
		r.Growth = &g
	}
	r.Verdicts = judge(r)
	return r, nil
}

// sampleOf is on how many queries peers must agree with Postern before they are
// measured; of those that take milliseconds, fewer.
func sampleOf(name string) int {
	if name == "W3-10000" || name == "W4" {
		return 50
	}
	return 300
}

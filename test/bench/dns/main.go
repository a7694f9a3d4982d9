// Dns compares Postern's DNS servers with others by dnsperf: the authorities
// with the propagation model on, beside CoreDNS with its file plugin, Knot DNS
// and a bare server on the DNS library, all with the same 10,000 names. Each
// server has one processor, the generator another. Servers take turns of some
// seconds, so that what disturbs the machine disturbs all; before that, all are
// asked for the same names and must say the same.
//
// It is a module of its own: the servers that it compares with never enter the
// product's go.mod. dnsperf, knotd and taskset are the system's; who is not
// there takes no part, except for dnsperf.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
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

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("dns", flag.ContinueOnError)
	flags.SetOutput(stderr)
	names := flags.Int("names", 10_000, "how many names the zone has")
	rounds := flags.Int("rounds", 5, "how many turns each server takes")
	turn := flags.Duration("turn", 3*time.Second, "how long a turn is")
	only := flags.String("only", "", "`servers` that take part, with commas between them; all by default")
	check := flags.Bool("check", false, "exit with 1 if a promise is missed")
	output := flags.String("o", "text", "`format` of the report: text or json")
	serve := flags.String("serve", "", "be the `server` of that name on a port; how this program starts its own")
	port := flags.Int("port", 0, "`port` for -serve")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return errUsage
	}
	if flags.NArg() > 0 || *names < 1 || *names > 60_000 || *rounds < 1 || *turn < time.Second || *output != "text" && *output != "json" {
		fmt.Fprintln(stderr, "want 1 to 60000 names, 1 or more rounds, turns of 1s or more, -o text or json, and no arguments")
		return errUsage
	}
	switch *serve {
	case "":
	case "postern":
		return servePostern(ctx, *port, *names)
	case "bare":
		return serveBare(ctx, *port, *names)
	default:
		fmt.Fprintf(stderr, "-serve %s: want postern or bare\n", *serve)
		return errUsage
	}
	if _, err := exec.LookPath("dnsperf"); err != nil {
		return errors.New("dnsperf is not installed (Debian package dnsperf)")
	}
	l, err := newLab(ctx, *names, stderr)
	if err != nil {
		return err
	}
	defer l.close()
	var chosen []string
	if *only != "" {
		chosen = strings.Split(*only, ",")
	}
	r, err := l.measure(ctx, chosen, *rounds, *turn)
	if err != nil {
		return err
	}
	if *output == "json" {
		e := json.NewEncoder(stdout)
		e.SetEscapeHTML(false)
		err = e.Encode(r)
	} else {
		err = r.print(stdout)
	}
	if err == nil && *check && !r.met() {
		err = errors.New("a promise is missed")
	}
	return err
}

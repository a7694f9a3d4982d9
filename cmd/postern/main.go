// Command postern is the whole product: a control-plane node, an edge, a DNS
// server, all of them on one machine, and the tools that talk to them.
//
// Each subcommand has a file of its own. Commands parse flags, compose the Runs
// of the packages that do the work, and print; nothing else lives here.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/posternhq/postern/internal/buildinfo"
)

// Exit codes of every command.
const (
	exitDid      = 0
	exitCouldNot = 1
	exitUsage    = 2
)

// globals are the flags that every command takes.
type globals struct {
	Output   string           `short:"o" enum:"text,json" default:"text" help:"How to print answers: text for people, json for scripts."`
	LogLevel string           `name:"log-level" enum:"debug,info,warn,error," default:"" help:"Least severe log lines to write (to standard error): debug, info, warn or error; info for server, edge and dns, else warn."`
	Config   kong.ConfigFlag  `help:"YAML file with settings, one key a flag (dns-speed: 60). Flags and POSTERN_… variables win over it." placeholder:"FILE"`
	Version  kong.VersionFlag `env:"-" help:"Print the version and exit."`

	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

type cli struct {
	globals

	Dev    devCmd    `cmd:"" help:"Run everything on loopback, in one process."`
	Demo   demoCmd   `cmd:"" help:"Play the private-API story on a throw-away cluster."`
	Server serverCmd `cmd:"" help:"Run one control-plane node."`
	Edge   edgeCmd   `cmd:"" help:"Run one edge."`
	DNS    dnsCmd    `cmd:"" name:"dns" help:"Run the DNS server, or ask and steer it."`
	Status statusCmd `cmd:"" help:"Show versions and lag of every node and place."`
	Wait   waitCmd   `cmd:"" help:"Wait until every place shows a version."`
	Policy policyCmd `cmd:"" help:"Resource policies, without a server."`
	VPC    vpcCmd    `cmd:"" name:"vpc" help:"Be a client inside a VPC."`
	Admin  adminCmd  `cmd:"" help:"Operate nodes and places."`
}

func main() {
	os.Exit(run(untilSignal(context.Background()), os.Args[1:], os.Stdout, os.Stderr))
}

// oneRequest is how far apart two signals may be and still be one request to
// stop: timeout(1) and supervisors signal the process and then its whole group,
// and what the second of them cut off would be the graceful stop itself.
const oneRequest = time.Second

// untilSignal returns a context that the first signal ends, which asks for a
// graceful stop; another one, oneRequest later, ends the process at once.
func untilSignal(parent context.Context) context.Context {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { time.AfterFunc(oneRequest, stop) })
	return ctx
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	c.stdin, c.stdout, c.stderr = os.Stdin, stdout, stderr
	exited := -1
	parser, err := newParser(ctx, &c, stdout, stderr, func(code int) { exited = code })
	if err != nil {
		fmt.Fprintf(stderr, "postern: %v\n", err)
		return exitUsage
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 { // --help or --version answered
		return exited
	}
	if err != nil {
		return c.fail(err, exitUsage)
	}
	err = parsed.Run(&c.globals)
	var code exitCode
	var usage usageError
	switch {
	case err == nil:
		return exitDid
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage):
		return c.fail(err, exitUsage)
	default:
		return c.fail(err, exitCouldNot)
	}
}

func newParser(ctx context.Context, c *cli, stdout, stderr io.Writer, exit func(code int)) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("postern"),
		kong.Description("A private API gateway that you run yourself, compatible with the private REST APIs of Amazon API Gateway, and a laboratory for eventual consistency."),
		kong.Writers(stdout, stderr),
		kong.Exit(exit),
		kong.DefaultEnvars("POSTERN"),
		kong.Configuration(yamlResolver),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Vars{"version": buildinfo.Version()},
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
}

// exitCode ends a command that has said everything already.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// usageError is a mistake in what was typed, found after parsing.
type usageError struct{ error }

func (g *globals) fail(err error, code int) int {
	kind := "could_not"
	if code == exitUsage {
		kind = "usage"
	}
	message := plain(err)
	if g.Output == "json" {
		writeJSON(g.stderr, map[string]any{"error": map[string]string{"kind": kind, "message": message}})
	} else {
		fmt.Fprintf(g.stderr, "postern: %s\n", message)
		if code == exitUsage {
			fmt.Fprintln(g.stderr, "Try `postern --help`.")
		}
	}
	return code
}

// logger writes what is as severe as asked for, or as the command's fallback.
func (g *globals) logger(fallback slog.Level) *slog.Logger {
	level := fallback
	if err := level.UnmarshalText([]byte(strings.ToUpper(g.LogLevel))); err != nil {
		level = fallback
	}
	return slog.New(slog.NewJSONHandler(g.stderr, &slog.HandlerOptions{Level: level}))
}

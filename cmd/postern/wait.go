package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

type waitCmd struct {
	clientFlags
	Index   uint64        `env:"-" help:"Version to wait for: the index that a write answered in x-postern-version." xor:"version" placeholder:"N"`
	Latest  bool          `env:"-" help:"Wait for the newest version of the moment the command starts." xor:"version"`
	For     []string      `help:"Places that count: edges, dns (both by default)." enum:"edges,dns" default:"edges,dns"`
	Timeout time.Duration `help:"Give up after this long; 0 waits for ever." default:"0s"`
}

// Help is shown by `postern wait --help`.
func (waitCmd) Help() string {
	return `The barrier: returns when every registered place shows the version or a later one. A place that can't be reached
blocks, by name, because it may still be serving. Exit code 0: reached; 1: timed out, or a place refused the version.

Examples:
  postern wait --latest --for edges --timeout 10s
  postern wait --index 42 -o json`
}

type waitJSON struct {
	Index    uint64      `json:"index"`
	Reached  bool        `json:"reached"`
	WaitedMS int64       `json:"waited_ms"`
	Blocking []placeJSON `json:"blocking"`
}

func (c *waitCmd) Run(ctx context.Context, g *globals) error {
	if c.Index == 0 && !c.Latest {
		return usageError{errors.New("wait: one of --index N and --latest must be given")}
	}
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	stream, err := client.Wait(ctx, &adminv1.WaitRequest{Index: c.Index, Kinds: c.For, TimeoutMs: c.Timeout.Milliseconds()})
	if err != nil {
		return err
	}
	interactive := isTerminal(g.stderr) && g.Output == "text"
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("the cluster ended the wait without an answer")
		}
		if err != nil {
			return err
		}
		if !m.GetDone() {
			if interactive {
				done := int(m.GetTotal()) - len(m.GetBlocking())
				fmt.Fprintf(g.stderr, "\r\033[K%s %d/%d places at version %d  %s", bar(done, int(m.GetTotal()), 30), done, m.GetTotal(), m.GetIndex(), blockers(m.GetBlocking()))
			}
			continue
		}
		if interactive {
			fmt.Fprint(g.stderr, "\r\033[K")
		}
		return c.answer(g, m)
	}
}

func (c *waitCmd) answer(g *globals, m *adminv1.WaitResponse) error {
	if g.Output == "json" {
		writeJSON(g.stdout, waitJSON{m.GetIndex(), m.GetReached(), m.GetWaitedMs(), placesJSON(m.GetBlocking())})
	} else if m.GetReached() {
		fmt.Fprintf(g.stdout, "version %d is shown by all %d places (waited %d ms)\n", m.GetIndex(), m.GetTotal(), m.GetWaitedMs())
	} else {
		fmt.Fprintf(g.stdout, "version %d is not shown by all %d places (waited %d ms)\n", m.GetIndex(), m.GetTotal(), m.GetWaitedMs())
		for _, p := range m.GetBlocking() {
			fmt.Fprintf(g.stdout, "  %s  version %d  %s  %s\n", p.GetId(), p.GetVersion(), p.GetState(), p.GetReason())
		}
	}
	if !m.GetReached() {
		return exitCode(exitCouldNot)
	}
	return nil
}

func blockers(places []*adminv1.Place) string {
	var names []string
	for i, p := range places {
		if i == 3 {
			names = append(names, "…")
			break
		}
		names = append(names, p.GetId())
	}
	if len(names) == 0 {
		return ""
	}
	return "waiting for " + strings.Join(names, ", ")
}

// isTerminal says whether a person watches the writer.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

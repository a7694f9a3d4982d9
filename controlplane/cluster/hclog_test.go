package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestRaftLogger(t *testing.T) {
	var out bytes.Buffer
	ending := false
	l := newRaftLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), func() bool { return ending })
	for _, test := range []struct {
		name string
		log  func()
		want []string // nothing: no line
	}{
		{"an error is what raft copes with", func() { l.Error("failed", "peer", "b") }, []string{"level=WARN", "msg=failed", "peer=b"}},
		{"a warning", func() { l.Warn("w") }, []string{"level=INFO"}},
		{"news", func() { l.Info("i") }, []string{"level=DEBUG"}},
		{"details", func() { l.Debug("d"); l.Trace("t") }, nil},
		{"what this node closed itself", func() { l.Error("failed", "error", fmt.Errorf("read: %w", net.ErrClosed)) }, []string{"level=DEBUG"}},
		{"what another did", func() { l.Error("failed", "error", errors.New("reset")) }, []string{"level=WARN", "error=reset"}},
		{"what others do while it ends", func() {
			ending = true
			defer func() { ending = false }()
			l.Error("failed", "error", errors.New("reset"))
		}, []string{"level=DEBUG", "error=reset"}},
		{"a format", func() { l.Warn("w", "servers", hclog.Fmt("%+v", []int{1})) }, []string{"servers=[1]"}},
		{"attributes of its parent", func() { l.With("id", "x").Named("sub").Error("e") }, []string{"id=x"}},
		{"through the standard library", func() { l.StandardLogger(nil).Print("hello") }, []string{"level=DEBUG", "msg=hello"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out.Reset()
			test.log()
			line := out.String()
			if (line == "") != (test.want == nil) {
				t.Fatalf("logged %q", line)
			}
			for _, part := range test.want {
				if !strings.Contains(line, part) {
					t.Errorf("logged %q, want %s", line, part)
				}
			}
		})
	}
}

// A dead peer is tried several times a second; it is news once a minute.
func TestRaftLoggerRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newRaftLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})), func() bool { return false })
		dead := func(peer string) {
			l.Named("raft").Error("failed to heartbeat to", "peer", peer, "error", errors.New("refused"))
		}
		for range 100 {
			dead("b")
		}
		dead("c")
		l.Error("failed to appendEntries to", "peer", "b")
		if got := strings.Count(out.String(), "\n"); got != 3 {
			t.Errorf("%d lines, want one for each message and peer:\n%s", got, out.String())
		}
		time.Sleep(quietFor)
		dead("b")
		if got := strings.Count(out.String(), "\n"); got != 4 {
			t.Errorf("%d lines after a minute, want 4", got)
		}
	})
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLogger writes raft's messages to slog, one level lower than raft has
// them: what raft calls an error (a peer that can't be reached) is what it is
// there to cope with, and its news are details here.
type raftLogger struct {
	out     *slog.Logger
	ending  func() bool
	name    string
	implied []any
	said    *said
}

// newRaftLogger returns one for a node that is ending when ending says so: from
// then on all is detail, since peers that may be ending too are no news.
func newRaftLogger(out *slog.Logger, ending func() bool) hclog.Logger {
	return &raftLogger{out: out, ending: ending, said: &said{last: map[string]time.Time{}}}
}

// quietFor is how long an error about the same peer is no news: raft tries a
// dead one several times a second for as long as it is dead.
const quietFor = time.Minute

// said is when each error was last logged as one, by message and peer.
type said struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// repeated reports whether this error was said lately. Messages are raft's own
// constants and peers are members, so the map stays small.
func (s *said) repeated(msg string, args []any) bool {
	key := ""
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == "peer" || args[i] == "target" {
			key = fmt.Sprintf("%s %v", msg, args[i+1])
		}
	}
	if key == "" {
		return false
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.last[key]; ok && now.Sub(last) < quietFor {
		return true
	}
	s.last[key] = now
	return false
}

func lower(level hclog.Level) slog.Level {
	switch level {
	case hclog.Error:
		return slog.LevelWarn
	case hclog.Warn:
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}

// expected are raft's complaints of what is nobody's fault: a follower that
// tellFollowers told of a commit before it has the entry, a leader that learns
// from a peer that it has a successor.
var expected = map[string]bool{
	"failed to get previous log":                true,
	"peer has newer term, stopping replication": true,
}

// ownDoing recognises errors that this node has brought about by closing its
// connections, when it stops or its disk hangs; it says so itself.
func ownDoing(arg any) bool {
	err, ok := arg.(error)
	return ok && (errors.Is(err, net.ErrClosed) || errors.Is(err, errGateShut) || errors.Is(err, errNotReplicating))
}

func (l *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	if expected[msg] || slices.ContainsFunc(args, ownDoing) || l.ending() {
		level = hclog.Info
	}
	if level >= hclog.Error && l.said.repeated(msg, args) {
		level = hclog.Info
	}
	ctx := context.Background()
	if level < hclog.Info || !l.out.Enabled(ctx, lower(level)) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	l.out.Log(ctx, lower(level), msg, args...)
}

func (l *raftLogger) Trace(string, ...any)          {}
func (l *raftLogger) Debug(string, ...any)          {}
func (l *raftLogger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *raftLogger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *raftLogger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *raftLogger) IsTrace() bool { return false }
func (l *raftLogger) IsDebug() bool { return false }
func (l *raftLogger) IsInfo() bool  { return l.out.Enabled(context.Background(), slog.LevelDebug) }
func (l *raftLogger) IsWarn() bool  { return l.out.Enabled(context.Background(), slog.LevelInfo) }
func (l *raftLogger) IsError() bool { return l.out.Enabled(context.Background(), slog.LevelWarn) }

func (l *raftLogger) ImpliedArgs() []any { return l.implied }

func (l *raftLogger) With(args ...any) hclog.Logger {
	return &raftLogger{out: l.out.With(args...), ending: l.ending, name: l.name, said: l.said, implied: append(l.implied[:len(l.implied):len(l.implied)], args...)}
}

func (l *raftLogger) Name() string { return l.name }

func (l *raftLogger) Named(name string) hclog.Logger { return l.ResetNamed(name) }

func (l *raftLogger) ResetNamed(name string) hclog.Logger {
	return &raftLogger{out: l.out, ending: l.ending, name: name, said: l.said, implied: l.implied}
}

func (l *raftLogger) SetLevel(hclog.Level) {}

func (l *raftLogger) GetLevel() hclog.Level { return hclog.Info }

func (l *raftLogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.out.Handler(), slog.LevelDebug)
}

func (l *raftLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(nil).Writer()
}

package procs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Process is one role in a process of its own. It can be started again after
// it has ended, on the same data and addresses. Methods may be called from many
// goroutines, Start by one at a time.
type Process struct {
	// ID is its name in the cluster.
	ID string
	// API and GRPC are set for nodes, Public and Port for edges, DNS for the DNS
	// server, Admin for all.
	API, GRPC, Public, DNS, Admin string
	Port                          int
	// Dir is the folder in which this role keeps its data.
	Dir string
	// Log is the file with everything that it wrote, over all its runs.
	Log string

	binary string
	args   []string

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
	exit  int
}

// Start starts the process; it does not wait for readiness. More arguments than
// it was made with hold for this run.
func (p *Process) Start(more ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && !closed(p.ended) {
		return fmt.Errorf("start %s: it is running", p.ID)
	}
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.ID, err)
	}
	defer out.Close()
	cmd := exec.Command(p.binary, append(append([]string{}, p.args...), more...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = bound()
	fmt.Fprintf(out, "── %s starts: %v\n", time.Now().UTC().Format(time.RFC3339Nano), cmd.Args[1:])
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.ID, err)
	}
	ended := make(chan struct{})
	p.cmd, p.ended = cmd, ended
	go func() {
		err := cmd.Wait()
		code := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = exit.ExitCode() // -1: by a signal
		} else if err != nil {
			code = -1
		}
		p.mu.Lock()
		p.exit = code
		p.mu.Unlock()
		close(ended)
	}()
	return nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Ended is closed when the run that is under way has ended; nil before the first.
func (p *Process) Ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// ExitCode is that of the last run, -1 if a signal ended it.
func (p *Process) ExitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// Running says whether the process is there, paused or not.
func (p *Process) Running() bool {
	ended := p.Ended()
	return ended != nil && !closed(ended)
}

// PID is the process's number, 0 if it was never started.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *Process) signal(s os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("signal %s: it was never started", p.ID)
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.ID, err)
	}
	return nil
}

// Kill ends the process at once, as a crash or a power cut of its own would.
func (p *Process) Kill() error {
	if !p.Running() {
		return nil
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.Ended()
	return nil
}

// Stop asks the process to end and waits until it has.
func (p *Process) Stop(ctx context.Context) (exit int, err error) {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case <-p.Ended():
		return p.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("stop %s: %w", p.ID, context.Cause(ctx))
	}
}

// Pause stops the process's clock, so to speak: it keeps its sockets and does nothing.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

// Ready asks the process once whether it is ready.
func (p *Process) Ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Admin+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return fmt.Errorf("%s is not ready: %s", p.ID, why)
	}
	return nil
}

// pollEvery is how often a state that no signal tells of is looked at.
const pollEvery = 10 * time.Millisecond

// AwaitReady returns when the process is ready, or why it never will be.
func (p *Process) AwaitReady(ctx context.Context) error {
	for {
		err := p.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Ended():
			return fmt.Errorf("%s ended with exit code %d before it was ready", p.ID, p.ExitCode())
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", p.ID, context.Cause(ctx), err)
		case <-time.After(pollEvery):
		}
	}
}

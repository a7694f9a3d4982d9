// Package procs runs the roles of a cluster as real processes on this machine,
// with real disks and sockets, and does to them what the world does: it kills,
// stops, pauses and starts them again.
//
// It owns the processes that it started, their addresses and their folder, and
// ends no others. A Cluster's processes die with the process that made them
// (where the system can do that). What a cluster is for, and whether it kept its
// promises, is the caller's business.
package procs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// Config of a Cluster.
type Config struct {
	// Binary is postern; Build makes it.
	Binary string
	// Dir takes the roles' data and their logs.
	Dir string
	// Nodes and Edges say how many there are; a DNS server comes with them.
	Nodes, Edges int
	// OwnPorts gives each edge a port of its own, so that a client can choose
	// the edge. Without it they share the endpoints' addresses and port.
	OwnPorts bool
	// NodeArgs and EdgeArgs are further arguments of all nodes and edges.
	NodeArgs, EdgeArgs []string
	// Auth is how nodes know callers; "none" unless given.
	Auth string
}

// Cluster is a set of processes that know each other.
type Cluster struct {
	Nodes []*Process
	Edges []*Process
	DNS   *Process
	// Dir is the data folder that all roles share.
	Dir string

	cfg     Config
	servers string
	logs    string
}

// Build compiles the binary of this module into a folder.
func Build(ctx context.Context, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "postern")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/posternhq/postern/cmd/postern")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build postern: %w\n%s", err, out)
	}
	return binary, nil
}

// New chooses addresses and starts nothing.
func New(cfg Config) (*Cluster, error) {
	c := &Cluster{cfg: cfg, Dir: filepath.Join(cfg.Dir, "data"), logs: filepath.Join(cfg.Dir, "logs")}
	for _, dir := range []string{c.Dir, c.logs} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make folder: %w", err)
		}
	}
	var free ports
	defer free.release()
	if err := c.nodes(&free); err != nil {
		return nil, err
	}
	if err := c.edges(&free); err != nil {
		return nil, err
	}
	return c, c.dns(&free)
}

func (c *Cluster) process(id, folder string, free *ports) (*Process, error) {
	admin, err := free.address()
	return &Process{ID: id, Admin: admin, Dir: filepath.Join(c.Dir, folder), Log: filepath.Join(c.logs, id+".log"), binary: c.cfg.Binary}, err
}

func (c *Cluster) arguments(p *Process, role string, more ...string) {
	p.args = append([]string{role, "--id", p.ID, "--data", c.Dir, "--listen-admin", p.Admin, "--log-level", "info"}, more...)
}

func (c *Cluster) nodes(free *ports) error {
	var peers, servers []string
	for i := range c.cfg.Nodes {
		p, err := c.node("n"+strconv.Itoa(i+1), free)
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, p)
		peers = append(peers, p.ID+"="+p.GRPC)
		servers = append(servers, p.GRPC)
	}
	c.servers = strings.Join(servers, ",")
	for _, p := range c.Nodes {
		p.args = append(p.args, "--peers", strings.Join(peers, ","))
	}
	return nil
}

func (c *Cluster) node(id string, free *ports) (*Process, error) {
	p, err := c.process(id, "nodes/"+id, free)
	if err != nil {
		return nil, err
	}
	if p.API, err = free.address(); err != nil {
		return nil, err
	}
	if p.GRPC, err = free.address(); err != nil {
		return nil, err
	}
	c.arguments(p, "server", append([]string{"--listen-api", p.API, "--listen-grpc", p.GRPC, "--auth", cmp.Or(c.cfg.Auth, "none")}, c.cfg.NodeArgs...)...)
	return p, nil
}

// Joining returns a further node, not started, that asks the others to add it.
// It replaces the one with its id, if there is one.
func (c *Cluster) Joining(id string) (*Process, error) {
	var free ports
	defer free.release()
	p, err := c.node(id, &free)
	if err != nil {
		return nil, err
	}
	p.args = append(p.args, "--join", c.servers)
	for i, known := range c.Nodes {
		if known.ID == id {
			c.Nodes[i] = p
			return p, nil
		}
	}
	c.Nodes = append(c.Nodes, p)
	return p, nil
}

func (c *Cluster) edges(free *ports) error {
	port := 0
	for i := range c.cfg.Edges {
		p, err := c.process("edge"+strconv.Itoa(i+1), "edges/edge"+strconv.Itoa(i+1), free)
		if err != nil {
			return err
		}
		if port == 0 || c.cfg.OwnPorts {
			if port, err = free.block(1); err != nil {
				return err
			}
		}
		p.Port, p.Public = port, "127.0.0.1:"+strconv.Itoa(port)
		c.arguments(p, "edge", append([]string{"--servers", c.servers, "--edge-port", strconv.Itoa(port), "--listen-public", p.Public}, c.cfg.EdgeArgs...)...)
		c.Edges = append(c.Edges, p)
	}
	return nil
}

func (c *Cluster) dns(free *ports) error {
	p, err := c.process("dns1", "dns", free)
	if err != nil {
		return err
	}
	if p.DNS, err = free.address(); err != nil {
		return err
	}
	authorities, err := free.block(4)
	if err != nil {
		return err
	}
	c.arguments(p, "dns", "--servers", c.servers, "--listen-dns", p.DNS, "--authority-port", strconv.Itoa(authorities))
	c.DNS = p
	return nil
}

// All are the processes of all roles.
func (c *Cluster) All() []*Process {
	all := append([]*Process{}, c.Nodes...)
	all = append(all, c.Edges...)
	return append(all, c.DNS)
}

// Start starts all processes and waits until each is ready and every place counts.
func (c *Cluster) Start(ctx context.Context) error {
	if err := StartAll(ctx, c.All()...); err != nil {
		return err
	}
	for {
		status, err := c.Status(ctx)
		if err == nil {
			edges, others := 0, 0
			for _, p := range status.GetPlaces() {
				if p.GetKind() == "edge" {
					edges++
				} else {
					others++
				}
			}
			if edges == len(c.Edges) && others > 0 {
				return nil
			}
			err = fmt.Errorf("%d of %d edges are registered, and %d places of DNS", edges, len(c.Edges), others)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("start: %w: %w", context.Cause(ctx), err)
		case <-time.After(pollEvery):
		}
	}
}

// StartAll starts processes and waits until they are ready.
func StartAll(ctx context.Context, processes ...*Process) error {
	for _, p := range processes {
		if err := p.Start(); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range processes {
		group.Go(func() error { return p.AwaitReady(ctx) })
	}
	return group.Wait()
}

// KillAll kills processes at the same moment, as near as a program can.
func KillAll(processes ...*Process) error {
	var group errgroup.Group
	for _, p := range processes {
		group.Go(p.Kill)
	}
	return group.Wait()
}

// Close kills what still runs. The folder stays.
func (c *Cluster) Close() error { return KillAll(c.All()...) }

// Conn connects to the gRPC services of a node, in the clear.
func (p *Process) Conn() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+p.API, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// Status is that of the cluster, by the first node that gives one.
func (c *Cluster) Status(ctx context.Context) (*adminv1.StatusResponse, error) {
	errs := []error{errors.New("no node answers")}
	for _, p := range c.Nodes {
		if !p.Running() {
			continue
		}
		status, err := p.status(ctx)
		if err == nil {
			return status, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (p *Process) status(ctx context.Context) (*adminv1.StatusResponse, error) {
	conn, err := p.Conn()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	status, err := adminv1.NewAdminClient(conn).Status(ctx, &adminv1.StatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("status of %s: %w", p.ID, err)
	}
	return status, nil
}

// Leader returns the node that leads, once there is one.
func (c *Cluster) Leader(ctx context.Context) (*Process, error) {
	for {
		status, err := c.Status(ctx)
		if err == nil {
			for _, p := range c.Nodes {
				if p.ID == status.GetLeader() && p.Running() {
					return p, nil
				}
			}
			err = fmt.Errorf("the leader is %q", status.GetLeader())
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a leader: %w: %w", context.Cause(ctx), err)
		case <-time.After(pollEvery):
		}
	}
}

// Result is what a command said and how it ended.
type Result struct {
	Stdout, Stderr string
	Exit           int
}

// Command runs a client command of the binary against a running node.
func (c *Cluster) Command(ctx context.Context, args ...string) (Result, error) {
	for _, p := range c.Nodes {
		if p.Running() {
			return command(ctx, c.cfg.Binary, append(args, "--api", "http://"+p.API))
		}
	}
	return Result{}, errors.New("no node runs")
}

func command(ctx context.Context, binary string, args []string) (Result, error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	result := Result{Stdout: stdout.String(), Stderr: stderr.String(), Exit: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		err = nil
	}
	return result, err
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// parse parses arguments as run does, without running anything.
func parse(t *testing.T, args ...string) (*cli, error) {
	t.Helper()
	c := &cli{}
	parser, err := newParser(t.Context(), c, &bytes.Buffer{}, &bytes.Buffer{}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(args)
	return c, err
}

// TestDeployedConfigurations checks that the files under deploy/ are what the
// commands take, whole: every key known, every value accepted.
func TestDeployedConfigurations(t *testing.T) {
	files, err := filepath.Glob("../../deploy/local/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no configuration files: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		m := regexp.MustCompile(`^# postern (\w+) --config `).FindStringSubmatch(first)
		if m == nil {
			t.Errorf("%s does not begin with the command that reads it", file)
			continue
		}
		c, err := parse(t, m[1], "--config", file)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		id := map[string]string{"server": c.Server.ID, "edge": c.Edge.ID, "dns": c.DNS.Serve.ID}[m[1]]
		if want := strings.TrimSuffix(filepath.Base(file), ".yaml"); id != want {
			t.Errorf("%s: id %q, want %q", file, id, want)
		}
	}
}

// TestPrecedence: a flag wins over the environment, which wins over the file.
func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("nodes: 1\nedges: 7\napi: http://127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parse(t, "dev", "--config", file)
	if err != nil || c.Dev.Nodes != 1 || c.Dev.Edges != 7 {
		t.Errorf("from the file: %d nodes, %d edges, %v", c.Dev.Nodes, c.Dev.Edges, err)
	}
	t.Setenv("POSTERN_EDGES", "5")
	if c, err = parse(t, "dev", "--config", file); err != nil || c.Dev.Edges != 5 {
		t.Errorf("with the environment: %d edges, %v", c.Dev.Edges, err)
	}
	if c, err = parse(t, "dev", "--config", file, "--edges", "3"); err != nil || c.Dev.Edges != 3 {
		t.Errorf("with a flag: %d edges, %v", c.Dev.Edges, err)
	}
	if err := os.WriteFile(file, []byte("dns-sped: 60\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = parse(t, "dev", "--config", file); err == nil || !strings.Contains(err.Error(), `"dns-sped"`) {
		t.Errorf("an unknown key = %v, want an error that names it", err)
	}
}

// TestHelpTeaches checks that every command's help has an example.
func TestHelpTeaches(t *testing.T) {
	c := &cli{}
	parser, err := newParser(t.Context(), c, &bytes.Buffer{}, &bytes.Buffer{}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	leaves := 0
	var visit func(n *kong.Node)
	visit = func(n *kong.Node) {
		if n.Leaf() && n.Type == kong.CommandNode {
			leaves++
			if !strings.Contains(n.Detail, "Example") || !strings.Contains(n.Detail, "postern ") {
				t.Errorf("`postern %s --help` shows no example", n.Path())
			}
		}
		for _, child := range n.Children {
			visit(child)
		}
	}
	visit(parser.Model.Node)
	if leaves < 10 {
		t.Errorf("%d commands were looked at", leaves)
	}
}

// TestExitCodes: 2 for bad usage, 1 for what could not be done, errors to
// standard error, as JSON if asked.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"bogus"}, exitUsage, "unexpected argument bogus"},
		{[]string{"wait"}, exitUsage, "one of --index N and --latest"},
		{[]string{"dev", "--nodes", "2"}, exitUsage, "--nodes 2: want 1, 3 or 5"},
		{[]string{"server", "--id", "n1", "--data", t.TempDir(), "--peers", "nonsense"}, exitUsage, "want ID=HOST:PORT"},
		{[]string{"status", "--api", "ftp://x"}, exitUsage, "--api"},
		{[]string{"status", "--api", "http://127.0.0.1:1"}, exitCouldNot, "is a cluster running?"},
		{[]string{"status", "--api", "http://127.0.0.1:1", "-o", "json"}, exitCouldNot, `{"error":{"kind":"could_not"`},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), c.args, &stdout, &stderr); code != c.code {
			t.Errorf("postern %s: exit %d, want %d", strings.Join(c.args, " "), code, c.code)
		}
		if !strings.Contains(stderr.String(), c.want) || stdout.Len() > 0 {
			t.Errorf("postern %s: stderr %q, want %q in it; stdout %q", strings.Join(c.args, " "), stderr.String(), c.want, stdout.String())
		}
	}
}

// TestPlain: an error of the connection says why and where to look; a cluster
// that answered is not looked for.
func TestPlain(t *testing.T) {
	for _, c := range []struct{ from, want string }{
		{`connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`, "dial tcp 127.0.0.1:1: connect: connection refused\n(is a cluster running?"},
		{"node nope is not a voter", "node nope is not a voter"},
	} {
		got := plain(fmt.Errorf("ask: %w", status.Error(codes.Unavailable, c.from)))
		if !strings.HasPrefix(got, "ask: "+c.want) || strings.Contains(c.want, "running") != strings.Contains(got, "running") {
			t.Errorf("%q is shown as %q", c.from, got)
		}
	}
}

// TestOneRequestToStop: a signal that comes twice at once, as from timeout(1),
// asks for one graceful stop. Were the second one not caught, it would end this test.
func TestOneRequestToStop(t *testing.T) {
	ctx := untilSignal(t.Context())
	// Whatever becomes of untilSignal, the process outlives the test's signals
	// once it has ended.
	defer signal.Ignore(syscall.SIGTERM)
	for range 2 {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		time.Sleep(20 * time.Millisecond) // for what would stop catching it too early
	}
}

func TestDNSProfileFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "office.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("seconds.txt", "1\n2\n3\n")
	write("office.yaml", "name: office\nsync: {empirical: seconds.txt}\n")
	for _, args := range [][]string{{"dev"}, {"server", "--id", "n1", "--data", dir}} {
		c, err := parse(t, append(args, "--dns-profile-file", file)...)
		if err != nil {
			t.Fatal(err)
		}
		flags := &c.Dev.settingsFlags
		if args[0] == "server" {
			flags = &c.Server.settingsFlags
		}
		s, err := flags.settings()
		if err != nil || s.GetDnsProfile() != "office" || len(s.GetCustomDnsProfile().GetSync().GetValues()) != 3 {
			t.Errorf("%s: %v, %v", args[0], s, err)
		}
	}
	for _, c := range []struct{ name, text, flag, want string }{
		{"a mistake", "name: office\nlost: often\n", "", "office.yaml:2:7: want a number"},
		{"a missing file", "name: office\nsync: {empirical: other.txt}\n", "", "office.yaml:2:19: open other.txt"},
		{"two profiles", "name: office\n", "--dns-profile=aws", "want one of them"},
	} {
		write("office.yaml", c.text)
		var stdout, stderr bytes.Buffer
		args := []string{"dev", "--dns-profile-file", file}
		if c.flag != "" {
			args = append(args, c.flag)
		}
		if code := run(t.Context(), args, &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%s: exit %d, %s", c.name, code, &stderr)
		}
	}
}

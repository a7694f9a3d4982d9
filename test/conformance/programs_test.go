package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/test/optional"
)

// patience is what a program of another language gets on a busy machine.
const patience = 2 * time.Minute

// program runs clients in an environment that leads them to Postern alone.
type program struct {
	t   *testing.T
	env []string
	dir string
}

func newProgram(t *testing.T, api, account, region string) program {
	home := t.TempDir()
	return program{t: t, env: []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + home,
		"POSTERN_ENDPOINT=http://" + api,
		"AWS_ACCESS_KEY_ID=" + account,
		"AWS_SECRET_ACCESS_KEY=secret",
		"AWS_DEFAULT_REGION=" + region,
		"AWS_REGION=" + region,
		"AWS_CONFIG_FILE=" + filepath.Join(home, "none"),
		"AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(home, "none"),
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_PAGER=",
		"AWS_MAX_ATTEMPTS=1",
		"AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE=1",
		"NO_PROXY=*", "no_proxy=*",
		"LC_ALL=C.UTF-8", "PYTHONIOENCODING=utf-8",
	}}
}

// output runs a program and returns its output, errors and success.
func (p program) output(name string, args ...string) (stdout, stderr string, ok bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir = p.env, p.dir
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		p.t.Fatalf("%s did not end: %v\n%s", name, ctx.Err(), errs.String())
	}
	return out.String(), strings.TrimSpace(errs.String()), err == nil
}

func (p program) decode(text string, into any) {
	p.t.Helper()
	if strings.TrimSpace(text) == "" {
		return
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		p.t.Fatalf("the output is no JSON (%v):\n%s", err, text)
	}
}

// awsCLI is the AWS CLI, whichever version is installed.
type awsCLI struct{ program }

func newCLI(t *testing.T, api, account, region string) awsCLI {
	optional.Tool(t, "aws")
	optional.Tool(t, "sh")
	return awsCLI{newProgram(t, api, account, region)}
}

// prelude lets commands be written as in the seed document. Old versions don't
// know AWS_ENDPOINT_URL.
const prelude = `aws() { command aws --endpoint-url "$POSTERN_ENDPOINT" --output json "$@"; }` + "\n"

// run runs a command as it is typed and returns its output.
func (c awsCLI) run(command string) map[string]any {
	c.t.Helper()
	stdout, stderr, ok := c.output("sh", "-c", prelude+command)
	if !ok {
		c.t.Fatalf("%s\n%s", command, stderr)
	}
	out := make(map[string]any)
	c.decode(stdout, &out)
	return out
}

// silent runs a command that has no output.
func (c awsCLI) silent(command string) {
	c.t.Helper()
	if _, stderr, ok := c.output("sh", "-c", prelude+command); !ok {
		c.t.Fatalf("%s\n%s", command, stderr)
	}
}

// fails runs a command that must fail and returns what it says.
func (c awsCLI) fails(command string) string {
	c.t.Helper()
	stdout, stderr, ok := c.output("sh", "-c", prelude+command)
	if ok {
		c.t.Fatalf("%s\nshould fail; it says %s", command, stdout)
	}
	return stderr
}

// node runs a flow of clients/ with one of the SDKs for JavaScript.
func node(t *testing.T, sdk, api, account string, into any, args ...string) {
	t.Helper()
	name := optional.Tool(t, "node")
	folder, err := filepath.Abs("clients")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "aws-sdk", "package.json")); err != nil {
		optional.Missing(t, "the AWS SDKs for JavaScript are not installed: cd test/conformance/clients && npm ci")
	}
	p := newProgram(t, api, account, "us-west-2")
	p.dir = folder
	stdout, stderr, ok := p.output(name, append([]string{sdk + ".js"}, args...)...)
	if !ok {
		t.Fatalf("node %s.js %s:\n%s", sdk, strings.Join(args, " "), stderr)
	}
	p.decode(stdout, into)
}

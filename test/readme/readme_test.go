// Package readme runs the commands of the documents as they stand there: the
// README's tour, then those of the pages under docs/, in one session.
package readme

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posternhq/postern/test/optional"
)

// tour returns the blocks of a document that are marked `sh tour`, in order.
func tour(t *testing.T, document string) string { return marked(t, document, "sh tour") }

// marked returns the blocks of a document with that mark, in order.
func marked(t *testing.T, document, mark string) string {
	t.Helper()
	var script strings.Builder
	for _, b := range blocks(t, document) {
		if b.info == mark {
			script.WriteString(b.text)
		}
	}
	if script.Len() == 0 {
		t.Fatalf("%s has no block marked `%s`", document, mark)
	}
	return script.String()
}

// session runs a script beside a `postern dev` with these arguments, and the real
// AWS CLI. It returns what was printed. The default ports must be free.
func session(t *testing.T, script string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "bin", "postern")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/postern").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	startDev(t, ctx, binary, filepath.Join(dir, "ready.json"), args...)
	// Releases before 1.29 and 2.13 don't read AWS_ENDPOINT_URL, so the name "aws"
	// stands for one that is given it.
	older := fmt.Sprintf("#!/bin/sh\nexec %q ${AWS_ENDPOINT_URL:+--endpoint-url \"$AWS_ENDPOINT_URL\"} \"$@\"\n", optional.Tool(t, "aws"))
	if err := os.WriteFile(filepath.Join(dir, "bin", "aws"), []byte(older), 0o755); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(ctx, "bash", "-e", "-o", "pipefail", "-c", script)
	run.Dir = dir
	run.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"), "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true")
	var stdout, stderr bytes.Buffer
	run.Stdout, run.Stderr = &stdout, &stderr
	if err := run.Run(); err != nil {
		t.Fatalf("the session failed: %v\n%s\n%s", err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// TestTour starts `postern dev` with its defaults, as the README says, and runs
// the tour's commands.
func TestTour(t *testing.T) {
	for _, tool := range []string{"bash", "aws", "curl"} {
		optional.Tool(t, tool)
	}
	script := tour(t, "../../README.md")
	for _, page := range []string{"operate.md", "dns.md", "identity.md", "security.md"} {
		script += tour(t, "../../docs/"+page)
	}
	printed := session(t, script)
	for want, times := range map[string]int{
		`[{"id": 1, "type": "cat"}]`: 3, // by the private DNS name, by the alias, and signed
		"no such name out here":      1,
		"edge2":                      1,
		"NOERROR":                    1, // by Route 53's own test of a hosted zone

		"arn:aws:iam::123456789012:user/team/alice":        2, // when made, and by her key
		"arn:aws:sts::444455556666:assumed-role/shared/s1": 1,
		"secret access key":                                1,
		"Missing Authentication Token":                     1,
		"The security token included in the request is in": 1, // by a key that was taken away
	} {
		if got := strings.Count(printed, want); got < times {
			t.Errorf("the tour printed %q %d times, want %d:\n%s", want, got, times, printed)
		}
	}
}

// startDev starts a cluster on the default ports and stops it at the test's end.
func startDev(t *testing.T, ctx context.Context, binary, ready string, args ...string) {
	t.Helper()
	// Not bound to ctx, which ends before the clean-up: it is to stop gracefully.
	dev := exec.Command(binary, append([]string{"dev", "--ready-file", ready}, args...)...)
	var output bytes.Buffer
	dev.Stdout, dev.Stderr = &output, &output
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- dev.Wait() }()
	t.Cleanup(func() {
		_ = dev.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil && !t.Skipped() {
				t.Errorf("postern dev ended with %v\n%s", err, output.String())
			}
		case <-time.After(30 * time.Second):
			_ = dev.Process.Kill()
			t.Errorf("postern dev did not stop: %v\n%s", <-ended, output.String())
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if data, err := os.ReadFile(ready); err == nil {
			var addresses map[string]any
			if err := json.Unmarshal(data, &addresses); err != nil {
				t.Fatalf("ready file: %v", err)
			}
			return
		}
		select {
		case err := <-ended:
			ended <- err
			if strings.Contains(output.String(), "address already in use") {
				optional.Missing(t, "the documents use the default ports, and something listens on one of them")
			}
			t.Fatalf("postern dev ended before it was ready: %v\n%s", err, output.String())
		case <-ctx.Done():
			t.Fatalf("postern dev did not become ready\n%s", output.String())
		case <-tick.C:
		}
	}
}

// Package optional says what a test does without: a tool that is missing skips
// the test with the reason, or fails it where everything is meant to be there.
package optional

import (
	"os"
	"os/exec"
	"testing"
)

// requireAll is set in CI, which installs every tool.
const requireAll = "POSTERN_REQUIRE_ALL"

// Tool returns the path of a program, or skips the test.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, name+" is not installed")
	}
	return path
}

// Missing skips the test for the reason, or fails it under POSTERN_REQUIRE_ALL.
func Missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv(requireAll) != "" {
		t.Fatalf("%s, and %s is set", reason, requireAll)
	}
	t.Skipf("skipped: %s", reason)
}

package readme

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/test/optional"
)

// block is one fenced block of a page.
type block struct {
	line int
	// info is what follows the fence. The first word is the language; the second
	// says what the test does with it: "run" executes, "output" is what the
	// block before it prints, and any other word names the file to write.
	info string
	text string
}

// blocks returns the fenced blocks of a document, in order.
func blocks(t *testing.T, document string) []block {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var out []block
	inside := false
	for i, line := range strings.Split(string(text), "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && !inside:
			out = append(out, block{line: i + 1, info: info})
			inside = true
		case fence:
			inside = false
		case inside:
			out[len(out)-1].text += line + "\n"
		}
	}
	return out
}

// TestPolicyPage executes every block of docs/policy.md: files are written,
// commands and programs run, and what they print is what the page says.
func TestPolicyPage(t *testing.T) {
	bash := optional.Tool(t, "bash")
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "bin", "postern"), "../../cmd/postern").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	run := func(b block, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
		if name == "go" {
			cmd.Dir = root // where the module is found
		}
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil || stderr.Len() > 0 {
			t.Errorf("policy.md:%d: %v\n%s%s", b.line, err, stdout.String(), stderr.String())
		}
		return stdout.String()
	}
	printed, ran, compared := "", 0, 0
	for i, b := range blocks(t, "../../docs/policy.md") {
		language, what, _ := strings.Cut(b.info, " ")
		switch what {
		case "run":
			ran++
			if language == "go" {
				file := filepath.Join(dir, fmt.Sprintf("example%d.go", i))
				if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
					t.Fatal(err)
				}
				printed = run(b, "go", "run", file)
			} else {
				printed = run(b, bash, "-e", "-o", "pipefail", "-c", b.text)
			}
		case "output":
			compared++
			if printed != b.text {
				t.Errorf("policy.md:%d: the page says\n%swhat was printed is\n%s", b.line, b.text, printed)
			}
		case "":
			t.Errorf("policy.md:%d: a block that nothing checks", b.line)
		default:
			if err := os.WriteFile(filepath.Join(dir, what), []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if ran < 8 || compared < 8 {
		t.Errorf("only %d blocks were run and %d outputs compared", ran, compared)
	}
}

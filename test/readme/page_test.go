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

// page is a document whose blocks are executed.
type page struct {
	name string // a file of docs/
	// all: a block that nothing checks is a mistake. Otherwise only blocks that
	// are marked "run" or "output" are looked at.
	all bool
	// says: commands may write to standard error.
	says bool
	dir  string // where they run
}

// execute runs the blocks of a page in turn: files are written, commands and
// programs run, and what they print is compared with what the page says.
func (p page) execute(t *testing.T) (ran, compared int) {
	t.Helper()
	bash := optional.Tool(t, "bash")
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(p.dir, "bin", "postern"), "../../cmd/postern").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	run := func(b block, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = p.dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Join(p.dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
		if name == "go" {
			cmd.Dir = root // where the module is found
		}
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil || stderr.Len() > 0 && !p.says {
			t.Errorf("%s:%d: %v\n%s%s", p.name, b.line, err, stdout.String(), stderr.String())
		}
		return stdout.String()
	}
	printed := ""
	for i, b := range blocks(t, "../../docs/"+p.name) {
		language, what, _ := strings.Cut(b.info, " ")
		switch {
		case what == "run":
			ran++
			if language == "go" {
				file := filepath.Join(p.dir, fmt.Sprintf("example%d.go", i))
				if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
					t.Fatal(err)
				}
				printed = run(b, "go", "run", file)
			} else {
				printed = run(b, bash, "-e", "-o", "pipefail", "-c", b.text)
			}
		case what == "output":
			compared++
			if printed != b.text {
				t.Errorf("%s:%d: the page says\n%swhat was printed is\n%s", p.name, b.line, b.text, printed)
			}
		case !p.all:
		case what == "":
			t.Errorf("%s:%d: a block that nothing checks", p.name, b.line)
		default:
			if err := os.WriteFile(filepath.Join(p.dir, what), []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return ran, compared
}

// TestPolicyPage executes every block of docs/policy.md.
func TestPolicyPage(t *testing.T) {
	ran, compared := page{name: "policy.md", all: true, dir: t.TempDir()}.execute(t)
	if ran < 8 || compared < 8 {
		t.Errorf("only %d blocks were run and %d outputs compared", ran, compared)
	}
}

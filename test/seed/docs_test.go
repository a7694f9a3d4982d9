package seed_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// seedRows are the rows of the checklist.
func seedRows() []string {
	var rows []string
	for n := 1; n <= 71; n++ {
		rows = append(rows, fmt.Sprintf("S%d", n))
		if n == 38 {
			for _, part := range "abcdefgh" {
				rows = append(rows, fmt.Sprintf("S38%c", part))
			}
		}
	}
	return rows
}

// later are the rows that wait for what is not built yet.
var later = []string{"S14", "S38"}

// testsIn returns the tests of a file: functions by name, and the subtests that
// are named by a constant as function/name.
func testsIn(path string) (map[string]bool, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		return nil, err
	}
	tests := map[string]bool{}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") {
			continue
		}
		tests[f.Name.Name] = true
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			name, constant := call.Args[0].(*ast.BasicLit)
			if ok && constant && method.Sel.Name == "Run" {
				if text, err := strconv.Unquote(name.Value); err == nil {
					tests[f.Name.Name+"/"+text] = true
				}
			}
			return true
		})
	}
	return tests, nil
}

// rowOf is the row that a test is named after: TestS07_… is S7, …/S41 is S41.
func rowOf(test string) string {
	name := test[strings.LastIndex(test, "/")+1:]
	name, _, _ = strings.Cut(strings.TrimPrefix(name, "Test"), "_")
	if digits, ok := strings.CutPrefix(name, "S0"); ok {
		return "S" + digits
	}
	return name
}

var (
	quoted = regexp.MustCompile("`([^`]+)`")
	rowID  = regexp.MustCompile(`\bS[0-9]+[a-h]?\b`)
)

// TestDocs keeps docs/seed.md true: it names every row once, each with a test
// that exists in the file it says and is named after the row, or after a row
// that the note refers to.
func TestDocs(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "docs", "seed.md"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]map[string]bool{}
	var rows []string
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 4 || !strings.HasPrefix(line, "| S") {
			continue
		}
		row, note := cells[0], cells[3]
		rows = append(rows, row)
		tests, file := quoted.FindAllStringSubmatch(cells[1], -1), strings.Trim(cells[2], "`")
		if slices.Contains(later, row) {
			if len(tests) != 0 || note == "" {
				t.Errorf("%s waits for something: it has no test, and a note that says why", row)
			}
			continue
		}
		if len(tests) == 0 {
			t.Errorf("%s has no test", row)
		}
		if files[file] == nil {
			if files[file], err = testsIn(filepath.Join(root, file)); err != nil {
				t.Errorf("%s: %v", row, err)
				continue
			}
		}
		for _, m := range tests {
			test := m[1]
			if !files[file][test] {
				t.Errorf("%s: %s has no test %s", row, file, test)
			}
			if named := rowOf(test); named != row && !slices.Contains(rowID.FindAllString(note, -1), named) {
				t.Errorf("%s: %s is named after %s, which the note does not mention", row, test, named)
			}
		}
	}
	if want := seedRows(); !slices.Equal(rows, want) {
		t.Errorf("rows are %v, want %v", rows, want)
	}
	// The other way: a test that is named after a row is in the list.
	own, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range own {
		tests, err := testsIn(path)
		if err != nil {
			t.Fatal(err)
		}
		for test := range tests {
			if strings.HasPrefix(test, "TestS0") || strings.Contains(test, "/S") || rowID.MatchString(rowOf(test)) {
				if !strings.Contains(string(text), "`"+test) {
					t.Errorf("docs/seed.md does not name %s of %s", test, path)
				}
			}
		}
	}
}

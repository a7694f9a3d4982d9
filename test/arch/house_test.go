package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// maxLines is where a file usually hides a second noun.
const maxLines = 700

var (
	metricName = regexp.MustCompile(`Name:\s*"(postern[^"]*)"`)
	goodMetric = regexp.MustCompile(`^postern_[a-z0-9]+(_[a-z0-9]+)+$`)
	// Nouns of no idea.
	badPackage = map[string]bool{"util": true, "utils": true, "common": true, "helpers": true, "helper": true, "manager": true, "base": true, "misc": true}
)

// TestFiles checks names, sizes and metric names of every hand-written file.
func TestFiles(t *testing.T) {
	metrics := 0
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		if within(path, "proto") {
			continue
		}
		if badPackage[filepath.Base(path)] {
			t.Errorf("package %s: its name says nothing of what it owns", path)
		}
		for _, name := range p.GoFiles {
			data, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			text := string(data)
			if n := strings.Count(text, "\n"); n > maxLines {
				t.Errorf("%s/%s has %d lines: at most %d", path, name, n, maxLines)
			}
			for _, m := range metricName.FindAllStringSubmatch(text, -1) {
				metrics++
				if !goodMetric.MatchString(m[1]) {
					t.Errorf("%s/%s: metric %q is not postern_<package>_<noun>_<unit>", path, name, m[1])
				}
			}
			if strings.Contains(text, "os.Exit(") && !within(path, "cmd") {
				t.Errorf("%s/%s calls os.Exit: only main does", path, name)
			}
		}
	}
	if metrics == 0 {
		t.Error("no metric was found: the pattern above is wrong")
	}
}

// promised are the metrics that dashboards and other tests count on.
var promised = []string{
	"postern_cluster_commit_seconds",
	"postern_publish_programming_seconds",
	"postern_propagation_programming_seconds",
	"postern_publish_place_version",
	"postern_edge_decisions_total",
	"postern_policy_eval_seconds",
	"postern_resolver_answers_total",
}

// TestPromisedMetrics checks that each promised metric, and each that an alert
// rule or a document names, is made somewhere.
func TestPromisedMetrics(t *testing.T) {
	var code strings.Builder
	var root string
	for _, p := range packages(t) {
		if p.ImportPath == module+"/test/arch" {
			root = filepath.Join(p.Dir, "..", "..")
		}
		for _, name := range p.GoFiles {
			data, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			code.Write(data)
		}
	}
	names := promised
	for _, file := range []string{"deploy/prometheus/alerts.yaml", "docs/operate.md"} {
		data, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`postern_[a-z0-9_]+[a-z0-9]`).FindAllString(string(data), -1) {
			names = append(names, strings.TrimSuffix(name, "_bucket"))
		}
	}
	if len(names) < len(promised)+5 {
		t.Errorf("only %d metric names were found in rules and documents", len(names)-len(promised))
	}
	for _, m := range names {
		if !strings.Contains(code.String(), `"`+m+`"`) {
			t.Errorf("no package makes the metric %s", m)
		}
	}
}

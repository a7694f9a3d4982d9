package conformance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	recordedFolder = "testdata/recorded"
	suppliedFile   = "testdata/supplied.json"
	floorFile      = "testdata/floor.txt"
)

// score counts the steps of one file. A step counts as known if the record has
// its calls; as supplied if we worked them out from its name and its answer.
type score struct {
	matched, known       int
	suppliedOK, supplied int
	unknown              int
}

func (s *score) add(o score) {
	s.matched += o.matched
	s.known += o.known
	s.suppliedOK += o.suppliedOK
	s.supplied += o.supplied
	s.unknown += o.unknown
}

// TestRecorded replays what AWS was recorded to answer, prints the score and
// keeps it from falling. With -v it shows every difference.
func TestRecorded(t *testing.T) {
	cluster(t)
	files, err := filepath.Glob(filepath.Join(recordedFolder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no records in %s: %v", recordedFolder, err)
	}
	supplied := load[map[string]map[string][]call](t, suppliedFile)
	floor := readFloor(t)
	scores := make(map[string]score)
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			sequences := load[map[string]sequence](t, file)
			var sum score
			for _, id := range slices.Sorted(maps.Keys(sequences)) {
				sum.add(replaySequence(t, id, sequences[id], supplied[id]))
			}
			scores[name] = sum
			if want, ok := floor[name]; !ok {
				t.Errorf("%s has no line in %s", name, floorFile)
			} else if sum.matched < want[0] || sum.suppliedOK < want[1] {
				t.Errorf("%d and %d supplied steps match; there were %d and %d (%s)", sum.matched, sum.suppliedOK, want[0], want[1], floorFile)
			} else if sum.matched > want[0] || sum.suppliedOK > want[1] {
				t.Logf("more steps match than %s says: %s %d %d", floorFile, name, sum.matched, sum.suppliedOK)
			}
		})
	}
	for name := range floor {
		if !slices.Contains(files, filepath.Join(recordedFolder, name)) {
			t.Errorf("%s has a line in %s, but no records", name, floorFile)
		}
	}
	scoreTable = table(scores)
}

// scoreTable is what TestRecorded found; TestMain prints it last.
var scoreTable string

// replaySequence replays one sequence and counts what matches.
func replaySequence(t *testing.T, id string, s sequence, supplied map[string][]call) score {
	t.Helper()
	var sum score
	r := newReplay(t)
	for i, step := range s.Steps {
		known, matched := &sum.known, &sum.matched
		if len(step.Calls) == 0 {
			step.Calls = supplied[step.Step]
			known, matched = &sum.supplied, &sum.suppliedOK
		}
		if len(step.Calls) == 0 {
			sum.unknown++
			continue
		}
		*known++
		if diff := r.step(step); diff != "" {
			t.Logf("%s, step %d, %s (-recorded +answered):\n%s", id, i, step.Step, diff)
			continue
		}
		*matched++
	}
	return sum
}

// table shows the score by file and in total.
func table(scores map[string]score) string {
	var out strings.Builder
	row := func(name string, s score) {
		percent := "-"
		if s.known > 0 {
			percent = fmt.Sprintf("%.1f %%", 100*float64(s.matched)/float64(s.known))
		}
		fmt.Fprintf(&out, "%-28s %7d %6d %8s %11s %8d\n", name, s.matched, s.known, percent, fmt.Sprintf("%d/%d", s.suppliedOK, s.supplied), s.unknown)
	}
	fmt.Fprintf(&out, "%-28s %7s %6s %8s %11s %8s\n", "file", "matched", "known", "score", "supplied", "unknown")
	var total score
	for _, name := range slices.Sorted(maps.Keys(scores)) {
		row(name, scores[name])
		total.add(scores[name])
	}
	row("total", total)
	return out.String()
}

// readFloor reads lines of a file's name, its matching steps and its matching
// supplied steps.
func readFloor(t *testing.T) map[string][2]int {
	t.Helper()
	f, err := os.Open(floorFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	floor := make(map[string][2]int)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var name string
		var n [2]int
		if _, err := fmt.Sscan(line, &name, &n[0], &n[1]); err != nil {
			t.Fatalf("%s: %q: %v", floorFile, line, err)
		}
		floor[name] = n
	}
	return floor
}

func load[T any](t *testing.T, file string) T {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v
}

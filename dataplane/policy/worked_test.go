package policy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/reference"
)

const apiARN = "arn:aws:execute-api:us-east-1:111122223333:abcde12345"

// TestWorked runs the worked cases of the language page, by their numbers, and
// more of our own. The directives:
//
//	policy [version=none]   one statement a line: allow or deny, then nothing,
//	                        `if {condition}` or `with {elements}`; the elements
//	                        left out are Principal, Action and Resource of "*",
//	                        execute-api:Invoke and "*". $P is the API's ARN.
//	document                a whole document as JSON
//	case [n=N]              a request, one key=value a line; principal, action
//	                        and resource are not condition keys. A key given
//	                        several times holds a list, key= an empty value.
//
// policy and document print ok or the error; case prints effect and statement.
// Every case is evaluated by the reference evaluator too.
func TestWorked(t *testing.T) {
	datadriven.Walk(t, "testdata/worked", func(t *testing.T, path string) {
		var doc string
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "policy":
				version := "2012-10-17"
				d.MaybeScanArgs(t, "version", &version)
				doc = buildDocument(t, version, d.Input)
			case "document":
				doc = strings.ReplaceAll(d.Input, "$P", apiARN)
			case "case":
				return evalBoth(t, doc, d.Input)
			default:
				d.Fatalf(t, "unknown directive")
			}
			parsed, err := policy.Parse([]byte(doc))
			if err != nil {
				return err.Error() + "\n"
			}
			if _, err := policy.Compile(parsed); err != nil {
				return err.Error() + "\n"
			}
			problems, _ := parsed.Validate(policy.ResourcePolicy)
			var out strings.Builder
			for _, p := range problems {
				fmt.Fprintf(&out, "%s\n", p)
			}
			if len(problems) == 0 {
				return "ok\n"
			}
			return out.String()
		})
	})
}

func buildDocument(t *testing.T, version, lines string) string {
	t.Helper()
	doc := map[string]any{}
	if version != "none" {
		doc["Version"] = version
	}
	var statements []map[string]any
	for line := range strings.Lines(strings.ReplaceAll(lines, "$P", apiARN)) {
		effect, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		s := map[string]any{"Principal": "*", "Action": "execute-api:Invoke", "Resource": "*"}
		s["Effect"] = map[string]string{"allow": "Allow", "deny": "Deny"}[effect]
		switch word, fragment, _ := strings.Cut(rest, " "); word {
		case "if":
			s["Condition"] = json.RawMessage(fragment)
		case "with":
			var elements map[string]json.RawMessage
			if err := json.Unmarshal([]byte(fragment), &elements); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			for k, v := range elements {
				s[k] = v
				if positive, ok := strings.CutPrefix(k, "Not"); ok {
					delete(s, positive)
				}
			}
		}
		statements = append(statements, s)
	}
	doc["Statement"] = statements
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// evalBoth evaluates a request by the program and by the reference, which must agree.
func evalBoth(t *testing.T, doc, lines string) string {
	t.Helper()
	q := parseQuery(t, lines)
	parsed, err := policy.Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	prog, err := policy.Compile(parsed)
	if err != nil {
		t.Fatal(err)
	}
	got := prog.Eval(request(t, q))
	want, err := reference.Eval([]byte(doc), q)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("Eval gives %+v, the reference %+v\n%s\n%s", got, want, doc, lines)
	}
	out := got.Effect.String()
	if got.Statement >= 0 {
		out += fmt.Sprintf(" by statement %d", got.Statement)
	}
	if got.Delegated {
		out += ", delegated"
	}
	return out + "\n"
}

// parseQuery reads a request of one key=value a line.
func parseQuery(t *testing.T, lines string) *policy.Query {
	t.Helper()
	q := &policy.Query{Resource: apiARN + "/prod/GET/pets", Context: map[string]policy.Values{}}
	for line := range strings.Lines(strings.ReplaceAll(lines, "$P", apiARN)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case !ok:
			t.Fatalf("not key=value: %q", line)
		case key == "principal":
			q.Principal = value
		case key == "action":
			q.Action = value
		case key == "resource":
			q.Resource = value
		default:
			q.Context[key] = append(q.Context[key], value)
		}
	}
	return q
}

// TestWorkedNumbers: no case of the page is left out.
func TestWorkedNumbers(t *testing.T) {
	text, err := os.ReadFile("testdata/worked/language.txt")
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 110; n++ {
		if !strings.Contains(string(text), fmt.Sprintf("n=%d\n", n)) && !strings.Contains(string(text), fmt.Sprintf("n=%d ", n)) {
			t.Errorf("case %d is missing", n)
		}
	}
}

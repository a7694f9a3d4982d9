package policy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/posternhq/postern/dataplane/policy"
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
	ask := parseAsk(t, lines)
	parsed, err := policy.Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	prog, err := policy.Compile(parsed)
	if err != nil {
		t.Fatal(err)
	}
	got := prog.Eval(ask.request(t))
	if want := referenceEval([]byte(doc), ask); got != want {
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

// ask is a request as plain text, which both evaluators understand.
type ask struct {
	Principal string // ARN, empty for anonymous
	Action    string
	Resource  string
	Context   map[string][]string // names as written
	Tags      map[string]string   // of the principal
}

func parseAsk(t *testing.T, lines string) ask {
	t.Helper()
	a := ask{Action: "execute-api:Invoke", Resource: apiARN + "/prod/GET/pets", Context: map[string][]string{}}
	for line := range strings.Lines(strings.ReplaceAll(lines, "$P", apiARN)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case !ok:
			t.Fatalf("not key=value: %q", line)
		case key == "principal":
			a.Principal = value
		case key == "action":
			a.Action = value
		case key == "resource":
			a.Resource = value
		default:
			a.Context[key] = append(a.Context[key], value)
		}
	}
	return a
}

// request is the ask in the form that an edge would build.
func (a ask) request(t testing.TB) *policy.Request {
	t.Helper()
	r := &policy.Request{Action: a.Action}
	if !r.SetResource(a.Resource) {
		t.Fatalf("not an ARN: %q", a.Resource)
	}
	if a.Principal != "" {
		p, err := policy.ParsePrincipal(a.Principal)
		if err != nil {
			t.Fatal(err)
		}
		p.Tags = a.Tags
		r.SetPrincipal(p)
	}
	for name, values := range a.Context {
		if strings.EqualFold(name, "aws:CurrentTime") && len(values) == 1 {
			// As an edge does it: a time, from which both time keys follow.
			if at, err := time.Parse(time.RFC3339, values[0]); err == nil {
				r.Time = at
				continue
			}
		}
		r.SetContext(name, values...)
	}
	return r
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

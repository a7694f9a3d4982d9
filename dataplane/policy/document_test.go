package policy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/policytest"
)

var target = policy.Target{Region: "us-east-1", Account: "111122223333", APIID: "abcde12345"}

// TestDocument reads, checks and prints documents. The directives:
//
//	parse                    prints ok or the error
//	check kind=private|...   prints problems and warnings
//	normal [region=R]        prints the normal form
//	escape, unwrap           print what Escape and Unwrap make of the input
func TestDocument(t *testing.T) {
	kinds := map[string]policy.Kind{
		"public": policy.ResourcePolicy, "private": policy.PrivateResourcePolicy, "endpoint": policy.EndpointPolicy, "identity": policy.IdentityPolicy,
	}
	datadriven.Walk(t, "testdata/document", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "escape":
				return policy.Escape(d.Input) + "\n"
			case "unwrap":
				out, err := policy.Unwrap(d.Input)
				if err != nil {
					return "error: " + err.Error() + "\n"
				}
				return out + "\n"
			}
			doc, err := policy.Parse([]byte(d.Input))
			if err != nil {
				return err.Error() + "\n"
			}
			switch d.Cmd {
			case "check":
				kind := "public"
				d.MaybeScanArgs(t, "kind", &kind)
				problems, warnings := doc.Validate(kinds[kind])
				var out strings.Builder
				for _, p := range problems {
					fmt.Fprintln(&out, "error", p)
				}
				for _, w := range warnings {
					fmt.Fprintln(&out, "warning", w)
				}
				if out.Len() == 0 {
					return "ok\n"
				}
				return out.String()
			case "normal":
				to := target
				d.MaybeScanArgs(t, "region", &to.Region)
				out := doc.Normalize(to)
				checkNormal(t, doc, out)
				return string(out) + "\n"
			}
			return "ok\n"
		})
	})
}

// checkNormal: the normal form is JSON that says the same, and its own normal form.
func checkNormal(t *testing.T, doc *policy.Document, normal []byte) {
	t.Helper()
	again, err := policy.Parse(normal)
	if err != nil {
		t.Fatalf("normal form does not parse: %v\n%s", err, normal)
	}
	if twice := again.Normalize(policy.Target{Region: "elsewhere"}); !bytes.Equal(twice, normal) {
		t.Errorf("normal form is not stable:\n%s\n%s", normal, twice)
	}
	if !json.Valid(normal) {
		t.Errorf("normal form is not JSON: %s", normal)
	}
	if doc.Statements() != again.Statements() {
		t.Errorf("%d statements became %d", doc.Statements(), again.Statements())
	}
	wire := policy.Escape(string(normal))
	if back, err := policy.Unwrap(wire); err != nil || back != string(normal) {
		t.Errorf("escaped form %s unwraps to %s, %v", wire, back, err)
	}
	// What Terraform does with the escaped form: quote it, read it as a JSON string.
	var decoded string
	if err := json.Unmarshal([]byte(`"`+wire+`"`), &decoded); err != nil || decoded != string(normal) {
		t.Errorf("escaped form %s is not the inside of a JSON string: %v", wire, err)
	}
}

// TestNormalFormDecidesAlike: printing a policy changes no decision, nor which
// statement makes it, and saving it none about the API that it is saved on.
func TestNormalFormDecidesAlike(t *testing.T) {
	decided := map[policy.Effect]int{}
	for seed := range uint64(400) {
		g := policytest.New(seed)
		text := g.Document()
		doc, err := policy.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		normal := doc.Normalize(target)
		checkNormal(t, doc, normal)
		// Printed for no API in particular, short forms stay as they are, and the
		// decision about every request does.
		printed, err := doc.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		before, after, again := compile(t, string(text)), compile(t, string(normal)), compile(t, string(printed))
		for range 16 {
			q := g.Query()
			b := before.Eval(request(t, q))
			if p := again.Eval(request(t, q)); b != p {
				t.Fatalf("seed %d: %+v as written, %+v as printed\n%s\n%s\n%+v", seed, b, p, text, printed, q)
			}
			if !strings.HasPrefix(q.Resource, apiARN+"/") {
				continue // execute-api:/ means the API itself only after saving
			}
			if n := after.Eval(request(t, q)); b != n {
				t.Fatalf("seed %d: %+v as written, %+v in normal form\n%s\n%s\n%+v", seed, b, n, text, normal, q)
			}
			decided[b.Effect]++
		}
	}
	for _, e := range []policy.Effect{policy.Silent, policy.Allow, policy.ExplicitDeny} {
		if decided[e] < 50 {
			t.Errorf("only %d decisions about the API are %v", decided[e], e)
		}
	}
}

func TestPositions(t *testing.T) {
	text := "{\n \"Statement\": [\n  {\"Sid\": \"größer\", \"Effect\": \"allow\"}\n ]\n}"
	_, err := policy.Parse([]byte(text))
	var e *policy.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %T", err)
	}
	if e.Line != 3 || e.Column != 31 || e.Path != "Statement[0].Effect" {
		t.Errorf("at %d:%d %s, want 3:31 Statement[0].Effect", e.Line, e.Column, e.Path)
	}
}

// TestPositionsInLongLines: columns count characters, however far into a line.
func TestPositionsInLongLines(t *testing.T) {
	for _, n := range []int{1, 4090, 4096, 5000, 20000} {
		sid := strings.Repeat("ü", n)
		text := "{\n\"Id\": \"" + sid + "\", \"Statement\": 1}"
		_, err := policy.Parse([]byte(text))
		var e *policy.Error
		if !errors.As(err, &e) {
			t.Fatalf("error %T", err)
		}
		if want := n + len(`"Id": "`) + len(`", "Statement": `) + 1; e.Line != 2 || e.Column != want {
			t.Errorf("%d characters: at %d:%d, want 2:%d", n, e.Line, e.Column, want)
		}
	}
}

func TestLimits(t *testing.T) {
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	if _, err := policy.Parse([]byte(`{"Statement":` + deep + `}`)); err == nil || !strings.Contains(err.Error(), "nested deeper") {
		t.Errorf("deep document: %v", err)
	}
	if _, err := policy.Parse(bytes.Repeat([]byte(" "), 17<<20)); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("long document: %v", err)
	}
	sid := strings.Repeat("x", 8200)
	doc, err := policy.Parse([]byte(`{  "Statement": {"Sid":"` + sid + `","Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}` + strings.Repeat(" ", 9000) + `}`))
	if err != nil {
		t.Fatal(err)
	}
	if problems, _ := doc.Validate(policy.ResourcePolicy); len(problems) != 1 || !strings.Contains(problems[0].Message, "maximum limit of 8192") {
		t.Errorf("size %d: %v", doc.Size(), problems)
	}
	if problems, _ := doc.Validate(policy.EndpointPolicy); len(problems) != 0 {
		t.Errorf("an endpoint policy may be larger: %v", problems)
	}
}

// FuzzParse: no input breaks the reader, and what it accepts can be printed,
// checked, compiled and evaluated.
func FuzzParse(f *testing.F) {
	f.Add([]byte(sourceEndpoint))
	f.Add([]byte(everyFamily))
	f.Add([]byte(`{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":["1"]},"NotAction":"*:?","NotResource":"arn:${a, 'b}'}*"}}`))
	f.Add([]byte(`{"Version":"2008-10-17","Id":"\ud83d\ude00\\","Statement":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := policy.Parse(text)
		if (err == nil) != (doc != nil) {
			t.Fatal("a document or an error, never both or neither")
		}
		if err != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("accepted what is not JSON: %q", text)
		}
		checkNormal(t, doc, doc.Normalize(target))
		doc.Validate(policy.PrivateResourcePolicy)
		prog, err := policy.Compile(doc)
		if err != nil {
			return
		}
		if got, want := prog.Eval(hotRequest()).Effect, prog.Eval(hotRequest()).Effect; got != want {
			t.Errorf("decides %v, then %v", want, got)
		}
	})
}

func FuzzUnwrap(f *testing.F) {
	f.Add(`"{\"Statement\":[]}"`)
	f.Add(`{\"Statement\":[],\"Id\":\"a\\\/b\"}`)
	f.Add(`{"Statement":[]}`)
	f.Fuzz(func(t *testing.T, s string) {
		out, err := policy.Unwrap(s)
		if err == nil && json.Valid([]byte(s)) && !strings.HasPrefix(strings.TrimSpace(s), `"`) && out != strings.TrimSpace(s) {
			t.Errorf("changed a plain document %q into %q", s, out)
		}
	})
}

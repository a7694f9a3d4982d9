package jsonlines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/policytest"
	"github.com/posternhq/postern/dataplane/policy/reference"
)

const (
	onlyOurs = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},` +
		`{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:SourceVpce":"vpce-1"}}}]}`
	ours    = `{"resource":"arn:aws:execute-api:us-east-1:111122223333:abcde12345/prod/GET/","context":{"aws:SourceVpce":"vpce-1"}}`
	theirs  = `{"resource":"arn:aws:execute-api:us-east-1:111122223333:abcde12345/prod/GET/","context":{"aws:SourceVpce":["vpce-2"]}}`
	account = `{"Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"*","Resource":"*"}}`
)

// answers runs all lines of in.
func answers(t testing.TB, in io.Reader) string {
	t.Helper()
	var out bytes.Buffer
	if err := Run(t.Context(), in, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct{ name, line, want string }{
		{"allow", `{"id":1,"policy":` + onlyOurs + `,"request":` + ours + `}`, `{"id":1,"decision":"allow","statement":0}`},
		{"explicit deny", `{"id":2,"policy":` + onlyOurs + `,"request":` + theirs + `}`, `{"id":2,"decision":"explicit-deny","statement":1}`},
		{"implicit deny", `{"id":3,"policy":` + account + `,"request":` + ours + `}`, `{"id":3,"decision":"implicit-deny"}`},
		{"an account principal", `{"id":4,"policy":` + account + `,"request":{"principal":"arn:aws:iam::111122223333:user/bob",` + ours[1:] + `}`, `{"id":4,"decision":"allow","statement":0}`},
		{"members in any order", ` { "request" : ` + ours + ` , "note" : [{"a":"}\"\\"}] , "policy" : ` + onlyOurs + ` , "id" : -0.50e+1 } `, `{"id":-0.50e+1,"decision":"allow","statement":0}`},
		{"an escaped name", `{"\u0069d":5,"policy":` + onlyOurs + `,"request":` + ours + `}`, `{"id":5,"decision":"allow","statement":0}`},
		{"the owner of a resource that names none", `{"id":6,"policy":{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:execute-api:*:999999999999:*"}},` +
			`"request":{"account":"999999999999","resource":"arn:aws:execute-api:us-east-1::abcde12345/prod/GET/"}}`, `{"id":6,"decision":"allow","statement":0}`},
		{"a broken policy", `{"id":7,"policy":{"Statement":[{"Effect":"allow"}]},"request":` + ours + `}`,
			`{"id":7,"error":"policy document: 1:25: Statement[0].Effect: Effect must be \"Allow\" or \"Deny\", in exactly this case"}`},
		{"no document", `{"id":8,"policy":"{}","request":` + ours + `}`, `{"id":8,"error":"policy document: 1:1: a policy is a JSON object, this is a string"}`},
		{"unbalanced", `{"id":9,"policy":{"Statement":[{]}},"request":` + ours + `}`, `{"id":9,"error":"policy document: 1:16: Statement[0]: not JSON: a member name in double quotes is expected here"}`},
		{"a broken request", `{"id":10,"policy":` + onlyOurs + `,"request":{"resource":7}}`, `{"id":10,"error":"request: 1:13: resource: must be a string, this is a number"}`},
		{"no caller", `{"id":11,"policy":` + onlyOurs + `,"request":{"principal":"bob","resource":"arn:aws:execute-api:a:b:c/d"}}`,
			`{"id":11,"error":"request: principal \"bob\": not a principal; write \"*\", an account id, or the ARN of a user, role, session or account root"}`},
		{"no policy", `{"id":12,"request":` + ours + `}`, `{"id":12,"error":"policy is missing"}`},
		{"no request", `{"id":13,"policy":` + onlyOurs + `}`, `{"id":13,"error":"request is missing"}`},
		{"no id", `{"policy":` + onlyOurs + `,"request":` + ours + `}`, `{"id":null,"error":"id is missing"}`},
		{"an id that is no number", `{"id":"14","policy":` + onlyOurs + `,"request":` + ours + `}`, `{"id":null,"error":"id must be a number, this is \"\\\"14\\\"\""}`},
		{"a number that is none", `{"id":01,"policy":` + onlyOurs + `,"request":` + ours + `}`, `{"id":null,"error":"id must be a number, this is \"01\""}`},
		{"the id twice", `{"id":15,"id":16}`, `{"id":15,"error":"duplicate key \"id\""}`},
		{"cut off", `{"id":17,"policy":{"Statement"`, `{"id":17,"error":"not JSON: the line ends too early"}`},
		{"cut off in a string", `{"id":18,"policy`, `{"id":18,"error":"not JSON: the line ends too early"}`},
		{"more after it", `{"id":19,"policy":` + onlyOurs + `,"request":` + ours + `} x`, `{"id":19,"error":"unexpected text after the end of the object"}`},
		{"a note that is no JSON", `{"id":20,"note":tru}`, `{"id":20,"error":"not JSON: the value of \"note\""}`},
		{"a value that is missing", `{"id":21,"policy":}`, `{"id":21,"error":"not JSON: a value is expected"}`},
		{"no colon", `{"id" 22}`, `{"id":null,"error":"not JSON: a colon is expected after \"id\""}`},
		{"no comma", `{"id":23 "policy":1}`, `{"id":null,"error":"id must be a number, this is \"23 \\\"policy\\\":1\""}`},
		{"no object", `[1]`, `{"id":null,"error":"a line is a JSON object with id, policy and request"}`},
		{"nothing in it", `{}`, `{"id":null,"error":"id is missing"}`},
		{"markup in an error", `{"id":24,"policy":{"<&>":1},"request":{}}`, `{"id":24,"error":"policy document: 1:2: <&>: unknown element \"<&>\"; a policy has Version, Id and Statement"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := answers(t, strings.NewReader(tt.line)); got != tt.want+"\n" {
				t.Errorf("%s\ngives %swant  %s", tt.line, got, tt.want)
			}
		})
	}
}

// TestOrder: many lines, read in any pieces, are answered in their order, as
// the reference evaluator answers them.
func TestOrder(t *testing.T) {
	var in, want bytes.Buffer
	g := policytest.New(1)
	var doc []byte
	for i := range 3000 {
		if i%3 == 0 {
			doc = g.Document()
		}
		q := g.Query()
		request, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		if q, err = policy.ParseQuery(request); err != nil { // what is no UTF-8 has changed
			t.Fatal(err)
		}
		fmt.Fprintf(&in, "{\"id\":%d,\"policy\":%s,\"request\":%s}\n", i, doc, request)
		if i%10 == 0 {
			in.WriteString(" \r\n")
		}
		d, err := reference.Eval(doc, q)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&want, `{"id":%d,"decision":%q`, i, map[policy.Effect]string{policy.Silent: "implicit-deny", policy.Allow: "allow", policy.ExplicitDeny: "explicit-deny"}[d.Effect])
		if d.Statement >= 0 {
			fmt.Fprintf(&want, `,"statement":%d`, d.Statement)
		}
		want.WriteString("}\n")
	}
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(in.Bytes()), "halves": iotest.HalfReader(bytes.NewReader(in.Bytes())), "with its end": iotest.DataErrReader(bytes.NewReader(in.Bytes())),
	} {
		if got := answers(t, r); got != want.String() {
			t.Errorf("%s: answers differ from the reference's", name)
		}
	}
}

// TestAnswersAtOnce: one question at a time, each asked when the answer to the
// one before is there.
func TestAnswersAtOnce(t *testing.T) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- Run(t.Context(), inR, outW)
		outW.Close()
	}()
	dec := json.NewDecoder(outR)
	for i := range 50 {
		// The line's end, and the beginning of the next one with it.
		if _, err := fmt.Fprintf(inW, "{\"id\":%d}\n ", i); err != nil {
			t.Fatal(err)
		}
		var a struct{ ID int }
		if err := dec.Decode(&a); err != nil || a.ID != i {
			t.Fatalf("answer %+v, %v; want that to %d", a, err, i)
		}
	}
	inW.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// endless is one line that never ends, of which limit bytes are read.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	n := min(len(p), e.left)
	e.left -= n
	for i := range n {
		p[i] = '{'
	}
	if e.left == 0 {
		return n, io.EOF
	}
	return n, nil
}

func TestLongLines(t *testing.T) {
	fits := `{"id":1,"policy":` + onlyOurs + `,"request":` + ours + `}`
	fits += strings.Repeat(" ", MaxLine-len(fits)-1) + "\n"
	in := io.MultiReader(strings.NewReader(fits), strings.NewReader(fits[:len(fits)-1]+" \n"), strings.NewReader(`{"id":2,"note":`), &endless{left: 3 * MaxLine}, strings.NewReader("\n{\"id\":3}"))
	want := `{"id":1,"decision":"allow","statement":0}
{"id":1,"error":"the line is longer than 16777216 bytes"}
{"id":2,"error":"the line is longer than 16777216 bytes"}
{"id":3,"error":"policy is missing"}
`
	if got := answers(t, in); got != want {
		t.Errorf("answers\n%swant\n%s", got, want)
	}
}

func TestErrors(t *testing.T) {
	broken := errors.New("broken")
	if err := Run(t.Context(), io.MultiReader(strings.NewReader("{}\n"), iotest.ErrReader(broken)), io.Discard); !errors.Is(err, broken) {
		t.Errorf("a reader that breaks: %v", err)
	}
	if err := Run(t.Context(), strings.NewReader("{}\n"), brokenWriter{broken}); !errors.Is(err, broken) {
		t.Errorf("a writer that breaks: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, w := io.Pipe()
	defer w.Close()
	if err := Run(ctx, r, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

// TestCache: a policy is compiled once, and old ones make room.
func TestCache(t *testing.T) {
	c := newCache()
	first := c.find([]byte(onlyOurs))
	if again := c.find([]byte(onlyOurs)); again != first {
		t.Error("the same text is another policy")
	}
	for i := range maxCachedPolicies {
		c.find(fmt.Append(nil, i))
	}
	if again := c.find([]byte(onlyOurs)); again == first {
		t.Error("the oldest policy is still there")
	}
	big := bytes.Repeat([]byte("x"), maxCachedText/2)
	for i := range 5 {
		big[0] = byte('a' + i)
		c.find(big)
		if c.size > maxCachedText || len(c.byText) != c.recent.Len() {
			t.Fatalf("%d bytes, %d texts, %d policies", c.size, len(c.byText), c.recent.Len())
		}
	}
	c.find(append(big, big...))
	if c.find(append(big, big...)); c.size > maxCachedText {
		t.Errorf("a policy larger than the cache is in it: %d bytes", c.size)
	}
}

// FuzzAnswer: every line is answered by one line of JSON that names it.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"id":1,"policy":` + onlyOurs + `,"request":` + ours + `}`))
	f.Add([]byte(`{"policy":{"Statement":[]},"id":1e5,"request":{"resource":"arn:::::"}}`))
	f.Add([]byte(`{"\u0069d":-0.5,"x":[{"a":"\\\""}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		text = bytes.TrimSpace(text)
		if len(text) == 0 || bytes.IndexByte(text, '\n') >= 0 {
			return
		}
		a := answerer{policies: newCache()}
		answer := a.answer(nil, text, false)
		var got struct {
			ID       json.RawMessage
			Decision string
			Error    string
		}
		if bytes.Count(answer, []byte("\n")) != 1 || json.Unmarshal(answer, &got) != nil || (got.Decision == "") == (got.Error == "") {
			t.Fatalf("%q is answered %q", text, answer)
		}
		if got.Decision != "" && !json.Valid(text) {
			t.Errorf("%q is no JSON, but was decided: %q", text, answer)
		}
		if string(got.ID) != "null" && !number(got.ID) {
			t.Errorf("%q is answered with the id %s", text, got.ID)
		}
		if again := a.answer(nil, text, false); !bytes.Equal(again, answer) {
			t.Errorf("%q is answered %q, then %q", text, answer, again)
		}
	})
}

func BenchmarkRun(b *testing.B) {
	g := policytest.New(1)
	for _, policies := range []int{1, 100} {
		b.Run(fmt.Sprintf("policies=%d", policies), func(b *testing.B) {
			var docs [][]byte
			for range policies {
				docs = append(docs, g.Document())
			}
			var in bytes.Buffer
			const lines = 20000
			for i := range lines {
				request, err := json.Marshal(g.Query())
				if err != nil {
					b.Fatal(err)
				}
				fmt.Fprintf(&in, "{\"id\":%d,\"policy\":%s,\"request\":%s}\n", i, docs[i%policies], request)
			}
			b.SetBytes(int64(in.Len()))
			b.ReportAllocs()
			for b.Loop() {
				if err := Run(b.Context(), bytes.NewReader(in.Bytes()), io.Discard); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

package policy_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/posternhq/postern/dataplane/policy"
)

func TestQueryReadsWhatItWrites(t *testing.T) {
	var q policy.Query
	text := `{"principal":"arn:aws:iam::111122223333:user/ada","action":"execute-api:Invoke",` +
		`"resource":"arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/GET/pets","context":{"a":["x","y"],"b":"z","c":[]}}`
	if err := json.Unmarshal([]byte(text), &q); err != nil {
		t.Fatal(err)
	}
	q.Context["c"] = nil // as absent as an empty list
	out, err := json.Marshal(&q)
	if err != nil || string(out) != text {
		t.Errorf("written as %s (%v), read from %s", out, err, text)
	}
}

// TestParseQuery: what can be read, and the errors for all else.
func TestParseQuery(t *testing.T) {
	const arn = "arn:aws:execute-api:a:b:c/d"
	for _, tt := range []struct{ text, want string }{
		{`{"resource":"` + arn + `"}`, ""},
		{`{"resource":"` + arn + `","principal":"","action":"","account":"1","context":{"a":"x","b":["x",1,true],"c":[],"d":-1.50}}`, ""},
		{`{}`, "request: 1:1: resource is missing"},
		{`[]`, "request: 1:1: a request is a JSON object, this is a list"},
		{`{"resource":"x"`, "request: 1:16: not JSON: a comma or a closing brace is expected here"},
		{`{"resource":7}`, "request: 1:13: resource: must be a string, this is a number"},
		{`{"resource":"x","Principal":"x"}`, `request: 1:17: Principal: unknown member "Principal"; a request has principal, action, resource, account and context`},
		{`{"resource":"x","resource":"x"}`, `request: 1:17: resource: duplicate key "resource"; write each key once`},
		{`{"resource":"x","context":[]}`, "request: 1:27: context: must be an object from condition keys to values, this is a list"},
		{"{\"resource\":\"x\",\n \"context\":{\"a\":[\"x\",{}]}}", "request: 2:22: context.a[1]: must be a string or a list of strings, this is an object"},
		{`{"resource":"x","context":{"a":null}}`, "request: 1:32: context.a: must be a string or a list of strings, this is null"},
	} {
		q, err := policy.ParseQuery([]byte(tt.text))
		if tt.want != "" {
			if err == nil || err.Error() != tt.want {
				t.Errorf("%s gives %v, want %s", tt.text, err, tt.want)
			}
			continue
		}
		var plain policy.Query
		if jsonErr := json.Unmarshal([]byte(tt.text), &plain); err != nil || jsonErr != nil || !reflect.DeepEqual(q, &plain) {
			t.Errorf("%s is read as %+v (%v), by encoding/json as %+v (%v)", tt.text, q, err, plain, jsonErr)
		}
	}
}

func TestParsePartialQuery(t *testing.T) {
	q, err := policy.ParsePartialQuery([]byte(`{"context":{"aws:SourceIp":[]}}`))
	if err != nil || q.Resource != "" || len(q.Context) != 1 {
		t.Errorf("read as %+v, %v", q, err)
	}
	if _, err := policy.ParsePartialQuery([]byte(`{"contxt":{}}`)); err == nil || !strings.Contains(err.Error(), "unknown member") {
		t.Errorf("an unknown member: %v", err)
	}
}

// FuzzParseQuery: what is accepted is what encoding/json reads, and evaluates.
func FuzzParseQuery(f *testing.F) {
	f.Add([]byte(`{"principal":"arn:aws:iam::1:user/a","resource":"arn:aws:execute-api:a:b:c/d","context":{"aws:SourceVpce":["a","b"],"x":[],"y":1}}`))
	f.Add([]byte(`{"resource":"arn:::::","context":{"A":"1","a":"2"}}`))
	prog := compile(f, everyFamily)
	f.Fuzz(func(t *testing.T, text []byte) {
		q, err := policy.ParseQuery(text)
		if err != nil {
			if q != nil {
				t.Error("a query beside an error")
			}
			return
		}
		var plain policy.Query
		if err := json.Unmarshal(text, &plain); err != nil || !reflect.DeepEqual(q, &plain) {
			t.Fatalf("%q is read as %+v, by encoding/json as %+v (%v)", text, q, plain, err)
		}
		r, err := q.Request()
		if err != nil {
			return
		}
		if once, twice := prog.Eval(r), prog.Eval(request(t, q)); once != twice {
			t.Errorf("%q is decided %+v, then %+v", text, once, twice)
		}
	})
}

func TestValues(t *testing.T) {
	for text, want := range map[string]policy.Values{
		`"a"`: {"a"}, `["a","b"]`: {"a", "b"}, `[]`: {}, `true`: {"true"}, `12.5`: {"12.5"}, `[1,"x",false]`: {"1", "x", "false"},
		`null`: nil, `{}`: nil, `[["a"]]`: nil, `[{}]`: nil,
	} {
		var v policy.Values
		err := (&v).UnmarshalJSON([]byte(text))
		if (err != nil) != (want == nil) || err == nil && !reflect.DeepEqual(v, want) {
			t.Errorf("%s is read as %q, %v; want %q", text, v, err, want)
		}
	}
}

func TestQueryNamesWhatItCannotRead(t *testing.T) {
	for want, q := range map[string]policy.Query{
		"resource":  {Resource: "execute-api:/x"},
		"principal": {Resource: "arn:aws:execute-api:a:b:c/d", Principal: "bob"},
		"context":   {Resource: "arn:aws:execute-api:a:b:c/d", Context: map[string]policy.Values{"aws:SourceVpc": {"a"}, "aws:sourcevpc": {"b"}}},
		"context: ": {Resource: "arn:aws:execute-api:a:b:c/d", Context: map[string]policy.Values{"Custom": {"a"}, "custom": {}}},
	} {
		if _, err := q.Request(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v gives %v, want an error about %s", q, err, want)
		}
	}
}

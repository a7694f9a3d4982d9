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
	out, err := json.Marshal(&q)
	if err != nil || string(out) != text {
		t.Errorf("written as %s (%v), read from %s", out, err, text)
	}
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
	} {
		if _, err := q.Request(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v gives %v, want an error about %s", q, err, want)
		}
	}
}

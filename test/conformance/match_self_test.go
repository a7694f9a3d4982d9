package conformance

import (
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/google/go-cmp/cmp"
)

// A judge that finds no fault with anything is worth nothing.
func TestDiff(t *testing.T) {
	type m = map[string]any
	for _, tc := range []struct {
		name       string
		want, have any
		differs    string
	}{
		{"the same", m{"a": "x", "n": 1.0}, m{"a": "x", "n": 1.0}, ""},
		{"another value", m{"a": "x"}, m{"a": "y"}, `"y"`},
		{"an absent key", m{"a": "x", "b": "z"}, m{"a": "x"}, `"b"`},
		{"a key too many", m{"a": "x"}, m{"a": "x", "tags": m{}}, `"tags"`},
		{"null for absent", m{}, m{"a": nil}, `"a"`},
		{"empty for absent", m{}, m{"a": m{}}, `"a"`},
		{"another type", m{"n": 1.0}, m{"n": "1"}, `"n"`},
		{"a shorter list", m{"l": []any{"a", "b"}}, m{"l": []any{"a"}}, `"b"`},
		{"another order", []any{"a", "b"}, []any{"b", "a"}, `"b"`},
		{"an id kept", m{"id": "<id:1>", "of": "<id:1>"}, m{"id": "abc", "of": "abc"}, ""},
		{"an id broken", m{"id": "<id:1>", "of": "<id:1>"}, m{"id": "abc", "of": "abd"}, `"ab`},
		{"two ids, one value", m{"a": "<id:1>", "b": "<id:2>"}, m{"a": "abc", "b": "abc"}, `<id:2>`},
		{"an id inside a text", m{"a": "api/<id:1>/x"}, m{"a": "api/abc/x"}, ""},
		{"a text around an id", m{"a": "api/<id:1>/x"}, m{"a": "API/abc/x"}, `API`},
		{"a date", m{"d": "<datetime>"}, m{"d": aDate}, ""},
		{"no date", m{"d": "datetime"}, m{"d": 12.0}, `"d"`},
		{"our account", m{"a": "111111111111:x"}, m{"a": "300000000001:x"}, ""},
		{"their account", m{"a": "111111111111:x"}, m{"a": "111111111111:x"}, `300000000001`},
		{"JSON in a text", m{"policy": m{"Version": "2012"}}, m{"policy": `{"Version": "2012"}`}, ""},
		{"other JSON in a text", m{"policy": m{"Version": "2012"}}, m{"policy": `{"Version": "2008"}`}, `2008`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := bindings{ownAccount: "300000000001"}
			diff := b.diff(tc.want, tc.have)
			if (diff == "") != (tc.differs == "") || !strings.Contains(diff, tc.differs) {
				t.Errorf("diff %q should show %q", diff, tc.differs)
			}
		})
	}
}

// What the SDK's types can't hold becomes an edit of the body.
func TestFill(t *testing.T) {
	var input apigateway.PutIntegrationResponseInput
	f := filler{operation: "PutIntegrationResponse"}
	f.fill(reflect.ValueOf(&input).Elem(), map[string]any{
		"restApiId":         "abc",
		"selectionPattern":  "",
		"responseTemplates": map[string]any{"a": "x", "b": nil, "c": 123.0},
		"nonsense":          true,
	}, nil)
	if *input.RestApiId != "abc" || *input.SelectionPattern != "" || !cmp.Equal(input.ResponseTemplates, map[string]string{"a": "x"}) {
		t.Errorf("filled %+v", input)
	}
	edits := make(map[string]any)
	for _, e := range f.edits {
		edits[strings.Join(e.path, "/")] = e.value
	}
	want := map[string]any{"responseTemplates/b": nil, "responseTemplates/c": 123.0, "nonsense": true}
	if diff := cmp.Diff(want, edits); diff != "" {
		t.Error(diff)
	}

	var stage apigateway.CreateStageInput
	f = filler{operation: "CreateStage"}
	f.fill(reflect.ValueOf(&stage).Elem(), map[string]any{"cacheClusterEnabled": false, "stageName": "s"}, nil)
	if len(f.edits) != 1 || f.edits[0].path[0] != "cacheClusterEnabled" {
		t.Errorf("a false that the SDK would leave out: edits %v", f.edits)
	}

	f = filler{operation: "PutIntegration"}
	f.fill(reflect.ValueOf(&apigateway.PutIntegrationInput{}).Elem(), map[string]any{"integrationHttpMethod": 1.0}, nil)
	if len(f.edits) != 1 || f.edits[0].path[0] != "httpMethod" {
		t.Errorf("a renamed member: edits %v", f.edits)
	}
}

package vtl

import "testing"

func TestLiteral(t *testing.T) {
	for _, c := range []struct {
		name, template string
		want           bool
	}{
		{"empty", "", true},
		{"json", `{"statusCode": 200, "message": "a # b, 50 %"}`, true},
		{"number sign before a digit", `{"colour": "#123"}`, true},
		{"number sign at the end", "#", true},
		{"reference", `{"statusCode": $code}`, false},
		{"formal reference", `${context.requestId}`, false},
		{"input", `$input.json('$')`, false},
		{"price", `$5`, false},
		{"directive", "#set($a = 1)", false},
		{"formal directive", "#{else}x", false},
		{"colour that reads like a directive", "#abcdef", false},
		{"macro call", "#@block()", false},
		{"line comment", "a ## b", false},
		{"block comment", "#* a *#", false},
		{"quoted block", "#[[a]]#", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Literal(c.template); got != c.want {
				t.Errorf("Literal(%q) = %v, want %v", c.template, got, c.want)
			}
		})
	}
}

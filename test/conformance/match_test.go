package conformance

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// placeholder is a name that stands for one value throughout a sequence.
var placeholder = regexp.MustCompile(`<[a-zA-Z][^<>]*>`)

// accounts are that of the records' answers and that of their calls, which were
// read off another wire. ownAccount is where ours is bound, in place of both.
var accounts = regexp.MustCompile(`\b(111111111111|123456789012)\b`)

const ownAccount = "<account>"

// bindings are the values that placeholders stand for.
type bindings map[string]string

// bind gives an unbound placeholder its value. Two placeholders of one kind
// have different values.
func (b bindings) bind(name, value string) bool {
	kind, _, numbered := strings.Cut(name, ":")
	if numbered && value != "" {
		for other, v := range b {
			if k, _, _ := strings.Cut(other, ":"); k == kind && v == value {
				return false
			}
		}
	}
	b[name] = value
	return true
}

// diff compares an answer with the recorded one and binds the placeholders
// that had no value yet. It returns how the answer differs, or nothing.
func (b bindings) diff(want, have any) string {
	want, have = b.resolve(want, have)
	return cmp.Diff(want, have)
}

// resolve returns the recorded value with everything in it replaced that the
// other value may decide, and the other value in the form of the record.
func (b bindings) resolve(want, have any) (any, any) {
	switch want := want.(type) {
	case map[string]any:
		got, ok := opened(have).(map[string]any)
		if !ok {
			return want, have
		}
		w, h := make(map[string]any), maps.Clone(got)
		for _, k := range slices.Sorted(maps.Keys(want)) {
			key := b.text(k)
			w[key] = want[k]
			if v, ok := got[key]; ok {
				w[key], h[key] = b.resolve(want[k], v)
			}
		}
		return w, h
	case []any:
		got, ok := opened(have).([]any)
		if !ok {
			return want, have
		}
		w, h := slices.Clone(want), slices.Clone(got)
		for i := range min(len(w), len(h)) {
			w[i], h[i] = b.resolve(w[i], h[i])
		}
		return w, h
	case string:
		if got, ok := have.(string); ok {
			return b.resolveText(want, got), got
		}
	}
	return want, have
}

// opened parses JSON inside a string: the records show it so.
func opened(v any) any {
	if text, ok := v.(string); ok {
		var inside any
		if json.Unmarshal([]byte(text), &inside) == nil {
			return inside
		}
	}
	return v
}

// text replaces the placeholders that have values, and the account.
func (b bindings) text(s string) string {
	s = accounts.ReplaceAllString(s, b[ownAccount])
	return placeholder.ReplaceAllStringFunc(s, func(name string) string {
		if v, ok := b[name]; ok {
			return v
		}
		return name
	})
}

func (b bindings) resolveText(want, have string) string {
	if want == "<datetime>" {
		want = aDate
	}
	want = b.text(want)
	open := placeholder.FindAllString(want, -1)
	if len(open) == 0 {
		return want
	}
	// Around what has no value yet everything must be as recorded.
	pattern := "^" + placeholder.ReplaceAllString(regexp.QuoteMeta(want), "(.+?)") + "$"
	values := regexp.MustCompile(pattern).FindStringSubmatch(have)
	if values == nil {
		return want
	}
	for i, name := range open {
		if _, ok := b[name]; !ok && !b.bind(name, values[i+1]) {
			return want
		}
	}
	return b.text(want)
}

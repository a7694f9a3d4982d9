package diff_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/diff"
)

const apiARN = "arn:aws:execute-api:us-east-1:111122223333:abcde12345"

// TestExamples runs testdata/examples. A policy is written one statement a
// line: allow or deny, then elements as JSON; those left out are Principal,
// Action and Resource of "*". $P is the ARN of an API. Words before the first
// brace are the Sid. The directives:
//
//	old                    the old policy; empty: none at all
//	new [under=ARN] [given=…] [anonymous] [version=none] [budget=N]
//	                       the new one; prints the difference
//	                       given is a query as JSON without spaces
//
// Rewrite expected output with -rewrite, and review it.
func TestExamples(t *testing.T) {
	datadriven.Walk(t, "testdata/examples", func(t *testing.T, path string) {
		var old []byte
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			version := "2012-10-17"
			d.MaybeScanArgs(t, "version", &version)
			doc := document(t, version, d.Input)
			switch d.Cmd {
			case "old":
				old = doc
				return ""
			case "new":
			default:
				d.Fatalf(t, "unknown directive")
			}
			o := diff.Options{Anonymous: d.HasArg("anonymous")}
			d.MaybeScanArgs(t, "under", &o.Under)
			d.MaybeScanArgs(t, "budget", &o.Budget)
			o.Under = strings.ReplaceAll(o.Under, "$P", apiARN)
			var given string
			if d.MaybeScanArgs(t, "given", &given); given != "" {
				o.Given = &policy.Query{}
				if err := json.Unmarshal([]byte(strings.ReplaceAll(given, "$P", apiARN)), o.Given); err != nil {
					t.Fatal(err)
				}
			}
			var docs [2]*policy.Document
			for i, text := range [][]byte{old, doc} {
				if text != nil {
					docs[i] = parse(t, text)
				}
			}
			r, err := diff.Compare(docs[0], docs[1], o)
			if err != nil {
				return err.Error() + "\n"
			}
			if old != nil && doc != nil {
				checkWitnesses(t, old, doc, r)
			}
			return r.String()
		})
	})
}

func document(t *testing.T, version, lines string) []byte {
	t.Helper()
	var list []map[string]any
	for line := range strings.Lines(strings.ReplaceAll(lines, "$P", apiARN)) {
		effect, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		sid, elements := rest, "{}"
		if i := strings.IndexByte(rest, '{'); i >= 0 {
			sid, elements = strings.TrimSpace(rest[:i]), rest[i:]
		}
		s := map[string]any{"Principal": "*", "Action": "*", "Resource": "*", "Effect": map[string]string{"allow": "Allow", "deny": "Deny"}[effect]}
		if sid != "" {
			s["Sid"] = sid
		}
		var given map[string]any
		if err := json.Unmarshal([]byte(elements), &given); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for k, v := range given {
			s[k] = v
			if positive, ok := strings.CutPrefix(k, "Not"); ok {
				delete(s, positive)
			}
		}
		list = append(list, s)
	}
	if list == nil {
		return nil
	}
	doc := map[string]any{"Statement": list}
	if version != "none" {
		doc["Version"] = version
	}
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

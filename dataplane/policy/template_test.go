package policy

import (
	"slices"
	"strings"
	"testing"
)

func TestTemplates(t *testing.T) {
	if got, want := TemplateNames(), []string{"source-vpc", "source-vpce"}; !slices.Equal(got, want) {
		t.Fatalf("templates are %v, want %v", got, want)
	}
	if _, err := Template("source-ip"); err == nil || !strings.Contains(err.Error(), "source-vpc, source-vpce") {
		t.Errorf("unknown template: %v, want the names that there are", err)
	}
	for name, placeholder := range map[string]string{"source-vpc": "vpcID", "source-vpce": "vpceID"} {
		text, err := Template(name)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := Parse([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// As it is, it says what to replace, and nothing else is wrong with it.
		problems, warnings := doc.Validate(PrivateResourcePolicy)
		if len(problems) != 0 {
			t.Errorf("%s: problems %v", name, problems)
		}
		found := slices.ContainsFunc(warnings, func(p Problem) bool {
			return strings.Contains(p.Message, "replace the placeholder {{"+placeholder+"}}")
		})
		if !found {
			t.Errorf("%s: warnings %v, want one on {{%s}}", name, warnings, placeholder)
		}
	}
}

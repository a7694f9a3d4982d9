package policy

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed template/*.json
var templateFiles embed.FS

// Template returns a document to begin with, for a private API: "source-vpc"
// admits one VPC, "source-vpce" one endpoint. What stands in double braces,
// braces included, is to be replaced; the other placeholders may become "*".
//
// AWS's console has one such template, for a VPC, and its guide tells readers to
// put an endpoint's id there, which shuts everybody out: hence two.
func Template(name string) (string, error) {
	text, err := fs.ReadFile(templateFiles, "template/"+name+".json")
	if err != nil {
		return "", fmt.Errorf("policy template %q is not one of %s", name, strings.Join(TemplateNames(), ", "))
	}
	return string(text), nil
}

// TemplateNames lists the templates.
func TemplateNames() []string {
	files, err := fs.Glob(templateFiles, "template/*.json")
	if err != nil {
		panic(err) // of a pattern that is a constant
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(strings.TrimPrefix(f, "template/"), ".json")
	}
	return files
}

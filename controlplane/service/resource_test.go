package service

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posternhq/postern/controlplane/apierr"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
)

// path makes the resources of a path, as far as they don't exist, and returns the last's id.
func (a *testAPI) path(path string) string {
	a.Helper()
	list, err := a.GetResources(a.ctx, &apigatewayv1.GetResourcesRequest{RestApiId: a.id, Limit: new(int32(500))})
	if err != nil {
		a.Fatal(err)
	}
	ids := make(map[string]string)
	for _, r := range list.GetItem() {
		ids[r.GetPath()] = r.GetId()
	}
	parent, at := a.root, ""
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		at += "/" + part
		if ids[at] == "" {
			made, err := a.CreateResource(a.ctx, &apigatewayv1.CreateResourceRequest{RestApiId: a.id, ParentId: parent, PathPart: new(part)})
			if err != nil {
				a.Fatal(err)
			}
			ids[at] = made.GetId()
		}
		parent = ids[at]
	}
	return parent
}

func (a *testAPI) paths() []string {
	a.Helper()
	list, err := a.GetResources(a.ctx, &apigatewayv1.GetResourcesRequest{RestApiId: a.id, Limit: new(int32(500))})
	if err != nil {
		a.Fatal(err)
	}
	var out []string
	for _, r := range list.GetItem() {
		out = append(out, r.GetPath())
	}
	return out
}

func TestCreateResource(t *testing.T) {
	for _, c := range []struct {
		name, under, part string
		kind              apierr.Kind
		err               string
	}{
		{"plain", "/", "pets", 0, ""},
		{"all characters", "/", "a.B_c-9:x", 0, ""},
		{"variable", "/taken/x", "{petId}", 0, ""},
		{"greedy", "/taken/x", "{proxy+}", 0, ""},
		{"greedy besides plain", "/open", "{proxy+}", 0, ""},
		{"empty", "/", "", apierr.KindInvalid, partRefusal},
		{"slash", "/", "a/b", apierr.KindInvalid, partRefusal},
		{"open brace", "/", "{x", apierr.KindInvalid, partRefusal},
		{"brace inside", "/", "a{x}", apierr.KindInvalid, partRefusal},
		{"empty variable", "/", "{}", apierr.KindInvalid, partRefusal},
		{"greedy plus inside", "/", "{a+b}", apierr.KindInvalid, partRefusal},
		{"same name", "/", "taken", apierr.KindConflict, "Another resource with the same parent already has this name: taken"},
		{"second variable", "/vars", "{other}", apierr.KindInvalid, "A sibling ({id}) of this resource already has a variable path part -- only one is allowed"},
		{"below greedy", "/greedy/{proxy+}", "x", apierr.KindInvalid, "Cannot create a child of a resource with a greedy path variable: {proxy+}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newTestAPI(t)
			for _, p := range []string{"/taken/x", "/vars/{id}", "/greedy/{proxy+}", "/open/x"} {
				a.path(p)
			}
			parent := a.root
			if c.under != "/" {
				parent = a.path(c.under)
			}
			made, err := a.CreateResource(a.ctx, &apigatewayv1.CreateResourceRequest{RestApiId: a.id, ParentId: parent, PathPart: new(c.part)})
			if c.err != "" {
				wantError(t, err, c.kind, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.TrimSuffix(c.under, "/") + "/" + c.part; made.GetPath() != want || !slices.Contains(a.paths(), want) {
				t.Errorf("path %s of %v", made.GetPath(), a.paths())
			}
		})
	}
}

const partRefusal = "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning and the end."

func TestUpdateResource(t *testing.T) {
	for _, c := range []struct {
		name, resource string
		patch          func(a *testAPI) string
		kind           apierr.Kind
		err            string
		want           []string
	}{
		{"renaming takes what is below along", "/a", func(*testAPI) string { return "replace /pathPart z" }, 0, "",
			[]string{"/", "/x", "/z", "/z/b", "/z/b/c"}},
		{"moving takes what is below along", "/a/b", func(a *testAPI) string { return "replace /parentId " + a.path("/x") }, 0, "",
			[]string{"/", "/a", "/x", "/x/b", "/x/b/c"}},
		{"below itself", "/a", func(a *testAPI) string { return "replace /parentId " + a.path("/a/b/c") }, apierr.KindInvalid, "Resources cannot be cyclical.", nil},
		{"into itself", "/a", func(a *testAPI) string { return "replace /parentId " + a.path("/a") }, apierr.KindInvalid, "Resources cannot be cyclical.", nil},
		{"to nowhere", "/a", func(*testAPI) string { return "replace /parentId nowhere" }, apierr.KindNotFound, "Invalid Resource identifier specified", nil},
		{"name taken", "/a", func(*testAPI) string { return "replace /pathPart x" }, apierr.KindConflict, "Another resource with the same parent already has this name: x", nil},
		{"to its own name", "/a", func(*testAPI) string { return "replace /pathPart a" }, 0, "", []string{"/", "/a", "/a/b", "/a/b/c", "/x"}},
		{"greedy above others", "/a", func(*testAPI) string { return "replace /pathPart {a+}" }, apierr.KindInvalid, "Cannot create a child of a resource with a greedy path variable: {a+}", nil},
		{"unknown path", "/a", func(*testAPI) string { return "replace /path /y" }, apierr.KindInvalid, "Invalid patch path  '/path' specified for op 'replace'. Must be one of: [/parentId, /pathPart]", nil},
		{"operation supported nowhere", "/a", func(*testAPI) string { return "remove /pathPart" }, apierr.KindInvalid, "Invalid patch path  '/pathPart' specified for op 'remove'. Please choose supported operations", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newTestAPI(t)
			a.path("/a/b/c")
			a.path("/x")
			before := a.paths()
			_, err := a.UpdateResource(a.ctx, &apigatewayv1.UpdateResourceRequest{RestApiId: a.id, ResourceId: a.path(c.resource), PatchOperations: ops(c.patch(a))})
			if c.err != "" {
				wantError(t, err, c.kind, c.err)
				c.want = before
			} else if err != nil {
				t.Fatal(err)
			}
			if got := a.paths(); !slices.Equal(got, c.want) {
				t.Errorf("paths %v, want %v", got, c.want)
			}
		})
	}
}

func TestDeleteResource(t *testing.T) {
	a := newTestAPI(t)
	a.path("/a/b/c")
	a.path("/ab")
	if _, err := a.DeleteResource(a.ctx, &apigatewayv1.DeleteResourceRequest{RestApiId: a.id, ResourceId: a.path("/a")}); err != nil {
		t.Fatal(err)
	}
	if got := a.paths(); !slices.Equal(got, []string{"/", "/ab"}) {
		t.Errorf("paths %v", got)
	}
	_, err := a.DeleteResource(a.ctx, &apigatewayv1.DeleteResourceRequest{RestApiId: a.id, ResourceId: a.root})
	wantError(t, err, apierr.KindInvalid, "Cannot remove root resource")
}

func TestResourceLimit(t *testing.T) {
	a := newTestAPI(t)
	for i := range maxResources - 1 {
		a.path(fmt.Sprintf("/r%d", i))
	}
	_, err := a.CreateResource(a.ctx, &apigatewayv1.CreateResourceRequest{RestApiId: a.id, ParentId: a.root, PathPart: new("more")})
	if asAPIError(err).Kind != apierr.KindLimit {
		t.Errorf("error %v", err)
	}
}

// Without embed=methods a resource answers the verbs of its methods only.
func TestEmbeddedMethods(t *testing.T) {
	a := newTestAPI(t)
	a.mock(a.root, "GET")
	for _, embed := range []bool{false, true} {
		var asked []string
		if embed {
			asked = []string{"methods"}
		}
		one, err := a.GetResource(a.ctx, &apigatewayv1.GetResourceRequest{RestApiId: a.id, ResourceId: a.root, Embed: asked})
		if err != nil {
			t.Fatal(err)
		}
		list, err := a.GetResources(a.ctx, &apigatewayv1.GetResourcesRequest{RestApiId: a.id, Embed: asked})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range append(list.GetItem(), one) {
			m := r.GetResourceMethods()["GET"]
			if m == nil || (m.GetMethodIntegration() != nil) != embed || (m.HttpMethod != nil) != embed {
				t.Errorf("embed %v: %v", embed, r)
			}
		}
	}
}

package service

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const maxResources = 300

func errNoResource() error { return apierr.NotFound("Invalid Resource identifier specified") }

var (
	plainPart    = regexp.MustCompile(`^[a-zA-Z0-9._:-]+$`)
	variablePart = regexp.MustCompile(`^\{[a-zA-Z0-9._:-]+\+?\}$`)
)

func isVariable(part string) bool { return strings.HasPrefix(part, "{") }
func isGreedy(part string) bool   { return strings.HasSuffix(part, "+}") }

// resourceTree is the resources of an API by id. Those that were changed are
// copies; everything else belongs to the View.
type resourceTree struct {
	api     *restAPI
	byID    map[string]*apigatewayv1.Resource
	changed map[string]bool
}

func (a *restAPI) tree() *resourceTree {
	t := &resourceTree{api: a, byID: make(map[string]*apigatewayv1.Resource), changed: make(map[string]bool)}
	for _, r := range a.children(statev1.Type_TYPE_RESOURCE) {
		t.byID[r.GetResource().GetId()] = r.GetResource()
	}
	return t
}

// own returns a resource that may be changed, nil if there is none with that id.
func (t *resourceTree) own(id string) *apigatewayv1.Resource {
	r := t.byID[id]
	if r == nil || t.changed[id] {
		return r
	}
	r = proto.CloneOf(r)
	t.byID[id], t.changed[id] = r, true
	return r
}

func (t *resourceTree) children(id string) []*apigatewayv1.Resource {
	var out []*apigatewayv1.Resource
	for _, r := range t.byID {
		if r.ParentId != nil && r.GetParentId() == id {
			out = append(out, r)
		}
	}
	return out
}

// below reports whether a resource is the other one or somewhere below it.
func (t *resourceTree) below(id, top string) bool {
	for range len(t.byID) + 1 {
		if id == top {
			return true
		}
		r := t.byID[id]
		if r == nil || r.ParentId == nil {
			return false
		}
		id = r.GetParentId()
	}
	return true // a cycle, which must not be made worse
}

// checkPlace checks that a resource may be called part under that parent. self
// is the resource's own id, "" if it doesn't exist yet.
func (t *resourceTree) checkPlace(parentID, part, self string) error {
	if !plainPart.MatchString(part) && !variablePart.MatchString(part) {
		return apierr.BadRequest("Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning and the end.")
	}
	parent := t.byID[parentID]
	if isGreedy(parent.GetPathPart()) {
		return apierr.BadRequest("Cannot create a child of a resource with a greedy path variable: %s", parent.GetPathPart())
	}
	for _, sibling := range t.children(parentID) {
		if sibling.GetId() == self {
			continue
		}
		if sibling.GetPathPart() == part {
			return apierr.Conflict("Another resource with the same parent already has this name: %s", part)
		}
	}
	for _, sibling := range t.children(parentID) {
		if sibling.GetId() != self && isVariable(part) && isVariable(sibling.GetPathPart()) {
			return apierr.BadRequest("A sibling (%s) of this resource already has a variable path part -- only one is allowed", sibling.GetPathPart())
		}
	}
	if isGreedy(part) && self != "" && len(t.children(self)) > 0 {
		return apierr.BadRequest("Cannot create a child of a resource with a greedy path variable: %s", part)
	}
	return nil
}

// repath gives a resource and everything below it the path of its new place.
func (t *resourceTree) repath(id string) {
	r := t.own(id)
	r.Path = new(strings.TrimSuffix(t.byID[r.GetParentId()].GetPath(), "/") + "/" + r.GetPathPart())
	for _, c := range t.children(id) {
		t.repath(c.GetId())
	}
}

// records are the records of what was changed.
func (t *resourceTree) records() []*statev1.Record {
	var out []*statev1.Record
	for id := range t.changed {
		out = append(out, resourceRecord(t.api.who, t.api.GetId(), t.byID[id]))
	}
	slices.SortFunc(out, func(a, b *statev1.Record) int { return strings.Compare(a.Key.Id, b.Key.Id) })
	return out
}

func (s *apiGateway) CreateResource(ctx context.Context, req *apigatewayv1.CreateResourceRequest) (*apigatewayv1.Resource, error) {
	who := caller(ctx)
	made, err := create(ctx, s.cfg, "CreateResource", req, func(v *state.View) (*statev1.Txn, *apigatewayv1.Resource, error) {
		a, err := findAPI(v, who, req.GetRestApiId())
		if err != nil {
			return nil, nil, err
		}
		t := a.tree()
		if t.byID[req.GetParentId()] == nil {
			return nil, nil, errNoResource()
		}
		if err := t.checkPlace(req.GetParentId(), req.GetPathPart(), ""); err != nil {
			return nil, nil, err
		}
		if len(t.byID) >= maxResources {
			return nil, nil, apierr.Limit("Maximum number of resources for this API has been reached. Please contact AWS if you need additional resources.")
		}
		id := s.unusedID(a, statev1.Type_TYPE_RESOURCE)
		made := &apigatewayv1.Resource{Id: new(id), ParentId: new(req.GetParentId()), PathPart: new(req.GetPathPart())}
		t.byID[id], t.changed[id] = made, true
		t.repath(id)
		return a.change(t.records()...), made, nil
	})
	if err != nil {
		return nil, err
	}
	return answerResource(made, false), nil
}

func (s *apiGateway) GetResource(ctx context.Context, req *apigatewayv1.GetResourceRequest) (*apigatewayv1.Resource, error) {
	a, err := s.readAPIElse(ctx, req.GetRestApiId(), errNoResource())
	if err != nil {
		return nil, err
	}
	r := a.child(statev1.Type_TYPE_RESOURCE, req.GetResourceId()).GetResource()
	if r == nil {
		return nil, errNoResource()
	}
	return answerResource(r, slices.Contains(req.GetEmbed(), "methods")), nil
}

func (s *apiGateway) GetResources(ctx context.Context, req *apigatewayv1.GetResourcesRequest) (*apigatewayv1.GetResourcesResponse, error) {
	a, err := s.readAPI(ctx, req.GetRestApiId())
	if err != nil {
		return nil, err
	}
	byPath := func(r *statev1.Record) string { return r.GetResource().GetPath() }
	records, position, err := listPage(a.children(statev1.Type_TYPE_RESOURCE), byPath, req.Limit, req.Position)
	if err != nil {
		return nil, err
	}
	out := &apigatewayv1.GetResourcesResponse{Position: position}
	for _, r := range records {
		out.Item = append(out.Item, answerResource(r.GetResource(), slices.Contains(req.GetEmbed(), "methods")))
	}
	return out, nil
}

func (s *apiGateway) DeleteResource(ctx context.Context, req *apigatewayv1.DeleteResourceRequest) (*apigatewayv1.Empty, error) {
	who := caller(ctx)
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		a, err := findAPIElse(v, who, req.GetRestApiId(), errNoResource())
		if err != nil {
			return nil, err
		}
		top := a.child(statev1.Type_TYPE_RESOURCE, req.GetResourceId()).GetResource()
		switch {
		case top == nil:
			return nil, errNoResource()
		case top.ParentId == nil:
			return nil, apierr.BadRequest("Cannot remove root resource")
		}
		t := a.tree()
		var gone []*statev1.Record
		for _, r := range a.children(statev1.Type_TYPE_RESOURCE) {
			if t.below(r.GetResource().GetId(), top.GetId()) {
				gone = append(gone, r)
			}
		}
		return a.remove(gone...), nil
	})
	if err != nil {
		return nil, err
	}
	return &apigatewayv1.Empty{}, nil
}

func (s *apiGateway) UpdateResource(ctx context.Context, req *apigatewayv1.UpdateResourceRequest) (*apigatewayv1.Resource, error) {
	who := caller(ctx)
	var after *apigatewayv1.Resource
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		a, err := findAPIElse(v, who, req.GetRestApiId(), errNoResource())
		if err != nil {
			return nil, err
		}
		t := a.tree()
		before := t.byID[req.GetResourceId()]
		if before == nil {
			return nil, errNoResource()
		}
		table := t.patchTable()
		if after, err = table.apply(before, req.GetPatchOperations()); err != nil {
			return nil, err
		}
		t.byID[after.GetId()], t.changed[after.GetId()] = after, true
		if after.ParentId != nil {
			t.repath(after.GetId())
		}
		return a.change(t.records()...), nil
	})
	if err != nil {
		return nil, err
	}
	return answerResource(after, false), nil
}

// patchTable is the PATCH of one resource of the tree. The tree itself stays as
// it is: siblings and parents don't change while one resource moves.
func (t *resourceTree) patchTable() *patchTable[*apigatewayv1.Resource] {
	return &patchTable[*apigatewayv1.Resource]{
		refuse: refuseModern[*apigatewayv1.Resource],
		rows: []patchRow[*apigatewayv1.Resource]{
			{"/parentId", opsReplace, func(r *apigatewayv1.Resource, p *patch) error {
				if r.ParentId == nil {
					return apierr.BadRequest("Root resource cannot update its parentId.")
				}
				if t.byID[p.value] == nil {
					return errNoResource()
				}
				if t.below(p.value, r.GetId()) {
					return apierr.BadRequest("Resources cannot be cyclical.")
				}
				if err := t.checkPlace(p.value, r.GetPathPart(), r.GetId()); err != nil {
					return err
				}
				r.ParentId = new(p.value)
				return nil
			}},
			{"/pathPart", opsReplace, func(r *apigatewayv1.Resource, p *patch) error {
				if r.ParentId == nil {
					return apierr.BadRequest("Root resource cannot update its pathPart.")
				}
				if err := t.checkPlace(r.GetParentId(), p.value, r.GetId()); err != nil {
					return err
				}
				r.PathPart = new(p.value)
				return nil
			}},
		},
	}
}

// answerResource is a resource as AWS answers it: without embed=methods, its
// methods are empty objects.
func answerResource(r *apigatewayv1.Resource, methods bool) *apigatewayv1.Resource {
	if methods {
		return r
	}
	out := &apigatewayv1.Resource{Id: r.Id, ParentId: r.ParentId, PathPart: r.PathPart, Path: r.Path}
	for verb := range r.GetResourceMethods() {
		if out.ResourceMethods == nil {
			out.ResourceMethods = make(map[string]*apigatewayv1.Method)
		}
		out.ResourceMethods[verb] = &apigatewayv1.Method{}
	}
	return out
}

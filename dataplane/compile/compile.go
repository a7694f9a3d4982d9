package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

// Config of a compilation.
type Config struct {
	// Integration prepares the backend of a method; its result becomes
	// Method.Integration. An error rejects the stage.
	Integration func(*edgev1.Stage, *edgev1.Route) (any, error)
}

// Resource is one resource of a snapshot as it was received.
type Resource struct {
	Name string
	Body []byte
}

// Update moves a Table to Index.
type Update struct {
	Index uint64
	// Full: what is not in Changed is removed.
	Full    bool
	Changed []Resource
	Removed []string
}

// Rejection names a resource that did not compile, and why.
type Rejection struct {
	Resource string
	Reason   string
}

// Compile returns the Table that follows prev, which may be nil, and all
// rejections that are outstanding in it, those of earlier updates included.
func (c Config) Compile(prev *Table, u Update) (*Table, []Rejection) {
	n := newNext(c, prev, u.Full)
	for _, r := range u.Changed {
		if err := n.put(r); err != nil {
			n.reject(r.Name, err)
			continue
		}
		n.accept(r.Name)
	}
	for _, name := range u.Removed {
		n.remove(name)
		n.accept(name)
	}
	t := n.finish(u.Index)
	return t, t.Rejections()
}

// next is a Table in the making.
type next struct {
	cfg  Config
	prev *Table
	full bool

	settings   Settings
	apis       *edit[*API]
	endpoints  *edit[*Endpoint]
	vpcs       *edit[*VPC]
	groups     *edit[*group]
	namedBy    *edit[[]string]
	callers    *edit[*Caller]
	principals *edit[*Principal]
	rejected   map[string]string

	ownAPI     map[string]bool // APIs copied for this table
	unresolved map[string]bool // endpoints whose sources are to be resolved
	relisten   bool
}

func newNext(c Config, prev *Table, full bool) *next {
	if prev == nil {
		prev = &Table{settings: defaultSettings}
	}
	base := prev
	if full {
		base = &Table{settings: defaultSettings}
	}
	return &next{
		cfg: c, prev: prev, full: full,
		settings: base.settings, apis: base.apis.edit(), endpoints: base.endpoints.edit(),
		vpcs: base.vpcs.edit(), groups: base.groups.edit(), namedBy: base.namedBy.edit(),
		callers: base.callers.edit(), principals: base.principals.edit(),
		rejected: maps.Clone(base.rejected),
		ownAPI:   map[string]bool{}, unresolved: map[string]bool{}, relisten: full,
	}
}

// name is the name of a resource taken apart.
type name struct{ kind, id, stage string }

// plainKinds are those whose names are kind/id.
var plainKinds = []string{"api", "vpce", "vpc", "sg", "key", "principal"}

func parseName(s string) (name, error) {
	parts := strings.Split(s, "/")
	switch {
	case s == "settings":
		return name{kind: "settings"}, nil
	case len(parts) == 2 && parts[1] != "" && slices.Contains(plainKinds, parts[0]):
		return name{kind: parts[0], id: parts[1]}, nil
	case len(parts) == 4 && parts[0] == "api" && parts[1] != "" && parts[2] == "stage" && parts[3] != "":
		return name{kind: "stage", id: parts[1], stage: parts[3]}, nil
	}
	return name{}, fmt.Errorf("unknown kind of resource %q", s)
}

func decode[M proto.Message](body []byte, m M) (M, error) {
	if err := proto.Unmarshal(body, m); err != nil {
		return m, fmt.Errorf("decode: %w", err)
	}
	return m, nil
}

func (n *next) put(r Resource) error {
	nm, err := parseName(r.Name)
	if err != nil {
		return err
	}
	named := func(id string) error {
		if id != nm.id {
			return fmt.Errorf("content is that of %q", id)
		}
		return nil
	}
	switch nm.kind {
	case "settings":
		m, err := decode(r.Body, &edgev1.Settings{})
		if err != nil {
			return err
		}
		n.settings = settingsOf(m)
	case "api":
		m, err := decode(r.Body, &edgev1.Api{})
		if err != nil {
			return err
		}
		if err := named(m.GetId()); err != nil {
			return err
		}
		switch m.GetEndpointType() {
		case "PRIVATE", "REGIONAL", "EDGE":
		default:
			return fmt.Errorf("unknown endpoint type %q", m.GetEndpointType())
		}
		a := n.api(nm.id)
		a.declared, a.Account, a.Region, a.Type = true, m.GetAccount(), m.GetRegion(), m.GetEndpointType()
		a.ARN = arnPrefix(a.Region) + a.Account + ":" + a.ID
	case "stage":
		m, err := decode(r.Body, &edgev1.Stage{})
		if err != nil {
			return err
		}
		if err := named(m.GetApiId()); err != nil {
			return err
		}
		if m.GetName() != nm.stage {
			return fmt.Errorf("content is that of stage %q", m.GetName())
		}
		s, err := n.cfg.compileStage(m)
		if err != nil {
			return err
		}
		n.api(nm.id).stages[nm.stage] = s
	case "vpce":
		m, err := decode(r.Body, &edgev1.VpcEndpoint{})
		if err != nil {
			return err
		}
		if err := named(m.GetId()); err != nil {
			return err
		}
		e, err := compileEndpoint(m)
		if err != nil {
			return err
		}
		n.putEndpoint(e)
	case "vpc":
		m, err := decode(r.Body, &edgev1.Vpc{})
		if err != nil {
			return err
		}
		if err := named(m.GetId()); err != nil {
			return err
		}
		v, err := compileVPC(m)
		if err != nil {
			return err
		}
		n.vpcs.set(nm.id, v)
	case "sg":
		m, err := decode(r.Body, &edgev1.SecurityGroup{})
		if err != nil {
			return err
		}
		if err := named(m.GetId()); err != nil {
			return err
		}
		g, err := compileGroup(m)
		if err != nil {
			return err
		}
		n.groups.set(nm.id, g)
		n.unresolve(nm.id)
	case "key":
		m, err := decode(r.Body, &edgev1.AccessKey{})
		if err != nil {
			return err
		}
		if err := named(m.GetId()); err != nil {
			return err
		}
		c, err := compileCaller(m)
		if err != nil {
			return err
		}
		n.callers.set(nm.id, c)
	case "principal":
		m, err := decode(r.Body, &edgev1.Principal{})
		if err != nil {
			return err
		}
		if err := named(m.GetId()); err != nil {
			return err
		}
		p, err := compilePrincipal(m)
		if err != nil {
			return err
		}
		n.principals.set(nm.id, p)
	}
	return nil
}

func (n *next) remove(resource string) {
	nm, err := parseName(resource)
	if err != nil {
		return
	}
	switch nm.kind {
	case "settings":
		n.settings = defaultSettings
	case "api":
		if a, ok := n.apis.get(nm.id); ok {
			n.api(nm.id).declared = false
			n.dropEmpty(a.ID)
		}
	case "stage":
		if _, ok := n.apis.get(nm.id); ok {
			delete(n.api(nm.id).stages, nm.stage)
			n.dropEmpty(nm.id)
		}
	case "vpce":
		n.removeEndpoint(nm.id)
		n.relisten = true
	case "vpc":
		n.vpcs.remove(nm.id)
	case "sg":
		n.groups.remove(nm.id)
		n.unresolve(nm.id)
	case "key":
		n.callers.remove(nm.id)
	case "principal":
		n.principals.remove(nm.id)
	}
}

// api returns an API that this table may modify.
func (n *next) api(id string) *API {
	old, ok := n.apis.get(id)
	if ok && n.ownAPI[id] {
		return old
	}
	a := &API{ID: id, stages: map[string]*Stage{}}
	if ok {
		*a = *old
		a.stages = maps.Clone(old.stages)
	}
	n.ownAPI[id] = true
	n.apis.set(id, a)
	return a
}

func (n *next) dropEmpty(id string) {
	if a, ok := n.apis.get(id); ok && !a.declared && len(a.stages) == 0 {
		n.apis.remove(id)
		delete(n.ownAPI, id)
	}
}

func (n *next) putEndpoint(e *Endpoint) {
	old, _ := n.endpoints.get(e.ID)
	n.removeEndpoint(e.ID)
	for _, g := range e.groups {
		list, _ := n.namedBy.get(g)
		n.namedBy.set(g, append(slices.Clip(list), e.ID))
	}
	n.endpoints.set(e.ID, e)
	n.unresolved[e.ID] = true
	if old == nil || old.VPC != e.VPC || old.Region != e.Region || !slices.Equal(old.ENIs, e.ENIs) {
		n.relisten = true
	}
}

func (n *next) removeEndpoint(id string) {
	old, ok := n.endpoints.get(id)
	if !ok {
		return
	}
	for _, g := range old.groups {
		list, _ := n.namedBy.get(g)
		list = slices.DeleteFunc(slices.Clone(list), func(other string) bool { return other == id })
		if len(list) == 0 {
			n.namedBy.remove(g)
		} else {
			n.namedBy.set(g, list)
		}
	}
	n.endpoints.remove(id)
	delete(n.unresolved, id)
}

// unresolve notes the endpoints whose rules name a group that changed.
func (n *next) unresolve(group string) {
	list, _ := n.namedBy.get(group)
	for _, id := range list {
		n.unresolved[id] = true
	}
}

// reject notes a resource that did not compile. Its last good form stays: in an
// incremental table by itself, in a full one it is taken from the last table.
func (n *next) reject(resource string, reason error) {
	if n.rejected == nil {
		n.rejected = map[string]string{}
	}
	n.rejected[resource] = reason.Error()
	if !n.full {
		return
	}
	nm, err := parseName(resource)
	if err != nil {
		return
	}
	switch nm.kind {
	case "settings":
		n.settings = n.prev.settings
	case "api":
		if old := n.prev.API(nm.id); old != nil {
			a := n.api(nm.id)
			a.declared, a.Account, a.Region, a.Type, a.ARN = true, old.Account, old.Region, old.Type, old.ARN
		}
	case "stage":
		if old, ok := n.prev.apis.get(nm.id); ok && old.stages[nm.stage] != nil {
			n.api(nm.id).stages[nm.stage] = old.stages[nm.stage]
		}
	case "vpce":
		if old, ok := n.prev.endpoints.get(nm.id); ok {
			n.putEndpoint(old)
		}
	case "vpc":
		if old, ok := n.prev.vpcs.get(nm.id); ok {
			n.vpcs.set(nm.id, old)
		}
	case "sg":
		if old, ok := n.prev.groups.get(nm.id); ok {
			n.groups.set(nm.id, old)
			n.unresolve(nm.id)
		}
	case "key":
		if old, ok := n.prev.callers.get(nm.id); ok {
			n.callers.set(nm.id, old)
		}
	case "principal":
		if old, ok := n.prev.principals.get(nm.id); ok {
			n.principals.set(nm.id, old)
		}
	}
}

func (n *next) accept(resource string) { delete(n.rejected, resource) }

func (n *next) finish(index uint64) *Table {
	for id := range n.unresolved {
		if e, ok := n.endpoints.get(id); ok {
			n.endpoints.set(id, e.admitting(n.groups))
		}
	}
	t := &Table{
		index: index, settings: n.settings,
		apis: n.apis.shards, endpoints: n.endpoints.shards, vpcs: n.vpcs.shards,
		groups: n.groups.shards, namedBy: n.namedBy.shards,
		callers: n.callers.shards, principals: n.principals.shards,
		listeners: n.prev.listeners, rejected: n.rejected,
	}
	if n.relisten {
		t.listeners = listenersOf(&t.endpoints)
	}
	return t
}

func settingsOf(m *edgev1.Settings) Settings {
	s := defaultSettings
	if m.GetTlsMax() != "" {
		s.TLSMax = m.GetTlsMax()
	}
	if m.GetDenyDetail() != "" {
		s.DenyDetail = m.GetDenyDetail()
	}
	if m.GetSourceIpOnPrivate() != "" {
		s.SourceIPOnPrivate = m.GetSourceIpOnPrivate()
	}
	return s
}

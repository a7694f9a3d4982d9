package compile

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/route"
)

// Table is everything that an edge serves at one version. All of it is
// immutable and safe for any number of goroutines. The methods of a nil Table
// are those of an empty one, which denies everything.
type Table struct {
	index     uint64
	settings  Settings
	apis      shards[*API]
	endpoints shards[*Endpoint]
	vpcs      shards[*VPC]
	groups    shards[*group]
	// namedBy holds, for a security group, the endpoints whose rules name it.
	namedBy    shards[[]string]
	callers    shards[*Caller]
	principals shards[*Principal]
	listeners  []Listener
	rejected   map[string]string
}

// Settings are those that change answers.
type Settings struct {
	TLSMax            string // 1.2, 1.3
	DenyDetail        string // detailed, classic
	SourceIPOnPrivate string // absent, eni, client
}

var defaultSettings = Settings{TLSMax: "1.2", DenyDetail: "detailed", SourceIPOnPrivate: "absent"}

// API is one REST API with its stages.
type API struct {
	ID      string
	Account string
	Region  string
	Type    string // PRIVATE, REGIONAL, EDGE
	// ARN is arn:partition:execute-api:region:account:id, how the ARN of all that
	// is called begins.
	ARN string

	declared bool // by its own resource; stages alone don't make an API
	stages   map[string]*Stage
}

// Stage returns a stage of the API, nil if there is none.
func (a *API) Stage(name string) *Stage { return a.stages[name] }

// Stage is a deployment as one stage serves it.
type Stage struct {
	APIID        string
	Account      string
	Region       string
	Name         string
	DeploymentID string
	// DefaultEndpointDisabled: the API's execute-api names answer Forbidden.
	DefaultEndpointDisabled bool
	// Policy is nil if the deployment has none.
	Policy *policy.Program
	Router *route.Router[*Method]

	Variables        map[string]string
	BinaryMediaTypes []string
	// MinimumCompressionSize is -1 if responses are not compressed.
	MinimumCompressionSize int
	RequestValidators      map[string]*apigatewayv1.RequestValidator // by id
	Models                 map[string]*apigatewayv1.Model            // by name
	MethodSettings         map[string]*apigatewayv1.MethodSetting
	// Canary is nil if all traffic is this stage's.
	Canary *Canary

	bound   *policy.Program // Policy, bound to what the stage knows
	settled bool            // bound decides all requests alike
	ways    *ways
	named   func() *policy.Program // for Names
}

// Canary takes part of a stage's traffic.
type Canary struct {
	PercentTraffic float64
	Stage          *Stage
}

// Method is a method of one resource. A resource without methods is routed to
// a nil Method.
type Method struct {
	ResourceID   string
	ResourcePath string
	// HTTPMethod is a verb or ANY.
	HTTPMethod string
	Method     *apigatewayv1.Method
	// Integration is what the Integration hook made of it.
	Integration any
}

// Index is the version of the table; 0 for a nil one.
func (t *Table) Index() uint64 {
	if t == nil {
		return 0
	}
	return t.index
}

// Settings returns the settings, with defaults if none have arrived.
func (t *Table) Settings() Settings {
	if t == nil {
		return defaultSettings
	}
	return t.settings
}

// API returns an API by its id, nil if there is none.
func (t *Table) API(id string) *API {
	if t == nil {
		return nil
	}
	if a, ok := t.apis.get(id); ok && a.declared {
		return a
	}
	return nil
}

// APIs returns all APIs in no order.
func (t *Table) APIs() iter.Seq[*API] {
	return func(yield func(*API) bool) {
		if t == nil {
			return
		}
		for _, a := range t.apis.all() {
			if a.declared && !yield(a) {
				return
			}
		}
	}
}

// Endpoint returns a VPC endpoint by its id, nil if there is none.
func (t *Table) Endpoint(id string) *Endpoint {
	if t == nil {
		return nil
	}
	e, _ := t.endpoints.get(id)
	return e
}

// VPC returns a VPC by its id, nil if there is none.
func (t *Table) VPC(id string) *VPC {
	if t == nil {
		return nil
	}
	v, _ := t.vpcs.get(id)
	return v
}

// VPCs returns all VPCs in no order.
func (t *Table) VPCs() iter.Seq[*VPC] {
	return func(yield func(*VPC) bool) {
		if t == nil {
			return
		}
		for _, v := range t.vpcs.all() {
			if !yield(v) {
				return
			}
		}
	}
}

// Listener is an address that the edge has to accept connections on. It names
// the endpoint instead of holding it: a connection takes the endpoint of the
// Table that is current when it arrives.
type Listener struct {
	// Bind is the address on this machine, Address the one in the VPC.
	Bind     netip.Addr
	Address  netip.Addr
	ENI      string
	AZ       string
	Endpoint string
	VPC      string
	Region   string
}

// Listeners returns the addresses of all endpoints, by bind address. Nobody may
// modify what it returns; two Tables with the same listeners may share it.
func (t *Table) Listeners() []Listener {
	if t == nil {
		return nil
	}
	return t.listeners
}

// Rejections returns all resources whose newest form did not compile, by name.
func (t *Table) Rejections() []Rejection {
	if t == nil || len(t.rejected) == 0 {
		return nil
	}
	list := make([]Rejection, 0, len(t.rejected))
	for name, reason := range t.rejected {
		list = append(list, Rejection{name, reason})
	}
	slices.SortFunc(list, func(a, b Rejection) int { return strings.Compare(a.Resource, b.Resource) })
	return list
}

// clientOf reads a client outside a VPC that is routed into it.
func clientOf(c *edgev1.Client) (bind, address netip.Addr, err error) {
	if address, err = netip.ParseAddr(c.GetAddress()); err != nil {
		return
	}
	bind, err = netip.ParseAddr(c.GetBindAddress())
	return
}

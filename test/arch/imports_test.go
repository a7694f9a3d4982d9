// Package arch holds the house rules that a compiler does not check: who may
// import whom, that every package says what it is for, that metrics are named
// alike, and that generated code is current.
package arch

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/posternhq/postern"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	Doc          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// packages lists the module's packages once for all tests.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,GoFiles,Imports,TestImports,XTestImports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatalf("go list's answer: %v", err)
		}
		all = append(all, p)
	}
	if len(all) < 20 {
		t.Fatalf("go list found %d packages: the rules below would hold of nothing", len(all))
	}
	return all
}

func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// ban says that packages in a folder do not import what is banned, except for
// what is allowed. Paths are import paths, relative to the module where they
// can be; a path of our own or of a module covers what is below it, one of the
// standard library only itself ("net" does not mean "net/netip").
type ban struct {
	in      string
	except  string // a folder in it to which the ban does not apply
	banned  []string
	allowed []string
	reason  string
}

func (b ban) violated(path, imported string) bool {
	if !within(path, b.in) || b.except != "" && within(path, b.except) {
		return false
	}
	return slices.ContainsFunc(b.banned, func(x string) bool { return covers(x, imported) }) &&
		!slices.ContainsFunc(b.allowed, func(x string) bool { return covers(x, imported) })
}

// ours are the top folders of the module.
var ours = []string{"cmd", "controlplane", "dataplane", "dnsprop", "internal", "proto", "test"}

func covers(pattern, imported string) bool {
	top, _, _ := strings.Cut(pattern, "/")
	if strings.Contains(top, ".") || slices.Contains(ours, top) {
		return within(imported, pattern)
	}
	return imported == pattern
}

var bans = []ban{
	{in: "controlplane/state", banned: []string{"controlplane", "dataplane", "dnsprop", "internal", "google.golang.org/grpc", "github.com/hashicorp/raft"},
		allowed: []string{"controlplane/state"},
		reason:  "the replicated state is pure: records, guards and Views, without network, clock or consensus"},
	{in: "controlplane/state", banned: []string{"time", "math/rand", "math/rand/v2", "crypto/rand", "os"},
		reason: "replicas that read a clock, a random source or a file diverge"},
	{in: "controlplane/fsm", banned: []string{"controlplane", "dataplane", "dnsprop"}, allowed: []string{"controlplane/state", "controlplane/fsm"},
		reason: "the FSM is an adapter between raft and state and knows nothing else"},
	{in: "controlplane/service", banned: []string{"controlplane/cluster", "controlplane/fsm", "controlplane/gateway", "controlplane/publish", "controlplane/snapshot", "github.com/hashicorp/raft", "net/http"},
		reason: "semantics are ordinary code on a View; the cluster is reached through the interface that service declares"},
	{in: "controlplane/service", banned: []string{"dataplane", "dnsprop"}, allowed: []string{"dataplane/policy", "dnsprop/propagation", "dnsprop/rdata", "dnsprop/resolver", "dnsprop/zone"},
		reason: "service validates policies, records and resolver options, and knows when a change is visible, by packages without I/O, and nothing else of the planes"},
	{in: "controlplane/identity", banned: []string{"controlplane", "dataplane", "dnsprop", "google.golang.org/grpc"}, allowed: []string{"controlplane/state", "controlplane/identity", "dataplane/policy"},
		reason: "whose a key is follows from a View: services, the guard in front of them and snapshots ask alike"},
	{in: "controlplane/gateway", banned: []string{"controlplane/state", "controlplane/cluster", "controlplane/service", "dataplane", "dnsprop"},
		reason: "the gateway translates protocols; it calls services like any other client"},
	{in: "controlplane/snapshot", banned: []string{"controlplane/cluster", "controlplane/service", "google.golang.org/grpc", "dataplane", "dnsprop"}, allowed: []string{"dnsprop/propagation"},
		reason: "a snapshot is a function of a View"},
	{in: "controlplane/dnsfeed", banned: []string{"controlplane/cluster", "controlplane/service", "google.golang.org/grpc", "dataplane"},
		reason: "DNS resources are a function of a View"},
	{in: "controlplane/publish", banned: []string{"controlplane/cluster", "controlplane/service", "dataplane", "dnsprop"},
		reason: "the publisher moves snapshots; it neither makes nor reads them"},
	{in: "dataplane", banned: []string{"controlplane", "dnsprop"},
		reason: "an edge needs no control plane to serve, not even its code"},
	{in: "dataplane/policy", banned: []string{"net", "net/http", "google.golang.org/grpc", "google.golang.org/protobuf", "proto", "internal"},
		reason: "the policy engine is a package that other programs import by itself"},
	{in: "dataplane/route", banned: []string{"net", "net/http", "google.golang.org/grpc"},
		reason: "routing is pure"},
	{in: "dataplane/compile", banned: []string{"net", "net/http", "google.golang.org/grpc"},
		reason: "compiling is pure"},
	{in: "controlplane/apierr", banned: []string{"controlplane", "dataplane", "dnsprop"}, reason: "every service's errors come from here, so it knows none of them"},
	{in: "controlplane/constraint", banned: []string{"controlplane", "dataplane", "dnsprop"}, allowed: []string{"controlplane/apierr"},
		reason: "constraints are what the .proto files say, whatever the service"},
	{in: "dnsprop", banned: []string{"controlplane", "dataplane"},
		reason: "the DNS simulator is usable by itself"},
	{in: "internal", except: "internal/dev", banned: []string{"controlplane", "dataplane", "dnsprop", "cmd", "test"},
		reason: "internal packages are below the planes; only internal/dev composes them"},
}

// TestImports checks who imports whom.
func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imported := range p.Imports {
			imported = strings.TrimPrefix(imported, module+"/")
			for _, b := range bans {
				if b.violated(path, imported) {
					t.Errorf("%s imports %s: %s", path, imported, b.reason)
				}
			}
		}
	}
}

// TestBans checks that the rules above can be broken at all.
func TestBans(t *testing.T) {
	for _, c := range []struct {
		path, imported string
		want           bool
	}{
		{"controlplane/state", "time", true},
		{"controlplane/state", "controlplane/cluster", true},
		{"controlplane/state", "github.com/hashicorp/go-memdb", false},
		{"controlplane/service", "dataplane/policy", false},
		{"controlplane/service", "dataplane/edge", true},
		{"dataplane/policy", "net/netip", false},
		{"dataplane/policy", "net", true},
		{"dataplane/edge", "net", false},
		{"dataplane/edge", "controlplane/state", true},
		{"internal/pki", "controlplane/rpc", true},
		{"internal/dev", "controlplane/rpc", false},
	} {
		got := slices.ContainsFunc(bans, func(b ban) bool { return b.violated(c.path, c.imported) })
		if got != c.want {
			t.Errorf("%s importing %s: banned = %v, want %v", c.path, c.imported, got, c.want)
		}
	}
}

// onlyIn says that a package is imported in the given folders alone.
var onlyIn = []struct {
	imported string
	folders  []string
	reason   string
}{
	{"github.com/miekg/dns", []string{"dnsprop", "test"}, "the DNS library is dnsprop's"},
	{"github.com/hashicorp/raft", []string{"controlplane/cluster", "controlplane/fsm", "controlplane", "test"}, "consensus is the cluster's"},
	{"github.com/hashicorp/go-memdb", []string{"controlplane/state"}, "tables are the state's"},
	{"github.com/alecthomas/kong", []string{"cmd"}, "flags are the commands'"},
	{module + "/cmd", nil, "nothing imports a command"},
	{module + "/internal/dev", []string{"cmd", "test"}, "only commands and tests start whole clusters"},
}

// TestOnlyIn checks that what belongs to one folder stays there.
func TestOnlyIn(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, rule := range onlyIn {
			if slices.ContainsFunc(rule.folders, func(f string) bool { return within(path, f) }) || within(p.ImportPath, rule.imported) {
				continue
			}
			for _, imported := range p.Imports {
				if within(imported, rule.imported) {
					t.Errorf("%s imports %s: %s", path, imported, rule.reason)
				}
			}
		}
	}
}

// TestPackageComments checks that every package says what it owns.
func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		if within(path, "proto") || len(p.GoFiles) == 0 {
			continue
		}
		if len(p.Doc) < 30 {
			t.Errorf("%s has no package comment that says what it owns", path)
		}
	}
}

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

// ban says that packages in `in` do not import what is in any of `banned`,
// except for the packages named in `but`. Folders are relative to the module
// unless they have a dot before the first slash.
type ban struct {
	in     string
	banned []string
	but    []string
	reason string
}

var bans = []ban{
	{in: "controlplane/state", banned: []string{"controlplane", "dataplane", "dnsprop", "internal", "google.golang.org/grpc", "github.com/hashicorp/raft"},
		but:    []string{"controlplane/state"},
		reason: "the replicated state is pure: records, guards and Views, without network, clock or consensus"},
	{in: "controlplane/state", banned: []string{"time", "math/rand", "math/rand/v2", "crypto/rand", "os"},
		reason: "replicas that read a clock, a random source or a file diverge"},
	{in: "controlplane/fsm", banned: []string{"controlplane", "dataplane", "dnsprop"}, but: []string{"controlplane/state", "controlplane/fsm"},
		reason: "the FSM is an adapter between raft and state and knows nothing else"},
	{in: "controlplane/service", banned: []string{"controlplane/cluster", "controlplane/fsm", "controlplane/gateway", "controlplane/publish", "controlplane/snapshot", "github.com/hashicorp/raft", "net/http"},
		reason: "semantics are ordinary code on a View; the cluster is reached through the interface that service declares"},
	{in: "controlplane/service", banned: []string{"dataplane", "dnsprop"}, but: []string{"dataplane/policy", "dnsprop/propagation"},
		reason: "service validates policies and knows when a change is visible, by two pure packages, and nothing else of the planes"},
	{in: "controlplane/gateway", banned: []string{"controlplane/state", "controlplane/cluster", "controlplane/service", "dataplane", "dnsprop"},
		reason: "the gateway translates protocols; it calls services like any other client"},
	{in: "controlplane/snapshot", banned: []string{"controlplane/cluster", "controlplane/service", "google.golang.org/grpc", "dataplane", "dnsprop"},
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
	{in: "dnsprop", banned: []string{"controlplane", "dataplane"},
		reason: "the DNS simulator is usable by itself"},
	{in: "internal", banned: []string{"controlplane", "dataplane", "dnsprop", "cmd", "test"}, but: []string{"internal/dev"},
		reason: "internal packages are below the planes; only internal/dev composes them"},
}

// TestImports checks who imports whom.
func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, b := range bans {
			if !within(path, b.in) || slices.Contains(b.but, path) && b.in != path {
				continue
			}
			for _, imported := range p.Imports {
				short := strings.TrimPrefix(imported, module+"/")
				if within(short, b.in) && !slices.Contains(b.banned, b.in) {
					continue
				}
				for _, banned := range b.banned {
					if within(short, banned) && exact(banned, short) && !allowed(b.but, short) {
						t.Errorf("%s imports %s: %s", path, short, b.reason)
					}
				}
			}
		}
	}
}

// exact keeps a ban on a package of the standard library from covering its
// children: "net" does not mean "net/netip".
func exact(banned, imported string) bool {
	ours := strings.Contains(banned, ".") || within(banned, "controlplane") || within(banned, "dataplane") || within(banned, "dnsprop") ||
		within(banned, "internal") || within(banned, "proto") || within(banned, "cmd") || within(banned, "test")
	return ours || banned == imported
}

func allowed(but []string, imported string) bool {
	for _, folder := range but {
		if within(imported, folder) {
			return true
		}
	}
	return false
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

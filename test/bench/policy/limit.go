package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"
)

// newLimit is the least work that decides a request: for each workload a function
// that was written by hand for this one policy, or for policies of its shape where
// the policy is a table of a thousand values. It is what an engineer would write
// who has the policy before him, a profiler beside him, and nothing else to serve:
// no absent keys but those that can be absent, no order of tests but the best.
//
// It reads the same values as Postern, from a struct as plain, and checks all that
// the policy says: the action, each part of the resource's ARN, and the conditions.
// That no check was left out is held by the probes, which differ from an allowed
// request in one value. Two things it does not do: say which statement decided, and
// read a word of the policy language.
//
// W4 is the exception: it is one look-up in a bart table and nothing else, neither
// action nor resource, as the least that any engine must do for a thousand ranges.
// Therefore it takes no part in the comparison of the probes.
func newLimit(f *field) (*contender, error) {
	all, err := f.facts()
	if err != nil {
		return nil, err
	}
	allows, err := handwritten(f)
	if err != nil {
		return nil, err
	}
	c := &contender{name: nameLimit, decide: inTurn(all, len(f.workload.Queries), allows)}
	if f.name == "W4" {
		c.covers = make([]int, len(f.workload.Queries))
		for i := range c.covers {
			c.covers[i] = i
		}
	}
	return c, nil
}

func handwritten(f *field) (func(*facts) bool, error) {
	switch f.name {
	case "W1":
		return limitEndpoint, nil
	case "W2":
		return limitEstate, nil
	case "W3-100", "W3-1000", "W3-10000":
		return limitTenants(f.statements), nil
	case "W4":
		return limitNetworks(f.statements), nil
	case "W5":
		return limitEndpoints(f.statements), nil
	case "W6":
		return limitCallers(f.statements), nil
	}
	return nil, fmt.Errorf("workload %s: nobody wrote a function for it", f.name)
}

// invokes is the part that all policies have in common: the action, and the ARN as
// far as the API.
func invokes(f *facts) bool {
	return f.Action == onlyAction && strings.HasPrefix(f.Resource, apiARN)
}

// limitEndpoint is W1.
func limitEndpoint(f *facts) bool {
	return f.SourceVpce == "vpce-09e3779bd8ef1b1de" && invokes(f)
}

// limitTenants is W3: no two statements have the same endpoint.
func limitTenants(statements []statement) func(*facts) bool {
	prefixes := make(map[string]string, len(statements))
	for _, s := range statements {
		prefixes[s.conditions[0].values[0]] = strings.TrimSuffix(s.resources[0], "*")
	}
	return func(f *facts) bool {
		prefix, ok := prefixes[f.SourceVpce]
		return ok && strings.HasPrefix(f.Resource, prefix) && f.Action == onlyAction // the prefix begins with the API's ARN
	}
}

// limitNetworks is W4.
func limitNetworks(statements []statement) func(*facts) bool {
	table := new(bart.Lite)
	for _, v := range statements[0].conditions[0].values {
		table.Insert(netip.MustParsePrefix(v))
	}
	return func(f *facts) bool { return table.Contains(f.VpcSourceIP) }
}

// limitEndpoints is W5.
func limitEndpoints(statements []statement) func(*facts) bool {
	ids := make(map[string]struct{})
	for _, v := range statements[0].conditions[0].values {
		ids[v] = struct{}{}
	}
	return func(f *facts) bool {
		_, ok := ids[f.SourceVpce]
		return ok && invokes(f)
	}
}

// limitCallers is W6. Of the ten patterns a path's last segment leaves two at most.
func limitCallers(statements []statement) func(*facts) bool {
	names := make(map[string]struct{})
	for _, v := range statements[0].principals {
		names[v] = struct{}{}
	}
	// between: a text has a somewhere, and b somewhere behind it.
	between := func(path, a, b string) bool {
		i := strings.Index(path, a)
		return i >= 0 && strings.Contains(path[i+len(a):], b)
	}
	return func(f *facts) bool {
		if _, ok := names[f.Principal]; !ok || !invokes(f) {
			return false
		}
		path := f.Resource[len(apiARN):]
		last := strings.LastIndexByte(path, '/')
		if last < 0 {
			return false
		}
		above, matched := path[:last], false
		switch path[last:] {
		case "/items":
			matched = between(above, "/GET/tenant-", "/orders/") || between(above, "/POST/tenant-", "/orders/") || between(above, "/PUT/tenant-", "/carts/")
		case "/status":
			matched = between(above, "/GET/tenant-", "/orders/")
		case "/pdf", "/lines":
			matched = between(above, "/GET/tenant-", "/invoices/")
		case "/track":
			matched = between(above, "/GET/tenant-", "/shipments/")
		case "/label":
			matched = between(above, "/POST/tenant-", "/returns/")
		case "/level":
			matched = between(above, "/GET/region-", "/stock/")
		}
		if matched {
			return true
		}
		// The one pattern that ends in a star.
		i := strings.Index(path, "/DELETE/tenant-")
		return i >= 0 && between(path[i+len("/DELETE/tenant-"):], "/carts/", "/items/")
	}
}

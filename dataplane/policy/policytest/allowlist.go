package policytest

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

type object = map[string]any

// clause is a statement in the form in which the API stores it.
func clause(effect string, principal, resource, condition any) object {
	s := object{"Effect": effect, "Principal": principal, "Action": "execute-api:Invoke", "Resource": resource}
	if condition != nil {
		s["Condition"] = condition
	}
	return s
}

func textOf(statements ...object) []byte {
	out, err := json.Marshal(object{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		panic(err) // strings, lists and maps only
	}
	return out
}

var privateNetwork = netip.MustParsePrefix("10.0.0.0/8")

// through is any call of a shop's API through one endpoint.
func (t *traffic) through(endpoint int) call {
	path := t.pick("prod", "prod", "prod", "beta") + "/" + t.pick("GET", "GET", "GET", "POST", "PUT", "DELETE") + "/" +
		t.pick("pets", "orders", "customers", "carts", "invoices") + "/" + t.word() + t.pick("", "", "/items", "/items/"+t.word(), "/status")
	return call{endpoint: endpointID(endpoint), vpc: vpcID(endpoint), address: t.inside(privateNetwork), path: path}
}

// oneEndpoint is W1.
func oneEndpoint(t *traffic) []byte {
	t.fill(func(i int) call {
		if i%2 == 0 {
			return t.through(0)
		}
		return t.through(1 + t.IntN(200))
	})
	t.probe(t.through(0))
	return textOf(
		clause("Allow", "*", apiARN+"*", nil),
		clause("Deny", "*", apiARN+"*", object{"StringNotEquals": object{"aws:SourceVpce": endpointID(0)}}),
	)
}

// tenants is W3: a tenant has its own paths and its own endpoint.
func tenants(t *traffic, n int) []byte {
	prefix := func(tenant int) string {
		return fmt.Sprintf("prod/%s/%s/tenant-%d/", []string{"GET", "POST", "PUT", "GET"}[tenant%4], []string{"orders", "carts", "invoices"}[tenant%3], tenant)
	}
	visit := func(endpoint, tenant int) call {
		c := t.through(endpoint)
		c.path = prefix(tenant) + t.word() + t.pick("", "/items", "/status")
		return c
	}
	t.fill(func(i int) call {
		tenant := i / 4 % n // every statement gets its turn, and is hit
		if n > queriesPerWorkload/4 {
			tenant = t.IntN(n)
		}
		switch i % 4 {
		case 0, 1:
			return visit(tenant, tenant)
		case 2: // another tenant's paths
			return visit(tenant, (tenant+1+t.IntN(n-1))%n)
		}
		return visit(n+t.IntN(n), tenant) // nobody's endpoint
	})
	t.probe(visit(n/2, n/2))
	list := make([]object, n)
	for i := range list {
		list[i] = clause("Allow", "*", apiARN+prefix(i)+"*", object{"StringEquals": object{"aws:SourceVpce": endpointID(i)}})
	}
	return textOf(list...)
}

// networks is W4: ranges of all sizes that do not touch, a tenth of them IPv6.
func networks(t *traffic) []byte {
	const n = 1000
	var ranges []netip.Prefix
	var texts []string
	for i := range n {
		p := netip.PrefixFrom(t.inside(netip.MustParsePrefix("10.0.0.0/8")), 18+t.IntN(11))
		if i%10 == 0 {
			p = netip.PrefixFrom(t.inside(netip.MustParsePrefix("2001:db8::/32")), 44+4*t.IntN(6))
		}
		p = p.Masked()
		ranges, texts = append(ranges, p), append(texts, p.String())
	}
	t.fill(func(i int) call {
		c := t.through(t.IntN(200))
		p := ranges[i/2%n]
		if i%2 == 0 {
			c.address = t.inside(p)
			return c
		}
		// Out of a network that is wider by some bits: beside the range, or in it all the same.
		wide, _ := p.Addr().Prefix(max(12, p.Bits()-5))
		c.address = t.inside(wide)
		return c
	})
	c := t.through(0)
	c.address = t.inside(ranges[1])
	t.probe(c)
	return textOf(clause("Allow", "*", apiARN+"*", object{"IpAddress": object{"aws:VpcSourceIp": texts}}))
}

// endpoints is W5.
func endpoints(t *traffic) []byte {
	const n = 1000
	t.fill(func(i int) call { return t.through(i%2*n + i/2%n) })
	t.probe(t.through(17))
	var ids []string
	for i := range n {
		ids = append(ids, endpointID(i))
	}
	return textOf(clause("Allow", "*", apiARN+"*", object{"StringEquals": object{"aws:SourceVpce": ids}}))
}

// callers is W6: users and roles, and paths whose stars stand inside.
func callers(t *traffic) []byte {
	const n = 200
	patterns := []string{
		"*/GET/tenant-*/orders/*/items", "*/POST/tenant-*/orders/*/items", "*/GET/tenant-*/orders/*/status", "*/GET/tenant-*/invoices/*/pdf",
		"*/GET/tenant-*/invoices/*/lines", "*/PUT/tenant-*/carts/*/items", "*/DELETE/tenant-*/carts/*/items/*", "*/GET/tenant-*/shipments/*/track",
		"*/POST/tenant-*/returns/*/label", "*/GET/region-*/stock/*/level",
	}
	listed := func(i int) string {
		switch i % 4 {
		case 0:
			return fmt.Sprintf("%srole/service-%d", iamARN, i)
		case 1:
			return fmt.Sprintf("%suser/team-%d/user-%d", iamARN, i%7, i)
		}
		return fmt.Sprintf("%suser/user-%d", iamARN, i)
	}
	arrives := func(i int) string { // a role comes as a session
		if role, ok := strings.CutPrefix(listed(i), iamARN+"role/"); ok {
			return "arn:aws:sts::111122223333:assumed-role/" + role + "/i-" + t.word()
		}
		return listed(i)
	}
	visit := func(caller, pattern int) call {
		c := t.through(t.IntN(200))
		c.principal = arrives(caller)
		c.path = patterns[pattern]
		for strings.Contains(c.path, "*") {
			with := t.word()
			if strings.HasPrefix(c.path, "*") {
				with = t.pick("prod", "beta")
			}
			c.path = strings.Replace(c.path, "*", with, 1)
		}
		return c
	}
	t.fill(func(i int) call {
		caller, pattern := i/4%n, i/4%len(patterns)
		switch i % 4 {
		case 0, 1:
			return visit(caller, pattern)
		case 2:
			return visit(n+caller, pattern)
		}
		c := visit(caller, pattern)
		switch t.IntN(3) {
		case 0:
			c.path = strings.Replace(c.path, "/GET/", "/PATCH/", 1) + "/history"
		case 1:
			c.path = strings.Replace(c.path, "/tenant-", "/tenants-", 1) + "s"
		case 2:
			c.path = c.path[:strings.LastIndexByte(c.path, '/')]
		}
		return c
	})
	t.probe(visit(1, 0))
	t.probe(visit(4, 6))
	who, what := make([]string, n), make([]string, len(patterns))
	for i := range who {
		who[i] = listed(i)
	}
	for i, p := range patterns {
		what[i] = apiARN + p
	}
	return textOf(clause("Allow", object{"AWS": who}, what, nil))
}

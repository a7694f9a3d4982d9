package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/posternhq/postern/dataplane/policy"
)

// facts are the values of one request in a plain struct: all that an edge fills
// in, as policy.Request holds it, also what no workload's policy asks for.
type facts struct {
	Action   string
	Resource string // the ARN

	// Condition keys; empty if absent, which no present value is.
	SourceVpc, SourceVpce, SourceVpcARN string
	VpcSourceIP                         netip.Addr
	SecureTransport                     string
	UserAgent                           string
	Time                                time.Time

	// The caller; all empty if he is anonymous. Principal is what a policy would
	// name him by: his ARN, of a session the role's.
	Principal        string
	PrincipalAccount string
}

// configuration keeps one copy of each value that an edge has from its
// configuration, not from the request.
type configuration map[string]string

func (c configuration) shared(s string) string {
	if _, ok := c[s]; !ok {
		c[s] = strings.Clone(s)
	}
	return c[s]
}

// factsOf reads a query. Of the action it takes the spelling away.
func (c configuration) factsOf(q *policy.Query) (*facts, error) {
	f := &facts{Action: c.shared(q.Action), Resource: strings.Clone(q.Resource)}
	if strings.EqualFold(f.Action, onlyAction) {
		f.Action = c.shared(onlyAction)
	}
	for name, values := range q.Context {
		v := values[0]
		var err error
		switch name {
		case "aws:SourceVpc":
			f.SourceVpc = c.shared(v)
		case "aws:SourceVpce":
			f.SourceVpce = c.shared(v)
		case "aws:SourceVpcArn":
			f.SourceVpcARN = c.shared(v)
		case "aws:SecureTransport":
			f.SecureTransport = c.shared(v)
		case "aws:UserAgent":
			f.UserAgent = v
		case "aws:VpcSourceIp":
			f.VpcSourceIP, err = netip.ParseAddr(v)
		case "aws:CurrentTime":
			f.Time, err = time.Parse(time.RFC3339, v)
		default:
			err = fmt.Errorf("no field for it")
		}
		if err != nil {
			return nil, fmt.Errorf("context %s: %w", name, err)
		}
	}
	if q.Principal != "" {
		p, err := policy.ParsePrincipal(q.Principal)
		if err != nil {
			return nil, err
		}
		f.PrincipalAccount, f.Principal = p.Account, p.ARN
		if p.RoleARN != "" {
			f.Principal = p.RoleARN
		}
	}
	return f, nil
}

// addr is the source address, for an absent one an address that is in no network
// of any workload.
func (f *facts) addr() netip.Addr {
	if !f.VpcSourceIP.IsValid() {
		return netip.IPv6Unspecified()
	}
	return f.VpcSourceIP
}

func isAccount(principal string) bool { return !strings.HasPrefix(principal, "arn:") }

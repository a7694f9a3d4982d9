package service

import (
	"context"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/rdata"
	dnszone "github.com/posternhq/postern/dnsprop/zone"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// TestDNSAnswer says what an authority answers now, by the model: from the same
// changes and instants as the authority itself, with its faults. No server is
// asked, so no cache is seen. Which authority answers follows from the resolver's
// address; one that is down sends the resolver to the next.
func (s *route53Server) TestDNSAnswer(ctx context.Context, req *route53v1.TestDNSAnswerRequest) (*route53v1.TestDNSAnswerResponse, error) {
	first, err := firstAuthority(req)
	if err != nil {
		return nil, err
	}
	rtype, ok := rdata.Type(req.GetRecordtype())
	if !ok {
		return nil, invalidInput("The record type '%s' is not one of %s", req.GetRecordtype(), strings.Join(rdata.Types(), ", "))
	}
	name, err := rdata.Owner(req.GetRecordname())
	if err != nil {
		return nil, invalidInput("Invalid record name '%s': %v", req.GetRecordname(), err)
	}
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	c := caller(ctx)
	r, err := findZone(v, c, req.GetHostedzoneid())
	if err != nil {
		return nil, err
	}
	z := r.GetHostedZone()
	switch {
	case z.GetPrivate():
		return nil, invalidInput("The hosted zone %s is private: only public hosted zones can be tested", z.GetId())
	case !rdata.Within(name, z.GetName()):
		return nil, invalidInput("The name %s is not in the hosted zone %s", name, z.GetId())
	}
	set, err := zonesFor(v, c, z)
	if err != nil {
		return nil, err
	}
	at := set.At(s.cfg.Now())
	for i := range propagation.Authorities {
		authority := (first + i) % propagation.Authorities
		condition := set.Condition(name, authority, at)
		if condition == dnszone.Down && i+1 < propagation.Authorities {
			continue
		}
		answer := &route53v1.TestDNSAnswerResponse{
			Nameserver: new(strings.TrimSuffix(rdata.NameServer(authority), ".")),
			RecordName: new(strings.TrimSuffix(shownName(name), ".")),
			RecordType: new(req.GetRecordtype()),
			Protocol:   new("UDP"),
		}
		code := "SERVFAIL"
		if condition == dnszone.Answering {
			code, answer.RecordData = answerOf(set, name, rtype, authority, at)
		}
		answer.ResponseCode = new(code)
		return answer, nil
	}
	panic("no authority")
}

// firstAuthority is the one that a resolver asks first.
func firstAuthority(req *route53v1.TestDNSAnswerRequest) (int, error) {
	for _, text := range []*string{req.Resolverip, req.Edns0Clientsubnetip} {
		if text == nil {
			continue
		}
		if _, err := netip.ParseAddr(*text); err != nil {
			return 0, invalidInput("'%s' is not an IP address", *text)
		}
	}
	if req.Resolverip == nil {
		return 0, nil
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(req.GetResolverip())) // never fails
	return int(h.Sum32() % propagation.Authorities), nil
}

// zonesFor is the zones that answers in a user's public zone come from: it, and
// those names of Postern's own that its aliases lead to.
func zonesFor(v *state.View, c Caller, z *statev1.HostedZone) (*dnszone.Set, error) {
	targets := map[string]bool{}
	for r := range setsOf(v, c, z) {
		if a := r.GetRrset().GetAlias(); a != nil && !rdata.Within(a.GetDnsName(), z.GetName()) {
			targets[a.GetDnsName()] = true
		}
	}
	settings := v.Settings()
	profile, err := propagation.Resolve(settings.GetDnsProfile(), settings.GetCustomDnsProfile())
	if err != nil {
		return nil, err
	}
	base := &dnszone.Set{
		Clock: propagation.ClockOf(settings.GetDnsClock()), PositiveTTL: profile.PositiveTTL, NegativeTTL: profile.NegativeTTL, Faults: dnsFaults(v),
	}
	var changes []*dnszone.Change
	var regions []string
	for r := range v.All(statev1.Type_TYPE_DNS_CHANGE) {
		change := r.GetDnsChange()
		of := change.GetZone()
		switch {
		case of.GetName() == z.GetName() && !of.GetPrivate():
		case of == nil && slices.ContainsFunc(change.GetRecords(), func(r *statev1.RecordChange) bool { return targets[r.GetName()] }):
			regions = append(regions, change.GetRegion())
		default:
			continue
		}
		c, err := dnszone.NewChange(&dnsv1.Change{Change: change, Index: r.GetCreateIndex(), ModifyIndex: r.GetModifyIndex()})
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	edit := base.Edit(regions)
	for _, c := range changes {
		edit.Put(c)
	}
	return edit.Set(0), nil
}

// answerOf is the response code and the data of the first records of an answer:
// a CNAME is not followed.
func answerOf(set *dnszone.Set, name string, rtype uint16, authority int, at int64) (code string, data []string) {
	z := set.Serving(name, authority, at)
	if z == nil {
		return "REFUSED", nil
	}
	answer := set.Lookup(z, name, rtype, authority, at)
	switch {
	case !answer.Exists:
		return "NXDOMAIN", nil
	case answer.Cut != "":
		return "NOERROR", nil // a referral
	}
	for _, a := range answer.RRset.Addresses {
		data = append(data, a.String())
	}
	for _, rr := range answer.RRset.Data {
		data = append(data, rdata.Text(rr))
	}
	return "NOERROR", data
}

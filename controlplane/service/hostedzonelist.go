package service

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/rdata"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// zonesOfAccount are an account's hosted zones by id.
func zonesOfAccount(v *state.View, c Caller) []*statev1.HostedZone {
	var all []*statev1.HostedZone
	for r := range v.List(statev1.Type_TYPE_HOSTED_ZONE, c.Account, "", "") {
		all = append(all, r.GetHostedZone())
	}
	return all
}

// zonePage cuts a page out of sorted zones: from the first for which from holds.
// next is the zone that the following page begins with.
func zonePage(all []*statev1.HostedZone, n int, from func(*statev1.HostedZone) bool) (page []*statev1.HostedZone, next *statev1.HostedZone) {
	i := slices.IndexFunc(all, from)
	if i < 0 {
		return nil, nil
	}
	if all = all[i:]; len(all) > n {
		return all[:n], all[n]
	}
	return all, nil
}

func shownZones(zones []*statev1.HostedZone) []*route53v1.HostedZone {
	var shown []*route53v1.HostedZone
	for _, z := range zones {
		shown = append(shown, shownZone(z))
	}
	return shown
}

// ListHostedZones lists the account's zones by id.
func (s *route53Server) ListHostedZones(ctx context.Context, req *route53v1.ListHostedZonesRequest) (*route53v1.ListHostedZonesResponse, error) {
	if req.GetDelegationsetid() != "" {
		return nil, apierr.Unsupported("Postern does not implement reusable delegation sets")
	}
	n, err := maxItems(req.Maxitems, maxListedZones)
	if err != nil {
		return nil, err
	}
	private := req.GetHostedzonetype() == "PrivateHostedZone"
	if req.Hostedzonetype != nil && !private {
		return nil, invalidInput("The hosted zone type '%s' is not PrivateHostedZone", req.GetHostedzonetype())
	}
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	all := zonesOfAccount(v, caller(ctx))
	if private {
		all = slices.DeleteFunc(all, func(z *statev1.HostedZone) bool { return !z.GetPrivate() })
	}
	page, next := zonePage(all, n, func(z *statev1.HostedZone) bool { return z.GetId() >= bareID(req.GetMarker(), "hostedzone") })
	answer := &route53v1.ListHostedZonesResponse{
		HostedZones: shownZones(page), Marker: req.Marker, IsTruncated: new(next != nil), MaxItems: new(strconv.Itoa(n)),
	}
	if next != nil {
		answer.NextMarker = new(next.GetId())
	}
	return answer, nil
}

// ListHostedZonesByName lists the account's zones by name, labels reversed.
func (s *route53Server) ListHostedZonesByName(ctx context.Context, req *route53v1.ListHostedZonesByNameRequest) (*route53v1.ListHostedZonesByNameResponse, error) {
	n, err := maxItems(req.Maxitems, maxListedZones)
	if err != nil {
		return nil, err
	}
	start := ""
	switch {
	case req.GetDnsname() != "":
		name, err := rdata.Name(req.GetDnsname())
		if err != nil {
			return nil, apierr.New(apierr.KindInvalid, "InvalidDomainName", "%s is not a valid domain name: %v", req.GetDnsname(), err)
		}
		start = reversedName(name)
	case req.GetHostedzoneid() != "":
		return nil, invalidInput("The request contains a hosted zone id but no DNS name")
	}
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	all := zonesOfAccount(v, caller(ctx))
	order := func(z *statev1.HostedZone, name, id string) int {
		return cmp.Or(cmp.Compare(reversedName(z.GetName()), name), cmp.Compare(z.GetId(), id))
	}
	slices.SortFunc(all, func(a, b *statev1.HostedZone) int { return order(a, reversedName(b.GetName()), b.GetId()) })
	page, next := zonePage(all, n, func(z *statev1.HostedZone) bool {
		return order(z, start, bareID(req.GetHostedzoneid(), "hostedzone")) >= 0
	})
	answer := &route53v1.ListHostedZonesByNameResponse{
		HostedZones: shownZones(page), DnsName: req.Dnsname, HostedZoneId: req.Hostedzoneid, IsTruncated: new(next != nil), MaxItems: new(strconv.Itoa(n)),
	}
	if next != nil {
		answer.NextDnsName, answer.NextHostedZoneId = new(next.GetName()), new(next.GetId())
	}
	return answer, nil
}

// ListHostedZonesByVPC lists the private zones that a VPC is associated with.
func (s *route53Server) ListHostedZonesByVPC(ctx context.Context, req *route53v1.ListHostedZonesByVPCRequest) (*route53v1.ListHostedZonesByVPCResponse, error) {
	n, err := maxItems(req.Maxitems, maxListedZones)
	if err != nil {
		return nil, err
	}
	if req.GetVpcid() == "" || req.GetVpcregion() == "" {
		return nil, invalidInput("VPCId and VPCRegion are required")
	}
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	c := caller(ctx)
	all := slices.DeleteFunc(zonesOfAccount(v, c), func(z *statev1.HostedZone) bool {
		i := vpcOfZone(z, req.GetVpcid())
		return i < 0 || z.GetVpcs()[i].GetRegion() != req.GetVpcregion()
	})
	page, next := zonePage(all, n, func(z *statev1.HostedZone) bool { return z.GetId() >= req.GetNexttoken() })
	answer := &route53v1.ListHostedZonesByVPCResponse{MaxItems: new(strconv.Itoa(n))}
	for _, z := range page {
		answer.HostedZoneSummaries = append(answer.HostedZoneSummaries, &route53v1.HostedZoneSummary{
			HostedZoneId: new(z.GetId()), Name: new(shownName(z.GetName())), Owner: &route53v1.HostedZoneOwner{OwningAccount: new(c.Account)},
		})
	}
	if next != nil {
		answer.NextToken = new(next.GetId())
	}
	return answer, nil
}

// GetHostedZoneCount counts the account's zones.
func (s *route53Server) GetHostedZoneCount(ctx context.Context, _ *route53v1.GetHostedZoneCountRequest) (*route53v1.GetHostedZoneCountResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	return &route53v1.GetHostedZoneCountResponse{HostedZoneCount: new(int64(len(zonesOfAccount(v, caller(ctx)))))}, nil
}

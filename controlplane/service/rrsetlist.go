package service

import (
	"context"
	"strconv"
	"strings"

	"github.com/posternhq/postern/dnsprop/rdata"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	maxListedSets  = 300
	maxListedZones = 100
)

// maxItems reads how many entries a page may have; more than AWS gives is as
// much as it gives.
func maxItems(text *string, most int) (int, error) {
	if text == nil {
		return most, nil
	}
	n, err := strconv.Atoi(*text)
	if err != nil || n < 1 {
		return 0, invalidInput("The value '%s' of maxitems is not a number from 1 on", *text)
	}
	return min(n, most), nil
}

// ListResourceRecordSets lists a zone's sets by name, labels reversed, and type.
func (s *route53Server) ListResourceRecordSets(ctx context.Context, req *route53v1.ListResourceRecordSetsRequest) (*route53v1.ListResourceRecordSetsResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	c := caller(ctx)
	r, err := findZone(v, c, req.GetId())
	if err != nil {
		return nil, err
	}
	n, err := maxItems(req.Maxitems, maxListedSets)
	if err != nil {
		return nil, err
	}
	z := r.GetHostedZone()
	start := ""
	switch {
	case req.GetName() != "":
		name, err := rdata.Owner(req.GetName())
		if err != nil {
			return nil, invalidInput("Invalid name '%s': %v", req.GetName(), err)
		}
		start = setID(z, name, req.GetType())
	case req.GetType() != "":
		return nil, invalidInput("The request contains a type but no name")
	}
	answer := &route53v1.ListResourceRecordSetsResponse{IsTruncated: new(false), MaxItems: new(strconv.Itoa(n))}
	for r := range setsOf(v, c, z) {
		set := r.GetRrset()
		if strings.Compare(r.GetKey().GetId(), start) < 0 {
			continue
		}
		if len(answer.ResourceRecordSets) == n {
			answer.IsTruncated = new(true)
			answer.NextRecordName, answer.NextRecordType = new(shownName(set.GetName())), new(set.GetType())
			break
		}
		answer.ResourceRecordSets = append(answer.ResourceRecordSets, shownSet(set))
	}
	return answer, nil
}

func shownSet(set *statev1.ResourceRecordSet) *route53v1.ResourceRecordSet {
	shown := &route53v1.ResourceRecordSet{Name: new(shownName(set.GetName())), Type: new(set.GetType())}
	if a := set.GetAlias(); a != nil {
		shown.AliasTarget = &route53v1.AliasTarget{
			HostedZoneId: new(a.GetHostedZoneId()), DnsName: new(shownName(a.GetDnsName())), EvaluateTargetHealth: new(a.GetEvaluateTargetHealth()),
		}
		return shown
	}
	shown.Ttl = new(int64(set.GetTtl()))
	shown.ResourceRecords = &route53v1.ResourceRecords{}
	for _, value := range set.GetValues() {
		shown.ResourceRecords.Values = append(shown.ResourceRecords.Values, &route53v1.ResourceRecord{Value: new(value)})
	}
	return shown
}

package service

import (
	"strings"

	"github.com/posternhq/postern/dnsprop/rdata"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func readAlias(in *route53v1.AliasTarget) (*statev1.ZoneAlias, error) {
	if in.GetHostedZoneId() == "" || in.DnsName == nil || in.EvaluateTargetHealth == nil {
		return nil, invalidInput("Invalid request: an alias target needs HostedZoneId, DNSName and EvaluateTargetHealth")
	}
	name, err := rdata.Owner(in.GetDnsName())
	if err != nil {
		return nil, invalidBatch([]string{"The alias target name '" + in.GetDnsName() + "': " + err.Error()})
	}
	return &statev1.ZoneAlias{
		HostedZoneId: bareID(in.GetHostedZoneId(), "hostedzone"), DnsName: name, EvaluateTargetHealth: in.GetEvaluateTargetHealth(),
	}, nil
}

// checkAlias refuses a target that lies elsewhere, or is not there. Whether an
// endpoint or an API has the name is not looked at: it may get it later.
func (b *batch) checkAlias(set *statev1.ResourceRecordSet) {
	target := set.GetAlias()
	what := "Tried to create an alias that targets " + shownName(target.GetDnsName()) + ", type " + set.GetType() + " in zone " + target.GetHostedZoneId()
	apex, known := b.aliasZone(target)
	switch {
	case !known || !rdata.Within(target.GetDnsName(), apex):
		b.refuse("%s, but the alias target name does not lie within the target zone", what)
	case target.GetHostedZoneId() == b.zone.GetId():
		switch {
		case set.GetType() == "NS" || set.GetType() == "SOA":
			b.refuse("%s, but a set of that type cannot be an alias", what)
		case b.get(target.GetDnsName(), set.GetType()) == nil:
			b.refuse("%s, but that target was not found", what)
		}
	case set.GetType() != "A" && set.GetType() != "AAAA":
		b.refuse("%s, but that target has addresses only", what)
	}
}

// aliasZone is the apex of the zone that an alias names: the one that it is in
// itself, or a zone of a region's names.
func (b *batch) aliasZone(target *statev1.ZoneAlias) (apex string, ok bool) {
	if target.GetHostedZoneId() == b.zone.GetId() {
		return b.zone.GetName(), true
	}
	labels := strings.Split(target.GetDnsName(), ".")
	for i := range labels {
		if labels[i] != "execute-api" || i+2 >= len(labels) || !regionText.MatchString(labels[i+1]) {
			continue
		}
		region := labels[i+1]
		switch target.GetHostedZoneId() {
		case privateLinkZone(region):
			return "execute-api." + region + ".vpce.amazonaws.com.", true
		case apiZone(region):
			return executeAPI(region) + ".", true
		}
	}
	return "", false
}

// apiZone is the hosted zone of a region's API names: AWS's id where it is
// known, else one of the same form.
func apiZone(region string) string {
	switch region {
	case "us-east-1":
		return "Z1UJRXOUMOOFQ8"
	case "us-east-2":
		return "ZOJJZC49E0EPZ"
	case "us-west-1":
		return "Z2MUQ32089INYE"
	case "us-west-2":
		return "Z2OJLYMUO9EFXC"
	case "eu-west-1":
		return "ZLY8HYME6SFDD"
	case "eu-central-1":
		return "Z1U9ULNL0V5AJ3"
	}
	return "Z" + strings.ToUpper(strings.TrimPrefix(derivedID("zone", "execute-api", region), "zone-")[:13])
}

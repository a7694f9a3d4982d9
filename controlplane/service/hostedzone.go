package service

import (
	"context"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/rdata"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// AWS's quotas and lengths.
const (
	maxZones           = 500 // of an account
	maxCallerReference = 128
	maxZoneComment     = 256
	maxZoneName        = 1024
)

// What a zone begins with.
const (
	soaTTL      = 900
	nsTTL       = 172800
	soaTemplate = " " + rdata.Hostmaster + " 1 7200 900 1209600 86400"
)

// zoneNameClaim is the key of the record that says that there is a public zone
// of a name: the authorities serve one, whoever it belongs to.
func zoneNameClaim(name string) state.Key {
	return state.Key{Type: statev1.Type_TYPE_TOKEN, ID: "hosted-zone/" + name}
}

// zoneReferenceClaim keeps a caller reference from making two zones.
func zoneReferenceClaim(c Caller, reference string) state.Key {
	return c.global(statev1.Type_TYPE_TOKEN, "hosted-zone-reference/"+reference)
}

func zoneRecord(c Caller, z *statev1.HostedZone) *statev1.Record {
	key := c.global(statev1.Type_TYPE_HOSTED_ZONE, z.GetId())
	return &statev1.Record{Key: key.Proto(), Value: &statev1.Record_HostedZone{HostedZone: z}}
}

// findZone returns the record of one of the caller's zones.
func findZone(v *state.View, c Caller, id string) (*statev1.Record, error) {
	id = bareID(id, "hostedzone")
	if r := v.Get(c.global(statev1.Type_TYPE_HOSTED_ZONE, id)); id != "" && r != nil {
		return r, nil
	}
	return nil, apierr.New(apierr.KindNotFound, "NoSuchHostedZone", "No hosted zone found with ID: %s", id)
}

// CreateHostedZone makes a public zone, or, with a VPC, a private one.
func (s *route53Server) CreateHostedZone(ctx context.Context, req *route53v1.CreateHostedZoneRequest) (*route53v1.CreateHostedZoneResponse, error) {
	name, err := newZoneName(req)
	if err != nil {
		return nil, err
	}
	c := caller(ctx)
	var answer *route53v1.CreateHostedZoneResponse
	_, err = update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		reference := zoneReferenceClaim(c, req.GetCallerReference())
		if v.Get(reference) != nil {
			return nil, apierr.New(apierr.KindExists, "HostedZoneAlreadyExists", "A hosted zone has already been created with the specified caller reference.")
		}
		count := 0
		for range v.List(statev1.Type_TYPE_HOSTED_ZONE, c.Account, "", "") {
			count++
		}
		if count >= maxZones {
			return nil, apierr.New(apierr.KindLimit, "TooManyHostedZones", "Limits Exceeded: MAX_HOSTED_ZONES_BY_OWNER - Cannot create more than %d hosted zones.", maxZones)
		}
		z := &statev1.HostedZone{
			Id:              "Z" + s.cfg.pick(changeIDAlphabet, 20),
			Name:            name,
			CallerReference: req.GetCallerReference(),
			Comment:         req.GetHostedZoneConfig().GetComment(),
			Private:         req.Vpc != nil,
			Rrsets:          2,
		}
		claims := []state.Key{reference}
		if !z.GetPrivate() {
			claims = append(claims, zoneNameClaim(name))
			if v.Get(zoneNameClaim(name)) != nil {
				return nil, apierr.New(apierr.KindInvalid, "DelegationSetNotAvailable", "There is a hosted zone of the name %s, and the name servers here serve one of each name.", name)
			}
		}
		txn := &statev1.Txn{}
		for _, claim := range claims {
			txn.Guards = append(txn.Guards, absent(claim))
			txn.Puts = append(txn.Puts, &statev1.Record{Key: claim.Proto(), Value: &statev1.Record_Token{Token: &statev1.Token{Operation: "CreateHostedZone"}}})
		}
		sets := openingSets(name)
		var records []*statev1.RecordChange
		for _, set := range sets {
			records = append(records, recordChange(nil, set))
			txn.Puts = append(txn.Puts, setRecord(c, z, set))
		}
		change := zoneChange(s.cfg, v, c, z, "", records)
		if z.GetPrivate() {
			if err := associate(v, c, txn, z, req.GetVpc(), change); err != nil {
				return nil, err
			}
		}
		txn.Puts = append(txn.Puts, zoneRecord(c, z), changeRecord(change))
		answer = &route53v1.CreateHostedZoneResponse{
			HostedZone: shownZone(z),
			ChangeInfo: changeInfo(s.cfg, v, change),
			Vpc:        req.GetVpc(),
			Location:   new("https://route53.amazonaws.com/2013-04-01/hostedzone/" + z.GetId()),
		}
		if !z.GetPrivate() {
			answer.DelegationSet = delegationSet()
		}
		return txn, nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// newZoneName checks a request that makes a zone, and returns its name.
func newZoneName(req *route53v1.CreateHostedZoneRequest) (string, error) {
	switch {
	case req.GetName() == "" || len(req.GetName()) > maxZoneName:
		return "", invalidInput("Invalid hosted zone name: a name of 1 to %d characters is required", maxZoneName)
	case req.GetCallerReference() == "" || len(req.GetCallerReference()) > maxCallerReference:
		return "", invalidInput("A caller reference of 1 to %d characters is required", maxCallerReference)
	case len(req.GetHostedZoneConfig().GetComment()) > maxZoneComment:
		return "", invalidInput("The comment is longer than %d characters", maxZoneComment)
	case req.GetHostedZoneConfig().GetPrivateZone() && req.Vpc == nil:
		return "", invalidInput("When you're creating a private hosted zone (when you specify true for PrivateZone), you must also specify values for VPCId and VPCRegion.")
	case req.GetDelegationSetId() != "":
		return "", apierr.Unsupported("Postern does not implement reusable delegation sets")
	}
	name, err := rdata.Name(req.GetName())
	if err != nil {
		return "", apierr.New(apierr.KindInvalid, "InvalidDomainName", "%s is not a valid domain name: %v", req.GetName(), err)
	}
	// Public names there are Postern's own, so that no user's zone can be at or above them.
	if req.Vpc == nil && (rdata.Within(name, "amazonaws.com.") || rdata.Within("amazonaws.com.", name)) {
		return "", apierr.New(apierr.KindInvalid, "InvalidDomainName", "%s is reserved by AWS!", strings.TrimSuffix(name, "."))
	}
	return name, nil
}

func openingSets(name string) []*statev1.ResourceRecordSet {
	return []*statev1.ResourceRecordSet{
		{Name: name, Type: "NS", Ttl: nsTTL, Values: delegationSet().GetNameServers()},
		{Name: name, Type: "SOA", Ttl: soaTTL, Values: []string{rdata.NameServer(0) + soaTemplate}},
	}
}

func delegationSet() *route53v1.DelegationSet {
	set := &route53v1.DelegationSet{}
	for i := range rdata.NameServers {
		set.NameServers = append(set.NameServers, rdata.NameServer(i))
	}
	return set
}

func shownZone(z *statev1.HostedZone) *route53v1.HostedZone {
	shown := &route53v1.HostedZone{
		Id:                     new("/hostedzone/" + z.GetId()),
		Name:                   new(shownName(z.GetName())),
		CallerReference:        new(z.GetCallerReference()),
		Config:                 &route53v1.HostedZoneConfig{PrivateZone: new(z.GetPrivate())},
		ResourceRecordSetCount: new(int64(z.GetRrsets())),
	}
	if z.GetComment() != "" {
		shown.Config.Comment = new(z.GetComment())
	}
	return shown
}

// GetHostedZone shows a zone.
func (s *route53Server) GetHostedZone(ctx context.Context, req *route53v1.GetHostedZoneRequest) (*route53v1.GetHostedZoneResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	r, err := findZone(v, caller(ctx), req.GetId())
	if err != nil {
		return nil, err
	}
	z := r.GetHostedZone()
	answer := &route53v1.GetHostedZoneResponse{HostedZone: shownZone(z)}
	if !z.GetPrivate() {
		answer.DelegationSet = delegationSet()
		return answer, nil
	}
	answer.Vpcs = &route53v1.VPCs{}
	for _, vpc := range z.GetVpcs() {
		answer.Vpcs.Values = append(answer.Vpcs.Values, &route53v1.VPC{VpcRegion: new(vpc.GetRegion()), VpcId: new(vpc.GetVpcId())})
	}
	return answer, nil
}

// UpdateHostedZoneComment changes a zone's comment; none clears it.
func (s *route53Server) UpdateHostedZoneComment(ctx context.Context, req *route53v1.UpdateHostedZoneCommentRequest) (*route53v1.UpdateHostedZoneCommentResponse, error) {
	if len(req.GetComment()) > maxZoneComment {
		return nil, invalidInput("The comment is longer than %d characters", maxZoneComment)
	}
	c := caller(ctx)
	var z *statev1.HostedZone
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		r, err := findZone(v, c, req.GetId())
		if err != nil {
			return nil, err
		}
		z = proto.CloneOf(r.GetHostedZone())
		z.Comment = req.GetComment()
		return &statev1.Txn{Guards: []*statev1.Guard{guard(r)}, Puts: []*statev1.Record{zoneRecord(c, z)}}, nil
	})
	if err != nil {
		return nil, err
	}
	return &route53v1.UpdateHostedZoneCommentResponse{HostedZone: shownZone(z)}, nil
}

// DeleteHostedZone ends a zone that holds no more than it began with. The
// authorities end it on their schedules; resolvers of VPCs that a private
// zone was associated with leave it at once.
func (s *route53Server) DeleteHostedZone(ctx context.Context, req *route53v1.DeleteHostedZoneRequest) (*route53v1.DeleteHostedZoneResponse, error) {
	c := caller(ctx)
	answer := &route53v1.DeleteHostedZoneResponse{}
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		r, err := findZone(v, c, req.GetId())
		if err != nil {
			return nil, err
		}
		z := r.GetHostedZone()
		txn := &statev1.Txn{Guards: []*statev1.Guard{guard(r)}}
		txn.Deletes = append(txn.Deletes, r.GetKey(), zoneReferenceClaim(c, z.GetCallerReference()).Proto())
		if !z.GetPrivate() {
			txn.Deletes = append(txn.Deletes, zoneNameClaim(z.GetName()).Proto())
		}
		var records []*statev1.RecordChange
		for set := range setsOf(v, c, z) {
			if !requiredSet(z, set.GetRrset()) {
				return nil, apierr.New(apierr.KindInvalid, "HostedZoneNotEmpty", "The specified hosted zone contains non-required resource record sets and so cannot be deleted.")
			}
			txn.Deletes = append(txn.Deletes, set.GetKey())
			records = append(records, recordChange(set.GetRrset(), nil))
		}
		change := zoneChange(s.cfg, v, c, z, "", records)
		txn.Puts = append(txn.Puts, changeRecord(change))
		answer.ChangeInfo = changeInfo(s.cfg, v, change)
		return txn, nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// requiredSet: a zone cannot be without the set.
func requiredSet(z *statev1.HostedZone, set *statev1.ResourceRecordSet) bool {
	return set.GetName() == z.GetName() && (set.GetType() == "SOA" || set.GetType() == "NS")
}

// never is the start of an association whose change was lost.
const never = math.MaxInt64

// associationStart is the instant from which an association that a change makes
// is seen: when all authorities have the change; never if it is lost.
func associationStart(change *statev1.DnsChange) int64 {
	if at, ok := propagation.Insync(change); ok {
		return at.UnixNano()
	}
	return never
}

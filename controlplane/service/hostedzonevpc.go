package service

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// maxZoneVPCs is AWS's quota on the VPCs of a private zone.
const maxZoneVPCs = 300

// associate adds a VPC to a private zone, from the instant of a change on. The
// VPC's record is written again, so that writers of one VPC's private names,
// endpoints among them, collide.
func associate(v *state.View, c Caller, txn *statev1.Txn, z *statev1.HostedZone, vpc *route53v1.VPC, change *statev1.DnsChange) error {
	key := state.Key{Type: statev1.Type_TYPE_VPC, Account: c.Account, Region: vpc.GetVpcRegion(), ID: vpc.GetVpcId()}
	r := v.Get(key)
	if vpc.GetVpcId() == "" || vpc.GetVpcRegion() == "" || r == nil {
		return apierr.New(apierr.KindInvalid, "InvalidVPCId", "The VPC: %s in the region %s that you provided is not authorized to make the association.", vpc.GetVpcId(), vpc.GetVpcRegion())
	}
	if i := vpcOfZone(z, vpc.GetVpcId()); i >= 0 && z.GetVpcs()[i].GetFrom() == never {
		z.Vpcs[i].From = associationStart(change) // the change that associated it was lost
		return nil
	}
	if zoneOfName(v, c, z.GetName(), vpc.GetVpcId()) != "" {
		return apierr.New(apierr.KindInvalid, "ConflictingDomainExists", "The VPC %s in region %s has already been associated with the hosted zone %s with the same domain name.",
			vpc.GetVpcId(), vpc.GetVpcRegion(), zoneOfName(v, c, z.GetName(), vpc.GetVpcId()))
	}
	if z.GetName() == executeAPI(vpc.GetVpcRegion())+"." {
		for e := range v.List(statev1.Type_TYPE_VPC_ENDPOINT, c.Account, vpc.GetVpcRegion(), "") {
			end := e.GetVpcEndpoint()
			if endpointLives(end) && end.GetEndpoint().GetVpcId() == vpc.GetVpcId() && end.GetEndpoint().GetPrivateDnsEnabled() {
				return apierr.New(apierr.KindInvalid, "ConflictingDomainExists", "The VPC %s in region %s has already been associated with the hosted zone %s with the same domain name.",
					vpc.GetVpcId(), vpc.GetVpcRegion(), r.GetVpc().GetPrivateZoneId())
			}
		}
	}
	if len(z.GetVpcs()) >= maxZoneVPCs {
		return apierr.New(apierr.KindLimit, "LimitsExceeded", "Limits Exceeded: a private hosted zone has no more than %d VPCs.", maxZoneVPCs)
	}
	txn.Guards = append(txn.Guards, guard(r))
	txn.Puts = append(txn.Puts, &statev1.Record{Key: r.GetKey(), Value: r.GetValue()})
	z.Vpcs = append(z.Vpcs, &statev1.ZoneVpc{VpcId: vpc.GetVpcId(), Region: vpc.GetVpcRegion(), From: associationStart(change)})
	return nil
}

// zoneOfName is the id of the private zone of a name that a VPC is associated
// with, "" if there is none.
func zoneOfName(v *state.View, c Caller, name, vpc string) string {
	for r := range v.List(statev1.Type_TYPE_HOSTED_ZONE, c.Account, "", "") {
		z := r.GetHostedZone()
		if z.GetName() == name && vpcOfZone(z, vpc) >= 0 {
			return z.GetId()
		}
	}
	return ""
}

// vpcOfZone is where a zone lists a VPC, -1 if it does not.
func vpcOfZone(z *statev1.HostedZone, vpc string) int {
	return slices.IndexFunc(z.GetVpcs(), func(a *statev1.ZoneVpc) bool { return a.GetVpcId() == vpc })
}

// AssociateVPCWithHostedZone has the resolvers of a VPC answer from a private
// zone, once all authorities would show a change that is made now.
func (s *route53Server) AssociateVPCWithHostedZone(ctx context.Context, req *route53v1.AssociateVPCWithHostedZoneRequest) (*route53v1.AssociateVPCWithHostedZoneResponse, error) {
	info, err := s.changeVPCs(ctx, req.GetId(), req.GetComment(), func(v *state.View, c Caller, txn *statev1.Txn, z *statev1.HostedZone, change *statev1.DnsChange) error {
		if !z.GetPrivate() {
			return apierr.New(apierr.KindInvalid, "PublicZoneVPCAssociation", "You're trying to associate a VPC with a public hosted zone. Amazon Route 53 doesn't support associating a VPC with a public hosted zone.")
		}
		return associate(v, c, txn, z, req.GetVpc(), change)
	})
	if err != nil {
		return nil, err
	}
	return &route53v1.AssociateVPCWithHostedZoneResponse{ChangeInfo: info}, nil
}

// DisassociateVPCFromHostedZone ends that at once.
func (s *route53Server) DisassociateVPCFromHostedZone(ctx context.Context, req *route53v1.DisassociateVPCFromHostedZoneRequest) (*route53v1.DisassociateVPCFromHostedZoneResponse, error) {
	id := req.GetVpc().GetVpcId()
	info, err := s.changeVPCs(ctx, req.GetId(), req.GetComment(), func(_ *state.View, _ Caller, _ *statev1.Txn, z *statev1.HostedZone, _ *statev1.DnsChange) error {
		i := vpcOfZone(z, id)
		switch {
		case i < 0 || z.GetVpcs()[i].GetRegion() != req.GetVpc().GetVpcRegion():
			return apierr.New(apierr.KindNotFound, "VPCAssociationNotFound", "The VPC: %s and hosted zone: %s are not associated.", id, z.GetId())
		case len(z.GetVpcs()) == 1:
			return apierr.New(apierr.KindInvalid, "LastVPCAssociation", "The VPC: %s is the last VPC associated with hosted zone: %s, and cannot be disassociated.", id, z.GetId())
		}
		z.Vpcs = slices.Delete(z.Vpcs, i, i+1)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &route53v1.DisassociateVPCFromHostedZoneResponse{ChangeInfo: info}, nil
}

func (s *route53Server) changeVPCs(ctx context.Context, id, comment string, edit func(*state.View, Caller, *statev1.Txn, *statev1.HostedZone, *statev1.DnsChange) error) (*route53v1.ChangeInfo, error) {
	if len(comment) > maxZoneComment {
		return nil, invalidInput("The comment is longer than %d characters", maxZoneComment)
	}
	c := caller(ctx)
	var info *route53v1.ChangeInfo
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		r, err := findZone(v, c, id)
		if err != nil {
			return nil, err
		}
		z := proto.CloneOf(r.GetHostedZone())
		change := zoneChange(s.cfg, v, c, z, comment, nil)
		txn := &statev1.Txn{Guards: []*statev1.Guard{guard(r)}}
		if err := edit(v, c, txn, z, change); err != nil {
			return nil, err
		}
		txn.Puts = append(txn.Puts, zoneRecord(c, z), changeRecord(change))
		info = changeInfo(s.cfg, v, change)
		return txn, nil
	})
	return info, err
}

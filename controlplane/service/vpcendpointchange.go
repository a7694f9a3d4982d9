package service

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func (s *ec2Server) ModifyVpcEndpoint(ctx context.Context, req *ec2v1.ModifyVpcEndpointRequest) (*ec2v1.ModifyVpcEndpointResponse, error) {
	if err := required("vpcEndpointId", req.GetVpcEndpointId()); err != nil {
		return nil, err
	}
	if len(req.GetAddRouteTableIds())+len(req.GetRemoveRouteTableIds()) > 0 {
		return nil, invalidParameter("Route tables cannot be specified for an endpoint of type Interface.")
	}
	if req.GetResetPolicy() && req.PolicyDocument != nil {
		return nil, invalidCombination("The parameter policyDocument cannot be used with the parameter resetPolicy")
	}
	if err := checkAddressing(req.GetIpAddressType(), req.GetDnsOptions()); err != nil {
		return nil, err
	}
	warnings, err := checkEndpointPolicy(req.GetPolicyDocument())
	if err != nil {
		return nil, err
	}
	err = s.write(ctx, req.DryRun, func(v *state.View, c Caller) (*statev1.Txn, error) {
		r, err := findEndpoint(s.cfg, v, c, req.GetVpcEndpointId())
		if err != nil {
			return nil, err
		}
		if !endpointLives(r.GetVpcEndpoint()) {
			return nil, apierr.New(apierr.KindConflict, "IncorrectState", "The Vpc Endpoint '%s' is being deleted", req.GetVpcEndpointId())
		}
		w, err := openVPC(s.cfg, v, c, r.GetVpcEndpoint().GetEndpoint().GetVpcId())
		if err != nil {
			return nil, err
		}
		if err := s.modifyEndpoint(w, state.KeyOf(r.GetKey()), r.GetVpcEndpoint(), req); err != nil {
			return nil, err
		}
		return w.done(), nil
	})
	if err != nil {
		return nil, err
	}
	warn(ctx, warnings...)
	return &ec2v1.ModifyVpcEndpointResponse{Return: new(true)}, nil
}

func (s *ec2Server) modifyEndpoint(w *vpcWrite, key state.Key, before *statev1.VpcEndpoint, req *ec2v1.ModifyVpcEndpointRequest) error {
	opened := w.open(key)
	w.txn.Guards = append(w.txn.Guards, guard(opened)) // an association touches it: see touchEndpoints
	e := opened.GetVpcEndpoint()
	edit := endpointEdit{w: w, e: e}
	switch {
	case req.GetResetPolicy():
		e.Policy = ""
	case req.PolicyDocument != nil:
		e.Policy = req.GetPolicyDocument()
	}
	if err := edit.changeGroups(req.GetAddSecurityGroupIds(), req.GetRemoveSecurityGroupIds()); err != nil {
		return err
	}
	// Removals first: a subnet may give way to another one of its zone.
	if err := edit.removeSubnets(req.GetRemoveSubnetIds()); err != nil {
		return err
	}
	if err := edit.addSubnets(req.GetAddSubnetIds(), req.GetSubnetConfigurations()); err != nil {
		return err
	}
	if req.PrivateDnsEnabled != nil {
		e.Endpoint.PrivateDnsEnabled = new(false)
		if req.GetPrivateDnsEnabled() {
			if err := w.enablePrivateDNS(e); err != nil {
				return err
			}
		}
	}
	if len(edit.added)+len(edit.removed) > 0 || e.GetEndpoint().GetPrivateDnsEnabled() != before.GetEndpoint().GetPrivateDnsEnabled() {
		settings := w.view.Settings()
		profile, err := propagation.Resolve(settings.GetDnsProfile(), settings.GetCustomDnsProfile())
		if err != nil {
			return err
		}
		e.SettledAt = dnsNow(s.cfg, w.view).Add(profile.Pending(settings.GetDnsSeed(), key.ID)).UnixNano()
	}
	there := dnsNow(s.cfg, w.view)
	if at := time.Unix(0, e.GetAvailableAt()); at.After(there) {
		there = at
	}
	edit.late(there)
	enis := endpointAddresses{before: addressesOf(w.view, key, before), after: edit.addresses()}
	w.add(endpointDNS(s.cfg, w.view, before, e, enis, key))
	return nil
}

// changeGroups sets the groups of the endpoint and of its interfaces. An
// endpoint keeps at least one.
func (d *endpointEdit) changeGroups(add, remove []string) error {
	if len(add)+len(remove) == 0 {
		return nil
	}
	groups := d.e.GetEndpoint().GetGroups()
	if len(add) > 0 {
		more, err := d.w.groupsNamed(add)
		if err != nil {
			return err
		}
		for _, g := range more {
			if !slices.ContainsFunc(groups, func(known *ec2v1.GroupIdentifier) bool { return known.GetGroupId() == g.GetGroupId() }) {
				groups = append(groups, g)
			}
		}
	}
	for _, id := range remove {
		if err := idGroup.check(id); err != nil {
			return err
		}
		i := slices.IndexFunc(groups, func(g *ec2v1.GroupIdentifier) bool { return g.GetGroupId() == id })
		if i < 0 {
			return invalidParameter("The security group %s is not associated with the VPC endpoint", id)
		}
		groups = slices.Delete(groups, i, i+1)
	}
	if len(groups) == 0 {
		return invalidParameter("At least one security group must be associated with the VPC endpoint")
	}
	d.e.Endpoint.Groups = groups
	for _, id := range d.e.GetEndpoint().GetNetworkInterfaceIds() {
		eni := d.w.open(d.w.child(statev1.Type_TYPE_NETWORK_INTERFACE, id))
		eni.GetNetworkInterface().Groups = groups
	}
	return nil
}

// DeleteVpcEndpoints deletes each endpoint by itself: what cannot be deleted is
// named in the answer and does not stop the others.
func (s *ec2Server) DeleteVpcEndpoints(ctx context.Context, req *ec2v1.DeleteVpcEndpointsRequest) (*ec2v1.DeleteVpcEndpointsResponse, error) {
	if len(req.GetVpcEndpointIds()) == 0 {
		return nil, missingParameter("vpcEndpointId")
	}
	for _, id := range req.GetVpcEndpointIds() {
		if err := idEndpoint.check(id); err != nil {
			return nil, err
		}
	}
	if req.GetDryRun() {
		_, _, err := s.read(ctx, req.DryRun)
		return nil, err
	}
	answer := &ec2v1.DeleteVpcEndpointsResponse{}
	last := uint64(0)
	for _, id := range req.GetVpcEndpointIds() {
		index, err := s.commit(quiet(ctx), nil, func(v *state.View, c Caller) (*statev1.Txn, error) { return s.deleteEndpoint(v, c, id) })
		var refused *apierr.Error
		switch {
		case err == nil:
			last = max(last, index)
		case errors.As(err, &refused) && refused.Code == idEndpoint.notFound:
			answer.Unsuccessfuls = append(answer.Unsuccessfuls, &ec2v1.UnsuccessfulItem{
				ResourceId: new(id),
				// The batch action has a code of its own for it.
				Error: &ec2v1.UnsuccessfulItemError{Code: new("InvalidVpcEndpoint.NotFound"), Message: new(refused.Message)},
			})
		default:
			return nil, err
		}
	}
	if last == 0 { // nothing was deleted: the answer is a read
		v, err := view(quiet(ctx), s.cfg)
		if err != nil {
			return nil, err
		}
		last = v.Index()
	}
	setVersion(ctx, last)
	return answer, nil
}

// deleteEndpoint ends an endpoint's names and interfaces at once; the record
// stays for as long as the profile shows the state "deleting".
func (s *ec2Server) deleteEndpoint(v *state.View, c Caller, id string) (*statev1.Txn, error) {
	r, err := findEndpoint(s.cfg, v, c, id)
	if err != nil {
		return nil, err
	}
	before := r.GetVpcEndpoint()
	if !endpointLives(before) {
		return nil, nil
	}
	w, err := openVPC(s.cfg, v, c, before.GetEndpoint().GetVpcId())
	if err != nil {
		return nil, err
	}
	settings := v.Settings()
	profile, err := propagation.Resolve(settings.GetDnsProfile(), settings.GetCustomDnsProfile())
	if err != nil {
		return nil, err
	}
	w.txn.Guards = append(w.txn.Guards, guard(r)) // an association touches it: see touchEndpoints
	key := state.KeyOf(r.GetKey())
	enis := endpointAddresses{before: addressesOf(v, key, before)}
	after := proto.CloneOf(before)
	edit := endpointEdit{w: w, e: after}
	for _, eni := range before.GetEndpoint().GetNetworkInterfaceIds() {
		edit.drop(eni)
	}
	wait := profile.Deleting(settings.GetDnsSeed(), id)
	after.DeletedAt = dnsNow(s.cfg, v).Add(wait).UnixNano()
	if wait == 0 {
		w.drop(r.GetKey())
	} else {
		w.put(key, after)
	}
	w.add(endpointDNS(s.cfg, v, before, after, enis, key))
	return w.done(), nil
}

var endpointFilters = filters[*ec2v1.VpcEndpoint]{
	"vpc-endpoint-id": func(e *ec2v1.VpcEndpoint) []string { return []string{e.GetVpcEndpointId()} },
	"vpc-id":          func(e *ec2v1.VpcEndpoint) []string { return []string{e.GetVpcId()} },
	"service-name":    func(e *ec2v1.VpcEndpoint) []string { return []string{e.GetServiceName()} },
	"service-region":  func(e *ec2v1.VpcEndpoint) []string { return []string{e.GetServiceRegion()} },
	"vpc-endpoint-state": func(e *ec2v1.VpcEndpoint) []string {
		// Documents write Available, answers available: clients filter by either.
		state := e.GetState()
		return []string{state, strings.ToUpper(state[:1]) + state[1:]}
	},
	"vpc-endpoint-type": func(e *ec2v1.VpcEndpoint) []string { return []string{e.GetVpcEndpointType()} },
	"ip-address-type":   func(e *ec2v1.VpcEndpoint) []string { return []string{e.GetIpAddressType()} },
	"owner-id":          func(e *ec2v1.VpcEndpoint) []string { return []string{e.GetOwnerId()} },
}.withTags((*ec2v1.VpcEndpoint).GetTags)

func (s *ec2Server) DescribeVpcEndpoints(ctx context.Context, req *ec2v1.DescribeVpcEndpointsRequest) (*ec2v1.DescribeVpcEndpointsResponse, error) {
	v, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(req.MaxResults, req.NextToken, "vpcEndpointIds", req.GetVpcEndpointIds())
	if err != nil {
		return nil, err
	}
	match, err := endpointFilters.compile(req.GetFilters())
	if err != nil {
		return nil, err
	}
	var all []*ec2v1.VpcEndpoint
	for r := range v.List(statev1.Type_TYPE_VPC_ENDPOINT, c.Account, c.Region, "") {
		e := r.GetVpcEndpoint()
		if endpointGone(s.cfg, v, e) {
			continue
		}
		vpc := v.Get(c.key(statev1.Type_TYPE_VPC, e.GetEndpoint().GetVpcId())).GetVpc()
		all = append(all, describeEndpoint(s.cfg, v, state.KeyOf(r.GetKey()), vpc, e))
	}
	if all, err = pick(idEndpoint, all, req.GetVpcEndpointIds(), (*ec2v1.VpcEndpoint).GetVpcEndpointId); err != nil {
		return nil, err
	}
	answer := &ec2v1.DescribeVpcEndpointsResponse{}
	answer.VpcEndpoints, answer.NextToken = cut(p, keep(all, match), (*ec2v1.VpcEndpoint).GetVpcEndpointId)
	return answer, nil
}

var serviceFilters = filters[*ec2v1.ServiceDetail]{
	"service-name": func(d *ec2v1.ServiceDetail) []string { return []string{d.GetServiceName()} },
	"service-type": func(d *ec2v1.ServiceDetail) []string { return []string{d.GetServiceTypes()[0].GetServiceType()} },
	"owner":        func(d *ec2v1.ServiceDetail) []string { return []string{d.GetOwner()} },
	"supported-ip-address-types": func(d *ec2v1.ServiceDetail) []string {
		return d.GetSupportedIpAddressTypes()
	},
}.withTags((*ec2v1.ServiceDetail).GetTags)

// DescribeVpcEndpointServices shows the one service there is.
func (s *ec2Server) DescribeVpcEndpointServices(ctx context.Context, req *ec2v1.DescribeVpcEndpointServicesRequest) (*ec2v1.DescribeVpcEndpointServicesResponse, error) {
	_, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(req.MaxResults, req.NextToken, "serviceNames", req.GetServiceNames())
	if err != nil {
		return nil, err
	}
	match, err := serviceFilters.compile(req.GetFilters())
	if err != nil {
		return nil, err
	}
	name := serviceName(c.Region)
	for _, wanted := range req.GetServiceNames() {
		if wanted != name {
			return nil, apierr.New(apierr.KindNotFound, "InvalidServiceName", "The Vpc Endpoint Service '%s' does not exist", wanted)
		}
	}
	detail := &ec2v1.ServiceDetail{
		ServiceName:                     new(name),
		ServiceId:                       new(derivedID("vpce-svc", c.Region)),
		ServiceTypes:                    []*ec2v1.ServiceTypeDetail{{ServiceType: new("Interface")}},
		AvailabilityZones:               servedZones(c.Region),
		Owner:                           new("amazon"),
		BaseEndpointDnsNames:            []string{"execute-api." + c.Region + ".vpce.amazonaws.com"},
		PrivateDnsName:                  new(executeAPI(c.Region)),
		PrivateDnsNames:                 []*ec2v1.PrivateDnsDetails{{PrivateDnsName: new(executeAPI(c.Region))}},
		PrivateDnsNameVerificationState: new("verified"),
		VpcEndpointPolicySupported:      new(true),
		AcceptanceRequired:              new(false),
		ManagesVpcEndpoints:             new(false),
		SupportedIpAddressTypes:         []string{"ipv4"},
	}
	answer := &ec2v1.DescribeVpcEndpointServicesResponse{}
	answer.ServiceDetails, answer.NextToken = cut(p, keep([]*ec2v1.ServiceDetail{detail}, match), (*ec2v1.ServiceDetail).GetServiceName)
	for _, d := range answer.ServiceDetails {
		answer.ServiceNames = append(answer.ServiceNames, d.GetServiceName())
	}
	return answer, nil
}

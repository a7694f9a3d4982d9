package service

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// maxRules bounds the rules of a group in each direction, as on AWS.
const maxRules = 60

// ruleSpec is one permission with one source: what makes a rule, less its id.
type ruleSpec struct {
	protocol string // tcp, udp, icmp, icmpv6, -1, or another number
	from, to int32  // ports, or ICMP type and code; -1: all
	// Exactly one of these is set.
	cidr4, cidr6, group string
	groupOwner          string
	description         string
}

func allTraffic() ruleSpec { return ruleSpec{protocol: "-1", from: -1, to: -1} }

func (r ruleSpec) fromGroup(owner, group string) ruleSpec {
	r.groupOwner, r.group = owner, group
	return r
}

func newRule(cfg Config, group *statev1.SecurityGroup, egress bool, spec ruleSpec) *ec2v1.SecurityGroupRule {
	rule := &ec2v1.SecurityGroupRule{
		SecurityGroupRuleId: new(cfg.ec2ID("sgr")),
		GroupId:             group.GetGroup().GroupId,
		GroupOwnerId:        group.GetGroup().OwnerId,
		IsEgress:            new(egress),
		IpProtocol:          new(spec.protocol),
		FromPort:            new(spec.from),
		ToPort:              new(spec.to),
	}
	switch {
	case spec.cidr4 != "":
		rule.CidrIpv4 = new(spec.cidr4)
	case spec.cidr6 != "":
		rule.CidrIpv6 = new(spec.cidr6)
	default:
		rule.ReferencedGroupInfo = &ec2v1.ReferencedSecurityGroup{
			GroupId: new(spec.group), UserId: new(spec.groupOwner), VpcId: group.GetGroup().VpcId,
		}
	}
	if spec.description != "" {
		rule.Description = new(spec.description)
	}
	return rule
}

// specOf is the reverse of newRule.
func specOf(rule *ec2v1.SecurityGroupRule) ruleSpec {
	return ruleSpec{
		protocol: rule.GetIpProtocol(), from: rule.GetFromPort(), to: rule.GetToPort(),
		cidr4: rule.GetCidrIpv4(), cidr6: rule.GetCidrIpv6(),
		group: rule.GetReferencedGroupInfo().GetGroupId(), groupOwner: rule.GetReferencedGroupInfo().GetUserId(),
		description: rule.GetDescription(),
	}
}

// same compares what two rules permit.
func (r ruleSpec) same(other ruleSpec) bool {
	r.description, other.description = "", ""
	return r == other
}

// String is the rule as AWS's messages put it.
func (r ruleSpec) String() string {
	peer := cmp.Or(r.cidr4, r.cidr6, r.group)
	switch {
	case r.protocol == "-1":
		return fmt.Sprintf("peer: %s, ALL, ALLOW", peer)
	case hasPorts(r.protocol):
		return fmt.Sprintf("peer: %s, %s, from port: %d, to port: %d, ALLOW", peer, strings.ToUpper(r.protocol), r.from, r.to)
	case hasTypes(r.protocol):
		return fmt.Sprintf("peer: %s, %s, type: %d, code: %d, ALLOW", peer, strings.ToUpper(r.protocol), r.from, r.to)
	}
	return fmt.Sprintf("peer: %s, protocol: %s, ALLOW", peer, r.protocol)
}

func hasPorts(protocol string) bool { return protocol == "tcp" || protocol == "udp" }
func hasTypes(protocol string) bool { return protocol == "icmp" || protocol == "icmpv6" }

// ruleRequest is what the four actions on rules have in common.
type ruleRequest struct {
	egress             bool
	groupID, groupName string
	perms              []*ec2v1.IpPermission
	// The simple form: one permission in the request's own parameters.
	protocol, cidr           string
	from, to                 *int32
	sourceGroup, sourceOwner string
	ruleIDs                  []string
	tags                     []*ec2v1.TagSpecification
	dryRun                   *bool
}

// authorize adds rules to a group.
func (s *ec2Server) authorize(ctx context.Context, req ruleRequest) ([]*ec2v1.SecurityGroupRule, error) {
	perms, err := req.permissions()
	if err != nil {
		return nil, err
	}
	if len(perms) == 0 {
		return nil, missingParameter("ipPermissions")
	}
	tags, err := newTags(req.tags, "security-group-rule")
	if err != nil {
		return nil, err
	}
	var made []*ec2v1.SecurityGroupRule
	err = s.write(ctx, req.dryRun, func(v *state.View, c Caller) (*statev1.Txn, error) {
		r, err := findGroup(v, c, req.groupID, req.groupName)
		if err != nil {
			return nil, err
		}
		w, err := openVPC(s.cfg, v, c, r.GetSecurityGroup().GetGroup().GetVpcId())
		if err != nil {
			return nil, err
		}
		wanted, err := specs(v, c, w.id(), perms)
		if err != nil {
			return nil, err
		}
		group := w.open(state.KeyOf(r.GetKey())).GetSecurityGroup()
		made = nil
		for _, spec := range wanted {
			if ruleIndex(group, req.egress, spec) >= 0 {
				return nil, apierr.New(apierr.KindConflict, "InvalidPermission.Duplicate", "the specified rule \"%s\" already exists", spec)
			}
			rule := newRule(s.cfg, group, req.egress, spec)
			rule.Tags = tags
			group.Rules = append(group.Rules, rule)
			made = append(made, rule)
		}
		count := 0
		for _, rule := range group.GetRules() {
			if rule.GetIsEgress() == req.egress {
				count++
			}
		}
		if count > maxRules {
			return nil, apierr.New(apierr.KindLimit, "RulesPerSecurityGroupLimitExceeded", "The maximum number of rules per security group has been reached.")
		}
		return w.done(), nil
	})
	return made, err
}

func ruleIndex(group *statev1.SecurityGroup, egress bool, spec ruleSpec) int {
	return slices.IndexFunc(group.GetRules(), func(rule *ec2v1.SecurityGroupRule) bool {
		return rule.GetIsEgress() == egress && spec.same(specOf(rule))
	})
}

// revoke removes rules from a group. In a group of the default VPC a permission
// that no rule grants is reported back; anywhere else it is an error.
func (s *ec2Server) revoke(ctx context.Context, req ruleRequest) (unknown []*ec2v1.IpPermission, err error) {
	perms, err := req.permissions()
	if err != nil {
		return nil, err
	}
	switch {
	case len(perms) == 0 && len(req.ruleIDs) == 0:
		return nil, missingParameter("ipPermissions")
	case len(perms) > 0 && len(req.ruleIDs) > 0:
		return nil, invalidCombination("The parameter securityGroupRuleIds cannot be used with the parameter ipPermissions")
	}
	err = s.write(ctx, req.dryRun, func(v *state.View, c Caller) (*statev1.Txn, error) {
		r, err := findGroup(v, c, req.groupID, req.groupName)
		if err != nil {
			return nil, err
		}
		w, err := openVPC(s.cfg, v, c, r.GetSecurityGroup().GetGroup().GetVpcId())
		if err != nil {
			return nil, err
		}
		wanted, err := specs(v, c, w.id(), perms)
		if err != nil {
			return nil, err
		}
		group := w.open(state.KeyOf(r.GetKey())).GetSecurityGroup()
		unknown = nil
		for _, spec := range wanted {
			i := ruleIndex(group, req.egress, spec)
			switch {
			case i >= 0:
				group.Rules = slices.Delete(group.Rules, i, i+1)
			case w.vpc.GetVpc().GetIsDefault():
				unknown = mergeRule(unknown, newRule(s.cfg, group, req.egress, spec))
			default:
				return nil, apierr.New(apierr.KindNotFound, "InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
			}
		}
		for _, id := range req.ruleIDs {
			if err := idRule.check(id); err != nil {
				return nil, err
			}
			i := slices.IndexFunc(group.Rules, func(rule *ec2v1.SecurityGroupRule) bool {
				return rule.GetSecurityGroupRuleId() == id && rule.GetIsEgress() == req.egress
			})
			if i < 0 {
				return nil, idRule.missing(id)
			}
			group.Rules = slices.Delete(group.Rules, i, i+1)
		}
		return w.done(), nil
	})
	return unknown, err
}

func (s *ec2Server) AuthorizeSecurityGroupIngress(ctx context.Context, req *ec2v1.AuthorizeSecurityGroupIngressRequest) (*ec2v1.AuthorizeSecurityGroupIngressResponse, error) {
	rules, err := s.authorize(ctx, ruleRequest{
		groupID: req.GetGroupId(), groupName: req.GetGroupName(), perms: req.GetIpPermissions(),
		protocol: req.GetIpProtocol(), cidr: req.GetCidrIp(), from: req.FromPort, to: req.ToPort,
		sourceGroup: req.GetSourceSecurityGroupName(), sourceOwner: req.GetSourceSecurityGroupOwnerId(),
		tags: req.GetTagSpecifications(), dryRun: req.DryRun,
	})
	if err != nil {
		return nil, err
	}
	return &ec2v1.AuthorizeSecurityGroupIngressResponse{Return: new(true), SecurityGroupRules: rules}, nil
}

func (s *ec2Server) AuthorizeSecurityGroupEgress(ctx context.Context, req *ec2v1.AuthorizeSecurityGroupEgressRequest) (*ec2v1.AuthorizeSecurityGroupEgressResponse, error) {
	rules, err := s.authorize(ctx, ruleRequest{
		egress: true, groupID: req.GetGroupId(), perms: req.GetIpPermissions(),
		protocol: req.GetIpProtocol(), cidr: req.GetCidrIp(), from: req.FromPort, to: req.ToPort,
		sourceGroup: req.GetSourceSecurityGroupName(), sourceOwner: req.GetSourceSecurityGroupOwnerId(),
		tags: req.GetTagSpecifications(), dryRun: req.DryRun,
	})
	if err != nil {
		return nil, err
	}
	return &ec2v1.AuthorizeSecurityGroupEgressResponse{Return: new(true), SecurityGroupRules: rules}, nil
}

func (s *ec2Server) RevokeSecurityGroupIngress(ctx context.Context, req *ec2v1.RevokeSecurityGroupIngressRequest) (*ec2v1.RevokeSecurityGroupIngressResponse, error) {
	unknown, err := s.revoke(ctx, ruleRequest{
		groupID: req.GetGroupId(), groupName: req.GetGroupName(), perms: req.GetIpPermissions(),
		protocol: req.GetIpProtocol(), cidr: req.GetCidrIp(), from: req.FromPort, to: req.ToPort,
		sourceGroup: req.GetSourceSecurityGroupName(), sourceOwner: req.GetSourceSecurityGroupOwnerId(),
		ruleIDs: req.GetSecurityGroupRuleIds(), dryRun: req.DryRun,
	})
	if err != nil {
		return nil, err
	}
	return &ec2v1.RevokeSecurityGroupIngressResponse{Return: new(true), UnknownIpPermissions: unknown}, nil
}

func (s *ec2Server) RevokeSecurityGroupEgress(ctx context.Context, req *ec2v1.RevokeSecurityGroupEgressRequest) (*ec2v1.RevokeSecurityGroupEgressResponse, error) {
	unknown, err := s.revoke(ctx, ruleRequest{
		egress: true, groupID: req.GetGroupId(), perms: req.GetIpPermissions(),
		protocol: req.GetIpProtocol(), cidr: req.GetCidrIp(), from: req.FromPort, to: req.ToPort,
		sourceGroup: req.GetSourceSecurityGroupName(), sourceOwner: req.GetSourceSecurityGroupOwnerId(),
		ruleIDs: req.GetSecurityGroupRuleIds(), dryRun: req.DryRun,
	})
	if err != nil {
		return nil, err
	}
	return &ec2v1.RevokeSecurityGroupEgressResponse{Return: new(true), UnknownIpPermissions: unknown}, nil
}

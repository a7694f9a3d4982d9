package service

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dataplane/policy"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const defaultGroupName = "default"

// newGroup returns a group with the rule that each begins with: out is open.
func newGroup(cfg Config, c Caller, id, vpc, name, description string) *statev1.SecurityGroup {
	group := &statev1.SecurityGroup{Group: &ec2v1.SecurityGroup{
		GroupId:          new(id),
		GroupName:        new(name),
		GroupDescription: new(description),
		VpcId:            new(vpc),
		OwnerId:          new(c.Account),
		SecurityGroupArn: new("arn:" + policy.PartitionOf(c.Region) + ":ec2:" + c.Region + ":" + c.Account + ":security-group/" + id),
	}}
	anywhere := allTraffic()
	anywhere.cidr4 = "0.0.0.0/0"
	group.Rules = append(group.Rules, newRule(cfg, group, true, anywhere))
	return group
}

// defaultVPC returns the caller's default VPC, nil if it was deleted.
func defaultVPC(v *state.View, c Caller) *statev1.Vpc {
	for r := range v.List(statev1.Type_TYPE_VPC, c.Account, c.Region, "") {
		if r.GetVpc().GetVpc().GetIsDefault() {
			return r.GetVpc()
		}
	}
	return nil
}

// findGroup returns a group's record by its id or, in the default VPC, by its name.
func findGroup(v *state.View, c Caller, id, name string) (*statev1.Record, error) {
	if id != "" {
		return findChild(v, c, statev1.Type_TYPE_SECURITY_GROUP, idGroup, id)
	}
	if name == "" {
		return nil, apierr.New(apierr.KindInvalid, "MissingParameter", "The request must contain the parameter groupName or groupId")
	}
	vpc := defaultVPC(v, c)
	if vpc == nil {
		return nil, noDefaultVPC()
	}
	if r := groupNamed(v, c, vpc.GetVpc().GetVpcId(), name); r != nil {
		return r, nil
	}
	return nil, apierr.New(apierr.KindNotFound, idGroup.notFound,
		"The security group '%s' does not exist in default VPC '%s'", name, vpc.GetVpc().GetVpcId())
}

func groupNamed(v *state.View, c Caller, vpc, name string) *statev1.Record {
	for r := range v.List(statev1.Type_TYPE_SECURITY_GROUP, c.Account, c.Region, vpc+"/") {
		if r.GetSecurityGroup().GetGroup().GetGroupName() == name {
			return r
		}
	}
	return nil
}

func noDefaultVPC() error {
	return apierr.New(apierr.KindInvalid, "VPCIdNotSpecified",
		"No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.")
}

var groupText = regexp.MustCompile(`^[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}$`)

func (s *ec2Server) CreateSecurityGroup(ctx context.Context, req *ec2v1.CreateSecurityGroupRequest) (*ec2v1.CreateSecurityGroupResponse, error) {
	if err := required("groupName", req.GetGroupName(), "groupDescription", req.GetGroupDescription()); err != nil {
		return nil, err
	}
	switch name := req.GetGroupName(); {
	case strings.EqualFold(name, defaultGroupName):
		return nil, apierr.New(apierr.KindInvalid, "InvalidGroup.Reserved", "Cannot use reserved security group name: %s", name)
	case strings.HasPrefix(name, "sg-"):
		return nil, invalidValue("Invalid security group name. Group names may not be in the format sg-*.")
	case !groupText.MatchString(name):
		return nil, invalidValue("Value (%s) for parameter GroupName is invalid. Character sets beyond ASCII are not supported.", name)
	case !groupText.MatchString(req.GetGroupDescription()):
		return nil, invalidValue("Value (%s) for parameter GroupDescription is invalid. Character sets beyond ASCII are not supported.", req.GetGroupDescription())
	}
	tags, err := newTags(req.GetTagSpecifications(), "security-group")
	if err != nil {
		return nil, err
	}
	answer := &ec2v1.CreateSecurityGroupResponse{}
	err = s.create(ctx, "CreateSecurityGroup", "", req.DryRun, req, answer, func(v *state.View, c Caller) (*statev1.Txn, error) {
		vpc := req.GetVpcId()
		if vpc == "" {
			d := defaultVPC(v, c)
			if d == nil {
				return nil, noDefaultVPC()
			}
			vpc = d.GetVpc().GetVpcId()
		}
		w, err := openVPC(s.cfg, v, c, vpc)
		if err != nil {
			return nil, err
		}
		if groupNamed(v, c, vpc, req.GetGroupName()) != nil {
			return nil, apierr.New(apierr.KindConflict, "InvalidGroup.Duplicate",
				"The security group '%s' already exists for VPC '%s'", req.GetGroupName(), vpc)
		}
		group := newGroup(s.cfg, c, s.cfg.ec2ID("sg"), vpc, req.GetGroupName(), req.GetGroupDescription())
		group.Group.Tags = tags
		made := group.Group
		answer.GroupId, answer.Tags, answer.SecurityGroupArn = made.GroupId, made.Tags, made.SecurityGroupArn
		w.put(w.child(statev1.Type_TYPE_SECURITY_GROUP, made.GetGroupId()), group)
		return w.done(), nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

func (s *ec2Server) DeleteSecurityGroup(ctx context.Context, req *ec2v1.DeleteSecurityGroupRequest) (*ec2v1.DeleteSecurityGroupResponse, error) {
	err := s.write(ctx, req.DryRun, func(v *state.View, c Caller) (*statev1.Txn, error) {
		r, err := findGroup(v, c, req.GetGroupId(), req.GetGroupName())
		if err != nil {
			return nil, err
		}
		group := r.GetSecurityGroup().GetGroup()
		id := group.GetGroupId()
		if group.GetGroupName() == defaultGroupName {
			return nil, apierr.New(apierr.KindInvalid, "CannotDelete",
				"the specified group: \"%s\" name: \"%s\" cannot be deleted by a user", id, group.GetGroupName())
		}
		w, err := openVPC(s.cfg, v, c, group.GetVpcId())
		if err != nil {
			return nil, err
		}
		w.drop(r.GetKey())
		if groupInUse(v, c, group) {
			return nil, dependencyViolation("resource %s has a dependent object", id)
		}
		for eni := range v.List(statev1.Type_TYPE_NETWORK_INTERFACE, c.Account, c.Region, w.id()+"/") {
			if memberOf(eni.GetNetworkInterface(), id) {
				w.drop(eni.GetKey()) // a laboratory client's: see DeleteSubnet
			}
		}
		return w.done(), nil
	})
	if err != nil {
		return nil, err
	}
	return &ec2v1.DeleteSecurityGroupResponse{Return: new(true)}, nil
}

// groupInUse: an endpoint, or a rule of another group, refers to the group.
func groupInUse(v *state.View, c Caller, group *ec2v1.SecurityGroup) bool {
	id := group.GetGroupId()
	for r := range v.List(statev1.Type_TYPE_VPC_ENDPOINT, c.Account, c.Region, "") {
		e := r.GetVpcEndpoint()
		if endpointLives(e) && slices.ContainsFunc(e.GetEndpoint().GetGroups(), func(g *ec2v1.GroupIdentifier) bool { return g.GetGroupId() == id }) {
			return true
		}
	}
	for r := range v.List(statev1.Type_TYPE_SECURITY_GROUP, c.Account, c.Region, group.GetVpcId()+"/") {
		if r.GetSecurityGroup().GetGroup().GetGroupId() == id {
			continue
		}
		for _, rule := range r.GetSecurityGroup().GetRules() {
			if rule.GetReferencedGroupInfo().GetGroupId() == id {
				return true
			}
		}
	}
	for r := range v.List(statev1.Type_TYPE_NETWORK_INTERFACE, c.Account, c.Region, group.GetVpcId()+"/") {
		if eni := r.GetNetworkInterface(); memberOf(eni, id) && !isClient(eni) {
			return true
		}
	}
	return false
}

var groupFilters = filters[*ec2v1.SecurityGroup]{
	"group-id":    func(g *ec2v1.SecurityGroup) []string { return []string{g.GetGroupId()} },
	"group-name":  func(g *ec2v1.SecurityGroup) []string { return []string{g.GetGroupName()} },
	"vpc-id":      func(g *ec2v1.SecurityGroup) []string { return []string{g.GetVpcId()} },
	"description": func(g *ec2v1.SecurityGroup) []string { return []string{g.GetGroupDescription()} },
	"owner-id":    func(g *ec2v1.SecurityGroup) []string { return []string{g.GetOwnerId()} },
}.withPermissions("ip-permission.", (*ec2v1.SecurityGroup).GetIpPermissions).
	withPermissions("egress.ip-permission.", (*ec2v1.SecurityGroup).GetIpPermissionsEgress).
	withTags((*ec2v1.SecurityGroup).GetTags)

func (s *ec2Server) DescribeSecurityGroups(ctx context.Context, req *ec2v1.DescribeSecurityGroupsRequest) (*ec2v1.DescribeSecurityGroupsResponse, error) {
	v, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(req.MaxResults, req.NextToken, "groupIds", slices.Concat(req.GetGroupIds(), req.GetGroupNames()))
	if err != nil {
		return nil, err
	}
	match, err := groupFilters.compile(req.GetFilters())
	if err != nil {
		return nil, err
	}
	var all []*ec2v1.SecurityGroup
	for r := range v.List(statev1.Type_TYPE_SECURITY_GROUP, c.Account, c.Region, "") {
		all = append(all, describeGroup(r.GetSecurityGroup()))
	}
	ids := slices.Clone(req.GetGroupIds())
	for _, name := range req.GetGroupNames() {
		r, err := findGroup(v, c, "", name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, r.GetSecurityGroup().GetGroup().GetGroupId())
	}
	if all, err = pick(idGroup, all, ids, (*ec2v1.SecurityGroup).GetGroupId); err != nil {
		return nil, err
	}
	answer := &ec2v1.DescribeSecurityGroupsResponse{}
	answer.SecurityGroups, answer.NextToken = cut(p, keep(all, match), (*ec2v1.SecurityGroup).GetGroupId)
	return answer, nil
}

// describeGroup shows a group with its rules merged by protocol and ports.
func describeGroup(group *statev1.SecurityGroup) *ec2v1.SecurityGroup {
	shown := proto.CloneOf(group.GetGroup())
	shown.IpPermissions, shown.IpPermissionsEgress = nil, nil
	for _, rule := range group.GetRules() {
		if rule.GetIsEgress() {
			shown.IpPermissionsEgress = mergeRule(shown.IpPermissionsEgress, rule)
		} else {
			shown.IpPermissions = mergeRule(shown.IpPermissions, rule)
		}
	}
	return shown
}

var ruleFilters = filters[*ec2v1.SecurityGroupRule]{
	"group-id":               func(r *ec2v1.SecurityGroupRule) []string { return []string{r.GetGroupId()} },
	"security-group-rule-id": func(r *ec2v1.SecurityGroupRule) []string { return []string{r.GetSecurityGroupRuleId()} },
}.withTags((*ec2v1.SecurityGroupRule).GetTags)

func (s *ec2Server) DescribeSecurityGroupRules(ctx context.Context, req *ec2v1.DescribeSecurityGroupRulesRequest) (*ec2v1.DescribeSecurityGroupRulesResponse, error) {
	v, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(req.MaxResults, req.NextToken, "securityGroupRuleIds", req.GetSecurityGroupRuleIds())
	if err != nil {
		return nil, err
	}
	match, err := ruleFilters.compile(req.GetFilters())
	if err != nil {
		return nil, err
	}
	var all []*ec2v1.SecurityGroupRule
	for r := range v.List(statev1.Type_TYPE_SECURITY_GROUP, c.Account, c.Region, "") {
		all = append(all, r.GetSecurityGroup().GetRules()...)
	}
	if all, err = pick(idRule, all, req.GetSecurityGroupRuleIds(), (*ec2v1.SecurityGroupRule).GetSecurityGroupRuleId); err != nil {
		return nil, err
	}
	answer := &ec2v1.DescribeSecurityGroupRulesResponse{}
	answer.SecurityGroupRules, answer.NextToken = cut(p, keep(all, match), (*ec2v1.SecurityGroupRule).GetSecurityGroupRuleId)
	return answer, nil
}

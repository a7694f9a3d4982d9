package service

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
)

func tcp(from, to int32) *ec2v1.IpPermission {
	return &ec2v1.IpPermission{IpProtocol: new("tcp"), FromPort: &from, ToPort: &to}
}

func cidrs(p *ec2v1.IpPermission, ranges ...string) *ec2v1.IpPermission {
	for _, r := range ranges {
		p.IpRanges = append(p.IpRanges, &ec2v1.IpRange{CidrIp: &r})
	}
	return p
}

func groups(p *ec2v1.IpPermission, ids ...string) *ec2v1.IpPermission {
	for _, id := range ids {
		p.UserIdGroupPairs = append(p.UserIdGroupPairs, &ec2v1.UserIdGroupPair{GroupId: &id})
	}
	return p
}

func (l *ec2Lab) allow(group string, perms ...*ec2v1.IpPermission) ([]*ec2v1.SecurityGroupRule, error) {
	answer, err := l.AuthorizeSecurityGroupIngress(l.ctx(), &ec2v1.AuthorizeSecurityGroupIngressRequest{GroupId: &group, IpPermissions: perms})
	return answer.GetSecurityGroupRules(), err
}

func (l *ec2Lab) forbid(group string, perms ...*ec2v1.IpPermission) error {
	_, err := l.RevokeSecurityGroupIngress(l.ctx(), &ec2v1.RevokeSecurityGroupIngressRequest{GroupId: &group, IpPermissions: perms})
	return err
}

// ingress is a group's merged view, one line a permission.
func (l *ec2Lab) ingress(group string) []string {
	l.Helper()
	answer, err := l.DescribeSecurityGroups(l.ctx(), &ec2v1.DescribeSecurityGroupsRequest{GroupIds: []string{group}})
	var lines []string
	for _, p := range must(l, answer, err).GetSecurityGroups()[0].GetIpPermissions() {
		line := p.GetIpProtocol()
		if p.FromPort != nil {
			line += fmt.Sprintf(" %d-%d", p.GetFromPort(), p.GetToPort())
		}
		for _, r := range p.GetIpRanges() {
			line += " " + r.GetCidrIp()
		}
		for _, r := range p.GetIpv6Ranges() {
			line += " " + r.GetCidrIpv6()
		}
		for _, g := range p.GetUserIdGroupPairs() {
			line += " group"
			if g.GetUserId() != testAccount {
				line += " of " + g.GetUserId()
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func TestSecurityGroups(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.vpc("10.1.0.0/16").GetVpcId()
	id := l.group(vpc, "web")
	create := func(name, description string) error {
		_, err := l.CreateSecurityGroup(l.ctx(), &ec2v1.CreateSecurityGroupRequest{VpcId: &vpc, GroupName: &name, GroupDescription: &description})
		return err
	}
	wantCode(t, create("web", "again"), "InvalidGroup.Duplicate", "The security group 'web' already exists for VPC '"+vpc+"'")
	wantCode(t, create("Default", "x"), "InvalidGroup.Reserved")
	wantCode(t, create("sg-x", "x"), "InvalidParameterValue")
	wantCode(t, create("wéb", "x"), "InvalidParameterValue")
	wantCode(t, create("x", "é"), "InvalidParameterValue")
	wantCode(t, create("", "x"), "MissingParameter", "The request must contain the parameter groupName")

	// Without a VPC it goes to the default one, where names work as ids.
	answer, err := l.CreateSecurityGroup(l.ctx(), &ec2v1.CreateSecurityGroupRequest{GroupName: new("web"), GroupDescription: new("x")})
	inDefault := must(t, answer, err).GetGroupId()
	named, err := l.DescribeSecurityGroups(l.ctx(), &ec2v1.DescribeSecurityGroupsRequest{GroupNames: []string{"web"}})
	if got := must(t, named, err).GetSecurityGroups()[0].GetGroupId(); got != inDefault {
		t.Errorf("by name: %s, want %s", got, inDefault)
	}
	_, err = l.DescribeSecurityGroups(l.ctx(), &ec2v1.DescribeSecurityGroupsRequest{GroupNames: []string{"nobody"}})
	wantCode(t, err, "InvalidGroup.NotFound")
	_, err = l.DescribeSecurityGroups(l.ctx(), &ec2v1.DescribeSecurityGroupsRequest{GroupIds: []string{"web"}})
	wantCode(t, err, "InvalidGroupId.Malformed", `Invalid id: "web" (expecting "sg-...")`)
	_, err = l.DescribeSecurityGroups(l.ctx(), &ec2v1.DescribeSecurityGroupsRequest{GroupIds: []string{"sg-00000000"}})
	wantCode(t, err, "InvalidGroup.NotFound", "The security group 'sg-00000000' does not exist")

	remove := func(id string) error {
		_, err := l.DeleteSecurityGroup(l.ctx(), &ec2v1.DeleteSecurityGroupRequest{GroupId: &id})
		return err
	}
	other := l.group(vpc, "db")
	_, err = l.allow(other, groups(tcp(5432, 5432), id))
	must(t, 0, err)
	wantCode(t, remove(id), "DependencyViolation", "resource "+id+" has a dependent object")
	must(t, 0, remove(other))
	must(t, 0, remove(id))
	wantCode(t, remove(id), "InvalidGroup.NotFound")
	def := groupNamed(l.view(), Caller{Account: testAccount, Region: testRegion}, vpc, "default").GetSecurityGroup().GetGroup().GetGroupId()
	wantCode(t, remove(def), "CannotDelete", `the specified group: "`+def+`" name: "default" cannot be deleted by a user`)
	_, err = l.DeleteSecurityGroup(l.ctx(), &ec2v1.DeleteSecurityGroupRequest{GroupName: new("web")})
	must(t, 0, err)
}

func TestSecurityGroupRules(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.vpc("10.1.0.0/16").GetVpcId()
	id, other := l.group(vpc, "web"), l.group(vpc, "clients")

	rules, err := l.allow(id, cidrs(tcp(443, 443), "10.1.0.0/16", "10.2.0.1/16"), groups(tcp(443, 443), other))
	if must(t, rules, err); len(rules) != 3 || rules[0].GetCidrIpv4() != "10.1.0.0/16" || rules[2].GetReferencedGroupInfo().GetGroupId() != other {
		t.Fatalf("rules %v", rules)
	}
	_, err = l.allow(id, &ec2v1.IpPermission{IpProtocol: new("-1"), FromPort: new(int32(5)), Ipv6Ranges: []*ec2v1.Ipv6Range{{CidrIpv6: new("::/0")}}})
	must(t, 0, err)
	_, err = l.allow(id, cidrs(&ec2v1.IpPermission{IpProtocol: new("1"), FromPort: new(int32(8)), ToPort: new(int32(-1))}, "10.9.0.1"))
	must(t, 0, err)
	want := []string{"tcp 443-443 10.1.0.0/16 10.2.0.0/16 group", "-1 ::/0", "icmp 8--1 10.9.0.1/32"}
	if got := l.ingress(id); !slices.Equal(got, want) {
		t.Errorf("permissions %q, want %q", got, want)
	}

	_, err = l.allow(id, cidrs(tcp(443, 443), "10.1.0.0/16"))
	wantCode(t, err, "InvalidPermission.Duplicate", `the specified rule "peer: 10.1.0.0/16, TCP, from port: 443, to port: 443, ALLOW" already exists`)
	for code, p := range map[string]*ec2v1.IpPermission{
		"InvalidGroup.NotFound":    groups(tcp(1, 1), "sg-00000000"),
		"InvalidGroupId.Malformed": groups(tcp(1, 1), "sg-x"),
		"MissingParameter":         tcp(1, 1),
	} {
		_, err := l.allow(id, p)
		wantCode(t, err, code)
	}
	for _, p := range []*ec2v1.IpPermission{
		cidrs(tcp(1, 70000), "10.0.0.0/8"), cidrs(tcp(2, 1), "10.0.0.0/8"), cidrs(tcp(1, 1), "10.0.0.0/33"), cidrs(tcp(1, 1), "::/0"),
		cidrs(tcp(1, 1), "10.0.0.0/8", "10.1.1.1/8"), cidrs(&ec2v1.IpPermission{IpProtocol: new("tcp")}, "10.0.0.0/8"),
		cidrs(&ec2v1.IpPermission{IpProtocol: new("xyz")}, "10.0.0.0/8"),
		{IpProtocol: new("-1"), IpRanges: []*ec2v1.IpRange{{CidrIp: new("10.0.0.0/8"), Description: new("naïve")}}},
	} {
		_, err := l.allow(id, p)
		wantCode(t, err, "InvalidParameterValue")
	}
	strange := l.group(l.vpc("10.2.0.0/16").GetVpcId(), "elsewhere")
	_, err = l.allow(id, groups(tcp(1, 1), strange))
	wantCode(t, err, "InvalidGroup.NotFound")

	must(t, 0, l.forbid(id, groups(tcp(443, 443), other)))
	wantCode(t, l.forbid(id, groups(tcp(443, 443), other)), "InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
	_, err = l.RevokeSecurityGroupIngress(l.ctx(), &ec2v1.RevokeSecurityGroupIngressRequest{GroupId: &id, SecurityGroupRuleIds: []string{rules[0].GetSecurityGroupRuleId()}})
	must(t, 0, err)
	_, err = l.RevokeSecurityGroupEgress(l.ctx(), &ec2v1.RevokeSecurityGroupEgressRequest{GroupId: &id, SecurityGroupRuleIds: []string{rules[1].GetSecurityGroupRuleId()}})
	wantCode(t, err, "InvalidSecurityGroupRuleId.NotFound")
	want = []string{"tcp 443-443 10.2.0.0/16", "-1 ::/0", "icmp 8--1 10.9.0.1/32"}
	if got := l.ingress(id); !slices.Equal(got, want) {
		t.Errorf("permissions %q, want %q", got, want)
	}

	found, err := l.DescribeSecurityGroups(l.ctx(), &ec2v1.DescribeSecurityGroupsRequest{Filters: []*ec2v1.Filter{
		{Name: new("ip-permission.from-port"), Values: []string{"443"}}, {Name: new("ip-permission.cidr"), Values: []string{"10.2.*"}},
	}})
	if gs := must(t, found, err).GetSecurityGroups(); len(gs) != 1 || gs[0].GetGroupId() != id {
		t.Errorf("filters find %v", gs)
	}

	var many []string
	for i := range maxRules {
		many = append(many, fmt.Sprintf("10.%d.0.0/16", i+100))
	}
	_, err = l.allow(other, cidrs(tcp(1, 1), many...))
	must(t, 0, err)
	_, err = l.allow(other, cidrs(tcp(2, 2), "10.0.0.0/8"))
	wantCode(t, err, "RulesPerSecurityGroupLimitExceeded")
}

func TestSimpleFormOfRules(t *testing.T) {
	l := newEC2Lab(t)
	id := l.group(l.vpc("10.1.0.0/16").GetVpcId(), "web")
	in := &ec2v1.AuthorizeSecurityGroupIngressRequest{GroupId: &id, IpProtocol: new("tcp"), FromPort: new(int32(443)), ToPort: new(int32(443)), CidrIp: new("10.0.0.0/8")}
	answer, err := l.AuthorizeSecurityGroupIngress(l.ctx(), in)
	if must(t, answer, err); !answer.GetReturn() || len(answer.GetSecurityGroupRules()) != 1 {
		t.Errorf("answer %v", answer)
	}
	_, err = l.AuthorizeSecurityGroupIngress(l.ctx(), &ec2v1.AuthorizeSecurityGroupIngressRequest{GroupId: &id, SourceSecurityGroupName: new("web")})
	must(t, 0, err)
	if got, want := l.ingress(id), []string{"tcp 443-443 10.0.0.0/8", "-1 group"}; !slices.Equal(got, want) {
		t.Errorf("permissions %q, want %q", got, want)
	}
	in = proto.CloneOf(in)
	in.IpPermissions = []*ec2v1.IpPermission{cidrs(tcp(1, 1), "10.0.0.0/8")}
	_, err = l.AuthorizeSecurityGroupIngress(l.ctx(), in)
	wantCode(t, err, "InvalidParameterCombination")
	_, err = l.AuthorizeSecurityGroupIngress(l.ctx(), &ec2v1.AuthorizeSecurityGroupIngressRequest{GroupId: &id})
	wantCode(t, err, "MissingParameter")
	_, err = l.RevokeSecurityGroupIngress(l.ctx(), &ec2v1.RevokeSecurityGroupIngressRequest{GroupId: &id, IpProtocol: new("6"), FromPort: new(int32(443)), ToPort: new(int32(443)), CidrIp: new("10.0.0.0/8")})
	if must(t, 0, err); len(l.ingress(id)) != 1 {
		t.Errorf("permissions %q", l.ingress(id))
	}
}

func TestEgressAndDefaultVPC(t *testing.T) {
	l := newEC2Lab(t)
	// In a group of the default VPC an unknown permission is reported, not refused.
	answer, err := l.CreateSecurityGroup(l.ctx(), &ec2v1.CreateSecurityGroupRequest{GroupName: new("x"), GroupDescription: new("x")})
	id := must(t, answer, err).GetGroupId()
	all := cidrs(&ec2v1.IpPermission{IpProtocol: new("-1")}, "0.0.0.0/0")
	out, err := l.RevokeSecurityGroupEgress(l.ctx(), &ec2v1.RevokeSecurityGroupEgressRequest{GroupId: &id, IpPermissions: []*ec2v1.IpPermission{all, cidrs(tcp(1, 1), "10.0.0.0/8")}})
	if u := must(t, out, err).GetUnknownIpPermissions(); len(u) != 1 || u[0].GetFromPort() != 1 || !out.GetReturn() {
		t.Errorf("answer %v", out)
	}
	_, err = l.AuthorizeSecurityGroupEgress(l.ctx(), &ec2v1.AuthorizeSecurityGroupEgressRequest{GroupId: &id, IpPermissions: []*ec2v1.IpPermission{cidrs(tcp(1, 1), "10.0.0.0/8")}})
	must(t, 0, err)
	rules, err := l.DescribeSecurityGroupRules(l.ctx(), &ec2v1.DescribeSecurityGroupRulesRequest{Filters: []*ec2v1.Filter{{Name: new("group-id"), Values: []string{id}}}})
	if rs := must(t, rules, err).GetSecurityGroupRules(); len(rs) != 1 || !rs[0].GetIsEgress() || rs[0].GetToPort() != 1 {
		t.Errorf("rules %v", rs)
	}
	if got := l.ingress(id); len(got) != 0 {
		t.Errorf("an egress rule lets in %q", got)
	}
}

package service

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhq/postern/controlplane/state"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Permissions, in which clients write rules and read them merged: many sources
// under one protocol and one range of ports. A rule has one source.

// permissions are the request's permissions, whichever form it has.
func (r ruleRequest) permissions() ([]*ec2v1.IpPermission, error) {
	simple := r.protocol != "" || r.cidr != "" || r.from != nil || r.to != nil || r.sourceGroup != ""
	switch {
	case simple && len(r.perms) > 0:
		return nil, invalidCombination("The parameter ipPermissions cannot be used with the parameters ipProtocol, fromPort, toPort, cidrIp and sourceSecurityGroupName")
	case !simple:
		return r.perms, nil
	case r.cidr != "" && r.sourceGroup != "":
		return nil, invalidCombination("The parameter cidrIp cannot be used with the parameter sourceSecurityGroupName")
	}
	p := &ec2v1.IpPermission{IpProtocol: new(r.protocol), FromPort: r.from, ToPort: r.to}
	if r.sourceGroup != "" {
		if r.protocol == "" {
			p.IpProtocol = new("-1")
		}
		pair := &ec2v1.UserIdGroupPair{GroupName: new(r.sourceGroup)}
		if strings.HasPrefix(r.sourceGroup, "sg-") {
			pair = &ec2v1.UserIdGroupPair{GroupId: new(r.sourceGroup)}
		}
		if r.sourceOwner != "" {
			pair.UserId = new(r.sourceOwner)
		}
		p.UserIdGroupPairs = append(p.UserIdGroupPairs, pair)
	}
	if r.cidr != "" {
		if strings.Contains(r.cidr, ":") {
			p.Ipv6Ranges = append(p.Ipv6Ranges, &ec2v1.Ipv6Range{CidrIpv6: new(r.cidr)})
		} else {
			p.IpRanges = append(p.IpRanges, &ec2v1.IpRange{CidrIp: new(r.cidr)})
		}
	}
	return []*ec2v1.IpPermission{p}, nil
}

// specs turns permissions into one spec a source.
func specs(v *state.View, c Caller, vpc string, perms []*ec2v1.IpPermission) ([]ruleSpec, error) {
	var out []ruleSpec
	add := func(spec ruleSpec) error {
		if slices.ContainsFunc(out, spec.same) {
			return invalidValue("The same permission must not appear multiple times")
		}
		out = append(out, spec)
		return nil
	}
	for _, p := range perms {
		base, err := protocolAndPorts(p)
		if err != nil {
			return nil, err
		}
		before := len(out)
		for _, r := range p.GetIpRanges() {
			spec := base
			if spec.cidr4, err = ruleCIDR(r.GetCidrIp(), false); err != nil {
				return nil, err
			}
			if spec.description, err = ruleDescription(r.Description); err != nil {
				return nil, err
			}
			if err := add(spec); err != nil {
				return nil, err
			}
		}
		for _, r := range p.GetIpv6Ranges() {
			spec := base
			if spec.cidr6, err = ruleCIDR(r.GetCidrIpv6(), true); err != nil {
				return nil, err
			}
			if spec.description, err = ruleDescription(r.Description); err != nil {
				return nil, err
			}
			if err := add(spec); err != nil {
				return nil, err
			}
		}
		for _, pair := range p.GetUserIdGroupPairs() {
			id, err := sourceGroup(v, c, vpc, pair)
			if err != nil {
				return nil, err
			}
			spec := base.fromGroup(c.Account, id)
			if spec.description, err = ruleDescription(pair.Description); err != nil {
				return nil, err
			}
			if err := add(spec); err != nil {
				return nil, err
			}
		}
		for _, l := range p.GetPrefixListIds() {
			// There is none: DescribePrefixLists answers an empty set.
			return nil, idPrefixList.missing(l.GetPrefixListId())
		}
		if len(out) == before {
			return nil, missingParameter("cidrIp")
		}
	}
	return out, nil
}

var protocolNames = map[string]string{"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "all": "-1"}

func protocolAndPorts(p *ec2v1.IpPermission) (ruleSpec, error) {
	spec := ruleSpec{protocol: strings.ToLower(p.GetIpProtocol()), from: -1, to: -1}
	if name := protocolNames[spec.protocol]; name != "" {
		spec.protocol = name
	}
	if p.FromPort != nil {
		spec.from = p.GetFromPort()
	}
	if p.ToPort != nil {
		spec.to = p.GetToPort()
	}
	switch {
	case spec.protocol == "":
		return spec, missingParameter("ipProtocol")
	case hasPorts(spec.protocol):
		if p.FromPort == nil || p.ToPort == nil {
			return spec, invalidValue("Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
		}
		for _, port := range []int32{spec.from, spec.to} {
			if port < 0 || port > 65535 {
				return spec, invalidValue("TCP/UDP port (%d) out of range", port)
			}
		}
		if spec.from > spec.to {
			return spec, invalidValue("Invalid TCP/UDP port range (%d:%d)", spec.from, spec.to)
		}
	case hasTypes(spec.protocol):
		if spec.from < -1 || spec.from > 255 || spec.to < -1 || spec.to > 255 {
			return spec, invalidValue("ICMP code (%d) out of range", max(spec.from, spec.to))
		}
	default:
		// Any other protocol is permitted as a whole, whatever ports were given.
		n, err := strconv.Atoi(spec.protocol)
		if err != nil || n < -1 || n > 255 {
			return spec, invalidValue("Invalid value '%s' for IP protocol. Unknown protocol.", p.GetIpProtocol())
		}
		spec.from, spec.to = -1, -1
	}
	return spec, nil
}

func ruleCIDR(text string, v6 bool) (string, error) {
	if !strings.Contains(text, "/") {
		// An address stands for itself alone.
		if a, err := netip.ParseAddr(text); err == nil {
			text = netip.PrefixFrom(a, a.BitLen()).String()
		}
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4() == v6 {
		return "", invalidValue("CIDR block %s is malformed", text)
	}
	return p.Masked().String(), nil
}

var ruleText = regexp.MustCompile(`^[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}$`)

func ruleDescription(text *string) (string, error) {
	if !ruleText.MatchString(deref(text)) {
		return "", invalidValue("Invalid rule description. Valid descriptions are strings less than 256 characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*")
	}
	return deref(text), nil
}

// sourceGroup finds the group that a permission names: one of the same VPC.
func sourceGroup(v *state.View, c Caller, vpc string, pair *ec2v1.UserIdGroupPair) (string, error) {
	id, name := pair.GetGroupId(), pair.GetGroupName()
	if id == "" && name == "" {
		return "", missingParameter("groupId")
	}
	if id == "" {
		if r := groupNamed(v, c, vpc, name); r != nil {
			return r.GetSecurityGroup().GetGroup().GetGroupId(), nil
		}
		return "", idGroup.missing(name)
	}
	if err := idGroup.check(id); err != nil {
		return "", err
	}
	if v.Get(c.key(statev1.Type_TYPE_SECURITY_GROUP, vpc+"/"+id)) == nil {
		return "", idGroup.missing(id)
	}
	return id, nil
}

// mergeRule adds a rule to permissions that are merged by protocol and ports.
func mergeRule(perms []*ec2v1.IpPermission, rule *ec2v1.SecurityGroupRule) []*ec2v1.IpPermission {
	spec := specOf(rule)
	want := &ec2v1.IpPermission{IpProtocol: new(spec.protocol)}
	if hasPorts(spec.protocol) || hasTypes(spec.protocol) {
		want.FromPort, want.ToPort = new(spec.from), new(spec.to)
	}
	i := slices.IndexFunc(perms, func(p *ec2v1.IpPermission) bool {
		return p.GetIpProtocol() == want.GetIpProtocol() && p.GetFromPort() == want.GetFromPort() && p.GetToPort() == want.GetToPort()
	})
	if i < 0 {
		i = len(perms)
		perms = append(perms, want)
	}
	switch p := perms[i]; {
	case spec.cidr4 != "":
		p.IpRanges = append(p.IpRanges, &ec2v1.IpRange{CidrIp: new(spec.cidr4), Description: rule.Description})
	case spec.cidr6 != "":
		p.Ipv6Ranges = append(p.Ipv6Ranges, &ec2v1.Ipv6Range{CidrIpv6: new(spec.cidr6), Description: rule.Description})
	default:
		p.UserIdGroupPairs = append(p.UserIdGroupPairs, &ec2v1.UserIdGroupPair{
			GroupId: new(spec.group), UserId: new(spec.groupOwner), Description: rule.Description,
		})
	}
	return perms
}

// withPermissions adds the filters on a group's permissions.
func (f filters[T]) withPermissions(prefix string, perms func(T) []*ec2v1.IpPermission) filters[T] {
	each := func(name string, values func(*ec2v1.IpPermission) []string) {
		f[prefix+name] = func(t T) []string {
			var all []string
			for _, p := range perms(t) {
				all = append(all, values(p)...)
			}
			return all
		}
	}
	number := func(n *int32) []string {
		if n == nil {
			return nil
		}
		return []string{strconv.Itoa(int(*n))}
	}
	each("from-port", func(p *ec2v1.IpPermission) []string { return number(p.FromPort) })
	each("to-port", func(p *ec2v1.IpPermission) []string { return number(p.ToPort) })
	each("protocol", func(p *ec2v1.IpPermission) []string { return []string{p.GetIpProtocol()} })
	each("cidr", func(p *ec2v1.IpPermission) []string {
		var all []string
		for _, r := range p.GetIpRanges() {
			all = append(all, r.GetCidrIp())
		}
		return all
	})
	each("ipv6-cidr", func(p *ec2v1.IpPermission) []string {
		var all []string
		for _, r := range p.GetIpv6Ranges() {
			all = append(all, r.GetCidrIpv6())
		}
		return all
	})
	each("group-id", func(p *ec2v1.IpPermission) []string {
		var all []string
		for _, g := range p.GetUserIdGroupPairs() {
			all = append(all, g.GetGroupId())
		}
		return all
	})
	each("user-id", func(p *ec2v1.IpPermission) []string {
		var all []string
		for _, g := range p.GetUserIdGroupPairs() {
			all = append(all, g.GetUserId())
		}
		return all
	})
	return f
}

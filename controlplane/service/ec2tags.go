package service

import (
	"context"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	maxTags     = 50
	maxTagKey   = 127
	maxTagValue = 255
)

// newTags reads the TagSpecifications of a create of that resource type.
func newTags(specs []*ec2v1.TagSpecification, resourceType string) ([]*ec2v1.Tag, error) {
	var tags []*ec2v1.Tag
	for _, spec := range specs {
		if spec.GetResourceType() != resourceType {
			return nil, invalidValue("'%s' is not a valid taggable resource type for this operation.", spec.GetResourceType())
		}
		for _, t := range spec.GetTags() {
			if slices.ContainsFunc(tags, func(known *ec2v1.Tag) bool { return known.GetKey() == t.GetKey() }) {
				return nil, invalidValue("Duplicate tag key '%s' specified.", t.GetKey())
			}
			tags = append(tags, t)
		}
	}
	return setTags(nil, tags)
}

// setTags returns tags with others added or replaced, sorted by key.
func setTags(tags, more []*ec2v1.Tag) ([]*ec2v1.Tag, error) {
	out := slices.Clone(tags)
	for _, t := range more {
		switch {
		case t.GetKey() == "":
			return nil, missingParameter("key")
		case utf8.RuneCountInString(t.GetKey()) > maxTagKey:
			return nil, invalidValue("Tag key exceeds the maximum length of %d characters", maxTagKey)
		case utf8.RuneCountInString(t.GetValue()) > maxTagValue:
			return nil, invalidValue("Tag value exceeds the maximum length of %d characters", maxTagValue)
		case strings.HasPrefix(strings.ToLower(t.GetKey()), "aws:"):
			return nil, invalidValue("Tag keys starting with 'aws:' are reserved for internal use")
		}
		// A tag without a value has the empty one.
		t = &ec2v1.Tag{Key: new(t.GetKey()), Value: new(t.GetValue())}
		i := slices.IndexFunc(out, func(known *ec2v1.Tag) bool { return known.GetKey() == t.GetKey() })
		if i >= 0 {
			out[i] = t
		} else {
			out = append(out, t)
		}
	}
	if len(out) > maxTags {
		return nil, apierr.New(apierr.KindLimit, "TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
	}
	slices.SortFunc(out, func(a, b *ec2v1.Tag) int { return strings.Compare(a.GetKey(), b.GetKey()) })
	return out, nil
}

// unsetTags returns tags without some: those with a key and, if one is given,
// that value. No tag at all to remove stands for every tag.
func unsetTags(tags, less []*ec2v1.Tag) []*ec2v1.Tag {
	if len(less) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(tags), func(t *ec2v1.Tag) bool {
		return slices.ContainsFunc(less, func(l *ec2v1.Tag) bool {
			return l.GetKey() == t.GetKey() && (l.Value == nil || l.GetValue() == t.GetValue())
		})
	})
}

func (s *ec2Server) CreateTags(ctx context.Context, req *ec2v1.CreateTagsRequest) (*ec2v1.CreateTagsResponse, error) {
	if len(req.GetTags()) == 0 {
		return nil, missingParameter("tag")
	}
	err := s.retag(ctx, req.DryRun, req.GetResourceIds(), func(tags []*ec2v1.Tag) ([]*ec2v1.Tag, error) {
		return setTags(tags, req.GetTags())
	})
	if err != nil {
		return nil, err
	}
	return &ec2v1.CreateTagsResponse{Return: new(true)}, nil
}

func (s *ec2Server) DeleteTags(ctx context.Context, req *ec2v1.DeleteTagsRequest) (*ec2v1.DeleteTagsResponse, error) {
	err := s.retag(ctx, req.DryRun, req.GetResourceIds(), func(tags []*ec2v1.Tag) ([]*ec2v1.Tag, error) {
		return unsetTags(tags, req.GetTags()), nil
	})
	if err != nil {
		return nil, err
	}
	return &ec2v1.DeleteTagsResponse{Return: new(true)}, nil
}

// retag edits the tags of several things, of one VPC or of many, in one Txn.
func (s *ec2Server) retag(ctx context.Context, dryRun *bool, ids []string, edit func([]*ec2v1.Tag) ([]*ec2v1.Tag, error)) error {
	if len(ids) == 0 {
		return missingParameter("resourceIdSet")
	}
	return s.write(ctx, dryRun, func(v *state.View, c Caller) (*statev1.Txn, error) {
		writes := map[string]*vpcWrite{}
		var order []*vpcWrite
		for _, id := range ids {
			thing, err := findTagged(s.cfg, v, c, id)
			if err != nil {
				return nil, err
			}
			w := writes[thing.vpc]
			if w == nil {
				if w, err = openVPC(s.cfg, v, c, thing.vpc); err != nil {
					return nil, err
				}
				writes[thing.vpc] = w
				order = append(order, w)
			}
			tags := &w.vpc.Vpc.Tags
			if thing.key != w.key {
				tags = tagsIn(w.open(thing.key), id)
			}
			if *tags, err = edit(*tags); err != nil {
				return nil, err
			}
		}
		txn := &statev1.Txn{}
		for _, w := range order {
			proto.Merge(txn, w.done())
		}
		return txn, nil
	})
}

// taggedThing is a thing that can have tags: where its record is, and the VPC
// it belongs to.
type taggedThing struct {
	id, kind, vpc string
	key           state.Key
	tags          []*ec2v1.Tag
}

func findTagged(cfg Config, v *state.View, c Caller, id string) (taggedThing, error) {
	var kind idKind
	for _, k := range []idKind{idVPC, idSubnet, idGroup, idRule, idEndpoint, idInterface} {
		if strings.HasPrefix(id, k.prefix) {
			kind = k
		}
	}
	if kind.prefix == "" {
		return taggedThing{}, apierr.New(apierr.KindInvalid, "InvalidID", "The ID '%s' is not valid", id)
	}
	if err := kind.check(id); err != nil {
		return taggedThing{}, err
	}
	for thing := range taggedThings(cfg, v, c) {
		if thing.id == id {
			return thing, nil
		}
	}
	return taggedThing{}, kind.missing(id)
}

// taggedThings returns everything of an account in a region that can have tags.
func taggedThings(cfg Config, v *state.View, c Caller) iter.Seq[taggedThing] {
	return func(yield func(taggedThing) bool) {
		for _, t := range []statev1.Type{
			statev1.Type_TYPE_VPC, statev1.Type_TYPE_SUBNET, statev1.Type_TYPE_SECURITY_GROUP,
			statev1.Type_TYPE_VPC_ENDPOINT, statev1.Type_TYPE_NETWORK_INTERFACE,
		} {
			for r := range v.List(t, c.Account, c.Region, "") {
				key := state.KeyOf(r.GetKey())
				vpc, id, _ := strings.Cut(key.ID, "/")
				thing := taggedThing{id: id, vpc: vpc, key: key}
				switch t {
				case statev1.Type_TYPE_VPC:
					thing.id, thing.kind = key.ID, "vpc"
				case statev1.Type_TYPE_SUBNET:
					thing.kind = "subnet"
				case statev1.Type_TYPE_SECURITY_GROUP:
					thing.kind = "security-group"
				case statev1.Type_TYPE_VPC_ENDPOINT:
					if endpointGone(cfg, v, r.GetVpcEndpoint()) {
						continue
					}
					thing.id, thing.kind = key.ID, "vpc-endpoint"
					thing.vpc = r.GetVpcEndpoint().GetEndpoint().GetVpcId()
				case statev1.Type_TYPE_NETWORK_INTERFACE:
					if !inVPC(r) {
						continue
					}
					thing.kind = "network-interface"
				}
				thing.tags = *tagsIn(r, thing.id)
				if !yield(thing) {
					return
				}
				for _, rule := range r.GetSecurityGroup().GetRules() {
					if !yield(taggedThing{id: rule.GetSecurityGroupRuleId(), kind: "security-group-rule", vpc: vpc, key: key, tags: rule.GetTags()}) {
						return
					}
				}
			}
		}
	}
}

// tagsIn returns the place of a thing's tags in its record.
func tagsIn(r *statev1.Record, id string) *[]*ec2v1.Tag {
	switch m := r.GetValue().(type) {
	case *statev1.Record_Vpc:
		return &m.Vpc.Vpc.Tags
	case *statev1.Record_Subnet:
		return &m.Subnet.Tags
	case *statev1.Record_VpcEndpoint:
		return &m.VpcEndpoint.Endpoint.Tags
	case *statev1.Record_NetworkInterface:
		return &m.NetworkInterface.Tags
	case *statev1.Record_SecurityGroup:
		for _, rule := range m.SecurityGroup.Rules {
			if rule.GetSecurityGroupRuleId() == id {
				return &rule.Tags
			}
		}
		return &m.SecurityGroup.Group.Tags
	}
	return new([]*ec2v1.Tag)
}

var tagFilters = filters[*ec2v1.TagDescription]{
	"resource-id":   func(t *ec2v1.TagDescription) []string { return []string{t.GetResourceId()} },
	"resource-type": func(t *ec2v1.TagDescription) []string { return []string{t.GetResourceType()} },
	"key":           func(t *ec2v1.TagDescription) []string { return []string{t.GetKey()} },
	"value":         func(t *ec2v1.TagDescription) []string { return []string{t.GetValue()} },
	"tag:":          func(t *ec2v1.TagDescription) []string { return []string{t.GetKey(), t.GetValue()} },
}

func (s *ec2Server) DescribeTags(ctx context.Context, req *ec2v1.DescribeTagsRequest) (*ec2v1.DescribeTagsResponse, error) {
	v, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(req.MaxResults, req.NextToken, "", nil)
	if err != nil {
		return nil, err
	}
	match, err := tagFilters.compile(req.GetFilters())
	if err != nil {
		return nil, err
	}
	var all []*ec2v1.TagDescription
	for thing := range taggedThings(s.cfg, v, c) {
		for _, t := range thing.tags {
			all = append(all, &ec2v1.TagDescription{
				Key: t.Key, Value: t.Value,
				ResourceId: new(thing.id), ResourceType: new(thing.kind),
			})
		}
	}
	answer := &ec2v1.DescribeTagsResponse{}
	answer.Tags, answer.NextToken = cut(p, keep(all, match), func(t *ec2v1.TagDescription) string {
		return t.GetResourceId() + "/" + t.GetKey()
	})
	return answer, nil
}

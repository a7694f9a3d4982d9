package service

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/rdata"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// AWS's quotas on a batch and on a zone. An UPSERT counts twice.
const (
	maxBatchRecords    = 1000
	maxBatchCharacters = 32_000
	maxZoneSets        = 10_000
	maxTTL             = 1<<31 - 1
)

// setID orders the sets of a zone as Route 53 lists them: by name with its
// labels reversed, then by type. The space is below every byte of a name, so a
// name comes before those that begin with it.
func setID(z *statev1.HostedZone, name, rtype string) string {
	return z.GetId() + " " + reversedName(name) + " " + rtype
}

// reversedName of www.example.com. is com.example.www.
func reversedName(name string) string {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "."
}

// shownName has the wildcard as Route 53 shows it.
func shownName(name string) string {
	if rest, wild := strings.CutPrefix(name, "*"); wild {
		return `\052` + rest
	}
	return name
}

func setRecord(c Caller, z *statev1.HostedZone, set *statev1.ResourceRecordSet) *statev1.Record {
	key := c.global(statev1.Type_TYPE_RRSET, setID(z, set.GetName(), set.GetType()))
	return &statev1.Record{Key: key.Proto(), Value: &statev1.Record_Rrset{Rrset: set}}
}

// setsOf are the sets of a zone in their order.
func setsOf(v *state.View, c Caller, z *statev1.HostedZone) iter.Seq[*statev1.Record] {
	return v.List(statev1.Type_TYPE_RRSET, c.Account, "", z.GetId()+" ")
}

// recordChange is what turns one set into the other; nil is no set.
func recordChange(before, after *statev1.ResourceRecordSet) *statev1.RecordChange {
	named := after
	if named == nil {
		named = before
	}
	return &statev1.RecordChange{Name: named.GetName(), Type: named.GetType(), Before: plainSet(before), After: plainSet(after)}
}

// plainSet is a set as name servers go by it.
func plainSet(set *statev1.ResourceRecordSet) *statev1.RRset {
	switch {
	case set == nil:
		return nil
	case set.GetAlias() != nil:
		return &statev1.RRset{Alias: set.GetAlias().GetDnsName()}
	case set.GetType() == "A":
		return &statev1.RRset{Ttl: set.GetTtl(), Addresses: set.GetValues()}
	}
	return &statev1.RRset{Ttl: set.GetTtl(), Values: set.GetValues()}
}

// ChangeResourceRecordSets applies a batch of changes to a zone, all or none.
func (s *route53Server) ChangeResourceRecordSets(ctx context.Context, req *route53v1.ChangeResourceRecordSetsRequest) (*route53v1.ChangeResourceRecordSetsResponse, error) {
	changes, err := readBatch(req.GetChangeBatch())
	if err != nil {
		return nil, err
	}
	c := caller(ctx)
	answer := &route53v1.ChangeResourceRecordSetsResponse{}
	_, err = update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		r, err := findZone(v, c, req.GetId())
		if err != nil {
			return nil, err
		}
		b := &batch{view: v, caller: c, zone: proto.CloneOf(r.GetHostedZone()), sets: map[state.Key]*statev1.ResourceRecordSet{}}
		if err := b.apply(changes); err != nil {
			return nil, err
		}
		txn := &statev1.Txn{Guards: []*statev1.Guard{guard(r)}}
		records := b.write(txn)
		if b.zone.GetRrsets() > maxZoneSets {
			return nil, invalidBatch([]string{fmt.Sprintf("Number of records limit of %d exceeded.", maxZoneSets)})
		}
		change := zoneChange(s.cfg, v, c, b.zone, req.GetChangeBatch().GetComment(), records)
		txn.Puts = append(txn.Puts, zoneRecord(c, b.zone), changeRecord(change))
		answer.ChangeInfo = changeInfo(s.cfg, v, change)
		return txn, nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// setChange is one change of a batch whose form is right.
type setChange struct {
	action string
	set    *statev1.ResourceRecordSet
}

func (c setChange) String() string {
	return fmt.Sprintf("[Action=%s, Name=%s, Type=%s, SetIdentifier=null]", c.action, c.set.GetName(), c.set.GetType())
}

// readBatch checks what needs no zone.
func readBatch(in *route53v1.ChangeBatch) ([]setChange, error) {
	if len(in.GetChanges()) == 0 {
		return nil, invalidInput("Invalid request: a change batch with at least one change is required")
	}
	if len(in.GetComment()) > maxZoneComment {
		return nil, invalidInput("The comment is longer than %d characters", maxZoneComment)
	}
	var all []setChange
	records, characters := 0, 0
	for _, change := range in.GetChanges() {
		c, err := readChange(change)
		if err != nil {
			return nil, err
		}
		weight := 1
		if c.action == "UPSERT" {
			weight = 2
		}
		records += weight * max(len(c.set.GetValues()), 1)
		for _, value := range c.set.GetValues() {
			characters += weight * len(value)
		}
		all = append(all, c)
	}
	var problems []string
	if records > maxBatchRecords {
		problems = append(problems, fmt.Sprintf("Number of records limit of %d exceeded.", maxBatchRecords))
	}
	if characters > maxBatchCharacters {
		problems = append(problems, fmt.Sprintf("Number of characters limit of %d exceeded.", maxBatchCharacters))
	}
	return all, invalidBatch(problems)
}

// invalidBatch is the error that names all that is wrong with a batch; nil if
// nothing is.
func invalidBatch(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return apierr.New(apierr.KindInvalid, "InvalidChangeBatch", "[%s]", strings.Join(problems, ", "))
}

func readChange(in *route53v1.Change) (setChange, error) {
	set := in.GetResourceRecordSet()
	c := setChange{action: in.GetAction(), set: &statev1.ResourceRecordSet{Name: set.GetName(), Type: set.GetType()}}
	if !slices.Contains([]string{"CREATE", "DELETE", "UPSERT"}, c.action) {
		return c, invalidInput("Invalid XML ; '%s' is not one of CREATE, DELETE, UPSERT", c.action)
	}
	if set == nil {
		return c, invalidInput("Invalid request: a change needs a ResourceRecordSet")
	}
	if set.SetIdentifier != nil || set.Weight != nil || set.Region != nil || set.GeoLocation != nil || set.Failover != nil ||
		set.MultiValueAnswer != nil || set.HealthCheckId != nil || set.TrafficPolicyInstanceId != nil {
		return c, apierr.Unsupported("Postern does not implement routing policies and health checks of record sets")
	}
	if _, ok := rdata.Type(c.set.GetType()); !ok {
		return c, invalidInput("Invalid XML ; the record type '%s' is not one of %s", c.set.GetType(), strings.Join(rdata.Types(), ", "))
	}
	name, err := rdata.Owner(c.set.GetName())
	if err != nil {
		return c, invalidBatch([]string{fmt.Sprintf("Invalid Resource Record: the name '%s': %v", c.set.GetName(), err)})
	}
	c.set.Name = name
	plain := set.Ttl != nil && len(set.GetResourceRecords().GetValues()) > 0
	half := set.Ttl != nil || set.ResourceRecords != nil
	switch {
	case set.AliasTarget != nil && half:
		return c, invalidInput("Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId], but found more than one in Change with %v", c)
	case set.AliasTarget != nil:
		c.set.Alias, err = readAlias(set.GetAliasTarget())
		return c, err
	case !plain:
		return c, invalidInput("Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId], but found none in Change with %v", c)
	case set.GetTtl() < 0 || set.GetTtl() > maxTTL:
		return c, invalidInput("Invalid XML ; the TTL %d is not from 0 to %d", set.GetTtl(), maxTTL)
	}
	c.set.Ttl = uint32(set.GetTtl())
	for _, r := range set.GetResourceRecords().GetValues() {
		c.set.Values = append(c.set.Values, r.GetValue())
	}
	if c.action == "DELETE" {
		return c, nil // it must be what is there, right or wrong
	}
	if _, err := rdata.ParseSet(c.set.GetType(), c.set.GetValues()); err != nil {
		return c, invalidBatch([]string{fmt.Sprintf("Invalid Resource Record: 'FATAL problem: %v' in the set of %s %s", err, name, c.set.GetType())})
	}
	return c, nil
}

// batch is the content of a zone while changes are applied to it.
type batch struct {
	view   *state.View
	caller Caller
	zone   *statev1.HostedZone
	// sets are those that changes were about, as they are now; nil: none.
	sets     map[state.Key]*statev1.ResourceRecordSet
	problems []string
}

func (b *batch) key(name, rtype string) state.Key {
	return b.caller.global(statev1.Type_TYPE_RRSET, setID(b.zone, name, rtype))
}

func (b *batch) get(name, rtype string) *statev1.ResourceRecordSet {
	key := b.key(name, rtype)
	if set, ok := b.sets[key]; ok {
		return set
	}
	return b.view.Get(key).GetRrset()
}

func (b *batch) refuse(format string, args ...any) {
	b.problems = append(b.problems, fmt.Sprintf(format, args...))
}

// apply applies changes one after the other, then looks at what came out.
func (b *batch) apply(changes []setChange) error {
	touched := map[state.Key]bool{}
	for _, c := range changes {
		key := b.key(c.set.GetName(), c.set.GetType())
		if touched[key] && c.action != "DELETE" && b.sets[key] != nil {
			b.refuse("The request contains an invalid set of changes for a resource record set '%s %s'", c.set.GetType(), shownName(c.set.GetName()))
			continue
		}
		touched[key] = true
		b.change(key, c)
	}
	if len(b.problems) == 0 {
		b.check(changes)
	}
	return invalidBatch(b.problems)
}

func (b *batch) change(key state.Key, c setChange) {
	what := fmt.Sprintf("resource record set [name='%s', type='%s']", shownName(c.set.GetName()), c.set.GetType())
	if !rdata.Within(c.set.GetName(), b.zone.GetName()) {
		b.refuse("RRSet with DNS name %s is not permitted in zone %s", shownName(c.set.GetName()), b.zone.GetName())
		return
	}
	now := b.get(c.set.GetName(), c.set.GetType())
	switch {
	case c.action == "CREATE" && now != nil:
		b.refuse("Tried to create %s but it already exists", what)
	case c.action == "DELETE" && now == nil:
		b.refuse("Tried to delete %s but it was not found", what)
	case c.action == "DELETE" && !sameSet(now, c.set):
		b.refuse("Tried to delete %s but the values provided do not match the current values", what)
	case c.action == "DELETE":
		b.sets[key] = nil
	default:
		b.sets[key] = c.set
	}
}

// sameSet compares sets whose values may be in another order.
func sameSet(a, b *statev1.ResourceRecordSet) bool {
	return a.GetTtl() == b.GetTtl() && proto.Equal(a.GetAlias(), b.GetAlias()) &&
		slices.Equal(slices.Sorted(slices.Values(a.GetValues())), slices.Sorted(slices.Values(b.GetValues())))
}

// check looks at the names that changes were about, and at the apex.
func (b *batch) check(changes []setChange) {
	apex := b.zone.GetName()
	if b.get(apex, "SOA") == nil {
		b.refuse("A HostedZone must contain exactly one SOA record.")
	}
	if b.get(apex, "NS") == nil {
		b.refuse("A HostedZone must contain at least one NS record for the zone itself.")
	}
	for _, c := range changes {
		name, rtype := c.set.GetName(), c.set.GetType()
		set := b.get(name, rtype)
		if set == nil {
			continue
		}
		switch {
		case rtype == "SOA" && name != apex:
			b.refuse("RRSet of type SOA with DNS name %s is not permitted in zone %s", shownName(name), apex)
		case rtype == "NS" && strings.HasPrefix(name, "*"):
			b.refuse("RRSet of type NS with DNS name %s is not permitted as a wildcard in zone %s", shownName(name), apex)
		case rtype == "CNAME" && name == apex:
			b.refuse("RRSet of type CNAME with DNS name %s is not permitted at apex in zone %s", name, apex)
		case b.get(name, "CNAME") != nil && b.others(name):
			b.refuse("RRSet of type %s with DNS name %s is not permitted as it conflicts with other records with the same DNS name in zone %s", rtype, shownName(name), apex)
		case set.GetAlias() != nil:
			b.checkAlias(set)
		}
	}
}

// others reports whether a name has sets beside a CNAME.
func (b *batch) others(name string) bool {
	return slices.ContainsFunc(rdata.Types(), func(rtype string) bool { return rtype != "CNAME" && b.get(name, rtype) != nil })
}

// write puts the outcome into a Txn and the zone's record, and returns the
// changes of records. An UPSERT of what is there is one, too: it brings a set
// on its way again whose last change was lost.
func (b *batch) write(txn *statev1.Txn) []*statev1.RecordChange {
	var records []*statev1.RecordChange
	keys := make([]state.Key, 0, len(b.sets))
	for key := range b.sets {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b state.Key) int { return strings.Compare(a.ID, b.ID) })
	for _, key := range keys {
		before, after := b.view.Get(key).GetRrset(), b.sets[key]
		switch {
		case before == nil && after == nil:
			continue
		case after == nil:
			b.zone.Rrsets--
			txn.Deletes = append(txn.Deletes, key.Proto())
		default:
			if before == nil {
				b.zone.Rrsets++
			}
			txn.Puts = append(txn.Puts, setRecord(b.caller, b.zone, after))
		}
		records = append(records, recordChange(before, after))
	}
	return records
}

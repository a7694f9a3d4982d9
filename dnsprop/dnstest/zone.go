package dnstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhq/postern/dnsprop/rdata"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// maxHosted bounds the zones of a Lab.
const maxHosted = 1000

// Zone is a zone of the test's own.
type Zone struct {
	lab *Lab
	ref *statev1.ZoneRef // nil: Postern's own names
}

// Zone makes a public zone, empty but for its SOA and NS records. Like any
// change it propagates: an authority that does not have the zone yet refuses its
// names.
func (l *Lab) Zone(name string) *Zone {
	z, err := l.createZone(name, "", nil)
	l.must(err)
	return z
}

// PrivateZone makes a zone for the resolvers of some VPCs alone, which have it
// at once. In these it hides what is public of the same names.
func (l *Lab) PrivateZone(name string, in ...*VPC) *Zone {
	if len(in) == 0 {
		l.fail(fmt.Errorf("private zone %s is in no VPC", name))
	}
	z, err := l.createZone(name, "instant", in)
	l.must(err)
	return z
}

// createZone makes a zone by a profile; empty: the Lab's. It is private if there
// are VPCs that it is in.
func (l *Lab) createZone(name, profile string, in []*VPC) (*Zone, error) {
	apex, err := rdata.Name(name)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", name, err)
	}
	private := len(in) > 0
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.zones) >= maxHosted:
		return nil, fmt.Errorf("zone %s: there are %d already", apex, maxHosted)
	case !private && slices.ContainsFunc(l.zones, func(z *Zone) bool { return !z.ref.GetPrivate() && z.ref.GetName() == apex }):
		return nil, fmt.Errorf("public zone %s is there already", apex)
	case !private && ownZone(apex):
		return nil, fmt.Errorf("zone %s is Postern's own", apex)
	}
	z := &Zone{lab: l, ref: &statev1.ZoneRef{Id: fmt.Sprintf("Z%020d", len(l.zones)+1), Name: apex, Private: private}}
	var servers []string
	for i := range rdata.NameServers {
		servers = append(servers, rdata.NameServer(i))
	}
	if _, err := l.commit(z.ref, profile, []*statev1.RecordChange{
		// The timers and the minimum of a new zone of Route 53.
		{Name: apex, Type: "SOA", After: &statev1.RRset{Ttl: 900, Values: []string{servers[0] + " " + rdata.Hostmaster + " 1 7200 900 1209600 86400"}}},
		{Name: apex, Type: "NS", After: &statev1.RRset{Ttl: 172800, Values: servers}},
	}); err != nil {
		return nil, err
	}
	l.zones = append(l.zones, z)
	for _, v := range in {
		if err := v.associate(z); err != nil {
			return nil, err
		}
	}
	return z, nil
}

// ownApexes are the zones of Postern's own names.
var ownApexes = []string{"execute-api." + Region + ".amazonaws.com.", "execute-api." + Region + ".vpce.amazonaws.com."}

func ownZone(name string) bool {
	return slices.ContainsFunc(ownApexes, func(apex string) bool { return rdata.Within(name, apex) })
}

// holding is the zone that holds a canonical name, the innermost if there are
// several: a public one, Postern's own among them, or a private one.
func (l *Lab) holding(name string, private bool) (*Zone, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !private && ownZone(name) {
		return &Zone{lab: l}, nil
	}
	var found *Zone
	twice := false
	for _, z := range l.zones {
		if z.ref.GetPrivate() != private || !rdata.Within(name, z.ref.GetName()) {
			continue
		}
		switch {
		case found == nil || len(z.ref.GetName()) > len(found.ref.GetName()):
			found, twice = z, false
		case len(z.ref.GetName()) == len(found.ref.GetName()):
			twice = true
		}
	}
	switch {
	case found == nil && private:
		return nil, fmt.Errorf("%s is in no private zone", name)
	case found == nil:
		return nil, fmt.Errorf("%s is in no zone: PublicZone(%q) makes one", name, strings.TrimSuffix(name, "."))
	case twice:
		return nil, fmt.Errorf("there are several private zones %s", found.ref.GetName())
	}
	return found, nil
}

// Set gives a name of the zone these addresses, with a TTL of 60 seconds, and
// takes all others from it; none: all.
func (z *Zone) Set(name string, addresses ...string) *Change {
	c, err := z.set(name, addresses)
	z.lab.must(err)
	return c
}

// Commit changes records of the zone, as Lab.Commit does.
func (z *Zone) Commit(lines ...string) *Change {
	records, err := readRecords(lines, ".")
	if err != nil {
		z.lab.fail(err)
	}
	c, err := z.commit(records)
	z.lab.must(err)
	return c
}

func (z *Zone) commit(records []*statev1.RecordChange) (*Change, error) {
	z.lab.mu.Lock()
	defer z.lab.mu.Unlock()
	return z.lab.commit(z.ref, "", records)
}

func (z *Zone) set(name string, addresses []string) (*Change, error) {
	owner, err := rdata.Owner(name)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	four := &statev1.RecordChange{Name: owner, Type: "A"}
	six := &statev1.RecordChange{Name: owner, Type: "AAAA"}
	for _, a := range addresses {
		if strings.Contains(a, ":") {
			if six.After == nil {
				six.After = &statev1.RRset{Ttl: defaultTTL}
			}
			six.After.Values = append(six.After.Values, a)
			continue
		}
		if four.After == nil {
			four.After = &statev1.RRset{Ttl: defaultTTL}
		}
		four.After.Addresses = append(four.After.Addresses, a)
	}
	if z.ref == nil && six.After != nil {
		return nil, errors.New(owner + ": Postern's own names have IPv4 addresses only")
	}
	// A set that is not there and does not come is left out: the change would wait
	// for whatever caches know of its absence.
	records := []*statev1.RecordChange{four, six}
	switch {
	case six.After == nil && !z.holds(six):
		records = records[:1]
	case four.After == nil && !z.holds(four):
		records = records[1:]
	}
	return z.commit(records)
}

// holds reports whether there is the set of a record.
func (z *Zone) holds(r *statev1.RecordChange) bool {
	z.lab.mu.Lock()
	defer z.lab.mu.Unlock()
	return z.lab.held[setKey{z.ref.GetId(), r.GetName(), r.GetType()}]
}

package zone

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/rdata"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Never is the instant of a lost change.
const Never = math.MaxInt64

// maxAddresses bounds the A records of one name: 64 KiB hold four thousand.
const maxAddresses = 1000

// RRset is the set of a name and type.
type RRset struct {
	Addresses []netip.Addr // of type A
	Data      []dns.RR     // of any other: types and contents, without owners and TTLs
	TTL       time.Duration
	// Alias: the set is what this name has of the type.
	Alias string
}

// Empty reports whether there is no set at all.
func (s RRset) Empty() bool { return len(s.Addresses)+len(s.Data) == 0 && s.Alias == "" }

// Change is one committed change of public names, with the instant at which
// each authority begins to show it.
type Change struct {
	ID        string
	Index     uint64 // of the commit that made it: orders the changes of a name
	Committed int64  // instant of the first attempt
	// Zone is the user's zone that the change is of; the zero Ref: it is of
	// Postern's own names.
	Zone    Ref
	Records []Record

	shown [propagation.Authorities]int64
	// settled is from when no older change shows in this one's stead: shown,
	// unless it was reordered there.
	settled [propagation.Authorities]int64
	insync  int64
	lag     [propagation.Authorities]time.Duration
}

// Ref names a user's zone.
type Ref struct {
	ID      string
	Apex    string // canonical
	Private bool
}

// Record is what a change makes of one name and type.
type Record struct {
	Name   string // canonical: lower case, trailing dot
	Type   uint16
	Exists bool
	RRset  RRset
}

// NewChange checks a change from a snapshot and computes its schedule.
func NewChange(m *dnsv1.Change) (*Change, error) {
	d := m.GetChange()
	if _, err := propagation.Resolve(d.GetProfile(), d.GetCustomProfile()); err != nil {
		return nil, err
	}
	if d.GetId() == "" || m.GetIndex() == 0 || len(d.GetAttempts()) == 0 {
		return nil, fmt.Errorf("change %q lacks its id, index or first attempt", d.GetId())
	}
	c := &Change{ID: d.GetId(), Index: m.GetIndex(), Committed: d.GetAttempts()[0]}
	read := newRecord
	if z := d.GetZone(); z != nil {
		name, err := rdata.Name(z.GetName())
		if err != nil || name != z.GetName() || z.GetId() == "" {
			return nil, fmt.Errorf("change %s: zone %q %q is none", d.GetId(), z.GetId(), z.GetName())
		}
		c.Zone = Ref{ID: z.GetId(), Apex: name, Private: z.GetPrivate()}
		read = c.Zone.newRecord
	}
	for _, r := range d.GetRecords() {
		rec, err := read(r)
		if err != nil {
			return nil, err
		}
		c.Records = append(c.Records, rec)
	}
	for a := range c.shown {
		c.shown[a], c.settled[a] = Never, Never
		if t, ok := propagation.Instant(d, a); ok {
			c.shown[a] = t.UnixNano()
		}
		if t, ok := propagation.Settled(d, a); ok {
			c.settled[a] = t.UnixNano()
		}
		c.insync = max(c.insync, c.shown[a])
		if lag := d.GetLag(); a < len(lag) {
			c.lag[a] = time.Duration(lag[a])
		}
	}
	return c, nil
}

func newRecord(r *statev1.RecordChange) (Record, error) {
	rec := Record{Name: r.GetName(), Type: dns.TypeA}
	if !plainName(rec.Name) {
		return rec, fmt.Errorf("%q is not a lower-case host name with a trailing dot", rec.Name)
	}
	after := r.GetAfter()
	if r.GetType() != "A" || len(after.GetValues()) > 0 || after.GetAlias() != "" {
		return rec, fmt.Errorf("%s: a set of type %q that is not of addresses", rec.Name, r.GetType())
	}
	err := rec.read(after)
	return rec, err
}

// read takes the set of addresses after a change.
func (r *Record) read(after *statev1.RRset) error {
	if n := len(after.GetAddresses()); n > maxAddresses {
		return fmt.Errorf("%s: %d addresses exceed %d", r.Name, n, maxAddresses)
	}
	for _, s := range after.GetAddresses() {
		a, err := netip.ParseAddr(s)
		if err != nil || !a.Is4() {
			return fmt.Errorf("%s: %q is not an IPv4 address", r.Name, s)
		}
		r.RRset.Addresses = append(r.RRset.Addresses, a)
	}
	r.RRset.TTL = time.Duration(after.GetTtl()) * time.Second
	// An empty set is no set: deleting a name's last address deletes the name.
	r.Exists = !r.RRset.Empty()
	return nil
}

// ShownAt is the instant at which an authority begins to show the change.
func (c *Change) ShownAt(authority int) int64 { return c.shown[authority] }

// SettledAt is the instant from which an authority shows no older change of its
// names in its stead: ShownAt, unless the change was reordered there.
func (c *Change) SettledAt(authority int) int64 { return c.settled[authority] }

// Reordered reports whether there is an authority at which an older change can
// show in this one's stead.
func (c *Change) Reordered() bool { return c.settled != c.shown }

// instants are those at which an authority's content can change by c.
func (c *Change) instants(authority int) []int64 {
	all := []int64{c.shown[authority], c.settled[authority]}
	return slices.DeleteFunc(slices.Compact(all), func(at int64) bool { return at == Never })
}

// Insync is the instant at which the last authority shows the change.
func (c *Change) Insync() int64 { return c.insync }

// Same reports whether two changes say the same at the same instants.
func (c *Change) Same(d *Change) bool {
	return c.ID == d.ID && c.Index == d.Index && c.Zone == d.Zone && c.Committed == d.Committed && c.shown == d.shown && c.settled == d.settled &&
		slices.EqualFunc(c.Records, d.Records, func(a, b Record) bool {
			return a.Name == b.Name && a.Type == b.Type && a.Exists == b.Exists && a.RRset.TTL == b.RRset.TTL && a.RRset.Alias == b.RRset.Alias &&
				slices.Equal(a.RRset.Addresses, b.RRset.Addresses) && slices.EqualFunc(a.RRset.Data, b.RRset.Data, dns.IsDuplicate)
		})
}

// Version is one change's say about one name and type. The zero Version is older
// than all: the set as it was before anybody spoke of it.
type Version struct {
	Change  *Change
	Ordinal int // position in Change.Records
}

// Compare orders the versions of a set: by commit, then, because one log
// entry can carry several changes, by id, then by place in the change.
func (v Version) Compare(w Version) int {
	switch {
	case v.Change == nil || w.Change == nil:
		return cmp.Compare(v.index(), w.index())
	case v.Change == w.Change:
		return cmp.Compare(v.Ordinal, w.Ordinal)
	}
	return cmp.Or(
		cmp.Compare(v.Change.Index, w.Change.Index),
		cmp.Compare(v.Change.ID, w.Change.ID),
		cmp.Compare(v.Ordinal, w.Ordinal),
	)
}

func (v Version) index() uint64 {
	if v.Change == nil {
		return 0
	}
	return v.Change.Index
}

func (v Version) record() *Record { return &v.Change.Records[v.Ordinal] }

// plainName accepts what Postern names things: letters, digits, hyphens and
// underscores. No escapes, so names compare as strings.
func plainName(name string) bool {
	if len(name) > 254 || !strings.HasSuffix(name, ".") {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if len(label) == 0 || len(label) > 63 {
			return false
		}
		for _, b := range []byte(label) {
			if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' && b != '_' {
				return false
			}
		}
	}
	return true
}

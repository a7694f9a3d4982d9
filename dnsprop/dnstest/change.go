package dnstest

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dnsprop/propagation"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// maxChanges bounds the changes of a Lab.
const maxChanges = 100_000

// Change is a committed change of records, which arrives at each authority at an
// instant of its own.
type Change struct {
	lab *Lab
	id  string
	msg *dnsv1.Change // under lab.mu
}

// Set gives a name these addresses, with a TTL of 60 seconds, and takes all others
// from it; none: all. The name is in a public zone.
func (l *Lab) Set(name string, addresses ...string) *Change {
	c, err := l.set(name, addresses)
	l.must(err)
	return c
}

func (l *Lab) set(name string, addresses []string) (*Change, error) {
	owner, err := absolute(name, ".")
	if err != nil {
		return nil, err
	}
	z, err := l.holding(owner, false)
	if err != nil {
		return nil, err
	}
	return z.set(owner, addresses)
}

// Commit makes one change of records in a public zone, each line a record in
// zone-file notation (RFC 1035, 5.1), where the TTL may be missing and is then 60
// seconds:
//
//	www.example.com.  300 IN CNAME api.example.com.
//	api.example.com.  A 10.0.0.1
//	api.example.com.  A 10.0.0.2
//	apex.example.com. ALIAS A api.example.com.
//	- old.example.com. A
//
// The records of a name and type are its whole set from then on; a line with a
// minus takes the set away. A plus before the others is allowed. ALIAS is Route 53's.
func (l *Lab) Commit(lines ...string) *Change {
	c, err := l.commitLines(lines, ".", "", false)
	l.must(err)
	return c
}

// commitLines makes a change, by a profile unless that is empty.
func (l *Lab) commitLines(lines []string, origin, profile string, private bool) (*Change, error) {
	records, err := readRecords(lines, origin)
	if err != nil {
		return nil, err
	}
	z, err := l.holding(records[0].GetName(), private)
	if err != nil {
		return nil, err
	}
	for _, r := range records[1:] {
		other, err := l.holding(r.GetName(), private)
		if err != nil {
			return nil, err
		}
		if other.ref.GetId() != z.ref.GetId() {
			return nil, fmt.Errorf("%s and %s are in different zones: make two changes", records[0].GetName(), r.GetName())
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.commit(z.ref, profile, records)
}

// commit makes a change of records, in Postern's own zones if there is no other.
// l.mu is held.
func (l *Lab) commit(zone *statev1.ZoneRef, profile string, records []*statev1.RecordChange) (*Change, error) {
	if len(l.changes) >= maxChanges {
		return nil, fmt.Errorf("there are %d changes already", maxChanges)
	}
	d := &statev1.DnsChange{
		Id: fmt.Sprintf("C%020d", len(l.changes)+1), Seed: l.options.seed, Region: Region, Zone: zone,
		Profile: l.settings.GetProfile(), CustomProfile: l.settings.GetCustomProfile(),
		Attempts: []int64{l.now().UnixNano()}, Records: records,
	}
	if profile != "" {
		d.Profile, d.CustomProfile = profile, nil
	}
	propagation.Befall(d, l.settings.GetFaults())
	c := &Change{lab: l, id: d.GetId(), msg: &dnsv1.Change{Change: d, Index: l.index + 1, ModifyIndex: l.index + 1}}
	if err := l.installLocked(resource("change/"+d.GetId(), c.msg)); err != nil {
		return nil, err
	}
	l.changes = append(l.changes, c)
	for _, r := range records {
		l.held[setKey{zone.GetId(), r.GetName(), r.GetType()}] = r.GetAfter() != nil
	}
	return c, nil
}

// lost are the changes that some authority never gets.
func (l *Lab) lost() (out []*Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.changes {
		if propagation.Lost(c.msg.GetChange()) {
			out = append(out, c)
		}
	}
	return out
}

// ID is the change's, as Route 53 has them.
func (c *Change) ID() string { return c.id }

// Arrives is the instant from which an authority shows the change; false if it is
// lost there, or if the place is no authority.
func (c *Change) Arrives(at Place) (time.Time, bool) {
	n, ok := at.authority()
	if !ok {
		return time.Time{}, false
	}
	c.lab.mu.Lock()
	defer c.lab.mu.Unlock()
	return propagation.Instant(c.msg.GetChange(), n)
}

// Insync is the instant from which all authorities show the change, when Route
// 53 would call it INSYNC; false if it is lost at one of them.
func (c *Change) Insync() (time.Time, bool) {
	c.lab.mu.Lock()
	defer c.lab.mu.Unlock()
	return propagation.Insync(c.msg.GetChange())
}

// maxAttempts bounds the attempts of a change.
const maxAttempts = 1000

// Resend drives the change again, as a new deployment does: one that was lost
// arrives, one under way may arrive earlier.
func (c *Change) Resend() { c.lab.must(c.resend()) }

func (c *Change) resend() error {
	l := c.lab
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(c.msg.GetChange().GetAttempts()) >= maxAttempts {
		return errors.New("change " + c.id + " was sent too often")
	}
	next := proto.CloneOf(c.msg)
	next.Change.Attempts = append(next.Change.Attempts, l.now().UnixNano())
	next.ModifyIndex = l.index + 1
	if err := l.installLocked(resource("change/"+c.id, next)); err != nil {
		return err
	}
	c.msg = next
	return nil
}

// Visible reports whether a place has the change and answers by nothing older
// than it. The places are those of Settled.
func (c *Change) Visible(at Place) bool {
	ok, err := c.visible(at)
	c.lab.must(err)
	return ok
}

func (c *Change) visible(at Place) (bool, error) {
	c.lab.mu.Lock()
	defer c.lab.mu.Unlock()
	version, err := c.lab.version(at)
	return version >= c.msg.GetIndex(), err
}

package authority

import (
	"encoding/binary"
	"hash/maphash"
	"iter"
	"net/netip"
	"slices"
	"sync"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/dnsprop/zone"
)

const (
	maxTransfers = 8  // under way at an authority
	maxGiven     = 64 // versions of a zone that IXFR can start from
)

// journal is what an Authority remembers: the versions of its zones that it has
// given to secondaries.
//
// Serials and contents are functions of the facts, so a journal could be
// computed from the changes alone. That would be wrong for a change that
// reached this server after its instant: until then the server showed, under
// the serial that the change should have had, what came after it. So what was
// given is kept as it was, and an IXFR is the difference between two contents.
// Old versions share all but their differences with the newest one.
type journal struct {
	mu    sync.Mutex
	zones map[string][]given // by apex, newest last
	seed  maphash.Seed
	slots chan struct{} // of transfers
}

// given is one version, with the settings by which its TTLs were told.
type given struct {
	view   zone.View
	set    *zone.Set
	serial uint32
	print  uint64 // of the content
	// ambiguous: the serial was given with another content too, by other TTLs, so
	// who has it may have either.
	ambiguous bool
}

func newJournal() *journal {
	return &journal{zones: make(map[string][]given), seed: maphash.MakeSeed(), slots: make(chan struct{}, maxTransfers)}
}

// Transfer implements message.Primary: AXFR (RFC 5936), and IXFR (RFC 1995)
// from the versions that this Authority has given since it was made, in one
// step whatever lies between. From others IXFR falls back to the whole zone.
func (a *Authority) Transfer(q message.TransferQuery) (records func(func(dns.RR) bool), end func(), refusal *message.Reply) {
	if a.cfg.MayTransfer == nil || !a.cfg.MayTransfer(q.Source) {
		return nil, nil, refuse(dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, "this address may not transfer zones")
	}
	set := a.cfg.Zones()
	z := set.Find(q.Zone)
	if z == nil || z.Apex() != q.Zone {
		return nil, nil, refuse(dns.RcodeNotAuth, dns.ExtendedErrorCodeNotAuthoritative, "")
	}
	at := set.At(a.cfg.Now())
	switch a.Condition(set, q.Zone, at) {
	case zone.Down:
		return nil, nil, &message.Reply{Silent: true}
	case zone.Failing:
		return nil, nil, &message.Reply{Rcode: dns.RcodeServerFailure}
	}
	select {
	case a.journal.slots <- struct{}{}:
	default:
		return nil, nil, refuse(dns.RcodeServerFailure, dns.ExtendedErrorCodeOther, "too many transfers are under way")
	}
	end = func() { <-a.journal.slots }
	view := z.View(a.cfg.Number, at)
	now := given{view: view, set: set, serial: view.Serial()}
	if q.Incremental && !newer(now.serial, q.Serial) {
		return func(yield func(dns.RR) bool) { yield(now.soa()) }, end, nil
	}
	before, known := a.journal.give(&now, q.Serial)
	if q.Incremental && known && now.sameTTLs(before) {
		return now.since(before), end, nil
	}
	return now.whole(), end, nil
}

func refuse(rcode int, code uint16, text string) *message.Reply {
	return &message.Reply{Rcode: rcode, Errors: []message.ExtendedError{{Code: code, Text: text}}}
}

// newer compares serials as RFC 1982 does.
func newer(a, b uint32) bool { return int32(a-b) > 0 }

// give remembers that a version is given, and returns the one that a serial
// stands for; false if that is not known for certain.
func (j *journal) give(g *given, serial uint32) (given, bool) {
	g.print = g.fingerprint(j.seed)
	j.mu.Lock()
	defer j.mu.Unlock()
	apex := g.view.Apex()
	versions := j.zones[apex]
	at := func(serial uint32) int {
		return slices.IndexFunc(versions, func(h given) bool { return h.serial == serial })
	}
	if i := at(g.serial); i < 0 {
		if len(versions) == maxGiven {
			versions = append(versions[:0], versions[1:]...)
		}
		versions = append(versions, *g)
		j.zones[apex] = versions
	} else if versions[i].print != g.print {
		versions[i].ambiguous = true
	}
	i := at(serial)
	if i < 0 || versions[i].ambiguous {
		return given{}, false
	}
	return versions[i], true
}

func (g *given) fingerprint(seed maphash.Seed) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	number := func(n uint32) {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], n)
		_, _ = h.Write(b[:]) // never fails
	}
	number(g.facts().SOATTL)
	for name, rrset := range g.view.RRsets() {
		_, _ = h.WriteString(name) // never fails
		number(g.ttl(rrset))
		number(uint32(len(rrset.Addresses)))
		for _, a := range rrset.Addresses {
			ip := a.As4()
			number(binary.BigEndian.Uint32(ip[:]))
		}
	}
	return h.Sum64()
}

func (g *given) ttl(s zone.RRset) uint32 { return g.set.Clock.TTL(min(s.TTL, g.set.PositiveTTL)) }

// facts are those of the apex, TTLs in the client's own seconds.
func (g *given) facts() message.Facts {
	negative := g.set.Clock.TTL(g.set.NegativeTTL)
	return message.Facts{Apex: g.view.Apex(), Exists: true, Serial: g.serial, SOATTL: negative, Minimum: negative}
}

func (g *given) soa() dns.RR { return g.facts().SOA(g.view.Apex()) }

// whole is the zone between its SOA record and the same again.
func (g *given) whole() iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		soa := g.soa()
		if !yield(soa) || !all(g.facts().NS(g.view.Apex()), yield) {
			return
		}
		for name, rrset := range g.view.RRsets() {
			if !all(g.records(name, rrset), yield) {
				return
			}
		}
		yield(soa)
	}
}

// since is the one difference sequence that leads here from an earlier version.
func (g *given) since(before given) iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		soa, old := g.soa(), before.soa()
		if !yield(soa) || !yield(old) {
			return
		}
		for name, sets := range before.view.Differences(g.view) {
			if !all(before.records(name, sets[0]), yield) {
				return
			}
		}
		if !yield(soa) {
			return
		}
		for name, sets := range before.view.Differences(g.view) {
			if !all(g.records(name, sets[1]), yield) {
				return
			}
		}
		yield(soa)
	}
}

// sameTTLs: otherwise every record differs, and the whole zone is less.
func (g *given) sameTTLs(before given) bool {
	return g.set.PositiveTTL == before.set.PositiveTTL && g.set.NegativeTTL == before.set.NegativeTTL &&
		g.set.Clock.Speed == before.set.Clock.Speed
}

func (g *given) records(name string, s zone.RRset) []dns.RR {
	return message.Facts{Addresses: s.Addresses, TTL: g.ttl(s)}.A(name)
}

func all(rrs []dns.RR, yield func(dns.RR) bool) bool {
	for _, rr := range rrs {
		if !yield(rr) {
			return false
		}
	}
	return true
}

// Serials are those of all zones that can be transferred at this moment, by apex.
func (a *Authority) Serials() map[string]uint32 {
	set := a.cfg.Zones()
	at := set.At(a.cfg.Now())
	serials := make(map[string]uint32, set.Zones())
	for _, apex := range set.Apexes() {
		serials[apex] = set.Find(apex).Serial(a.cfg.Number, at)
	}
	return serials
}

// LoopbackAnd is a Config.MayTransfer: this machine, and some networks.
func LoopbackAnd(networks []netip.Prefix) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		return a.IsLoopback() || slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
	}
}

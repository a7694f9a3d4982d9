package service

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Changes of public names. A write that makes, moves or removes a name puts a
// DnsChange record into its own Txn: there is no moment at which one is
// committed and the other is not. Where and when the change shows is decided
// by dnsprop/propagation from the record alone.

// publicEdgeAddress is where the public front of the edges listens on one machine.
const publicEdgeAddress = "127.0.0.1"

const changeIDAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// apiDNS returns the change of public names that a write to an API causes; nil
// if no name changes. before is nil for a create, after for a delete.
//
// The addresses of endpoints are read from v: the Txn of an association goes
// through touchEndpoints too.
func apiDNS(cfg Config, v *state.View, before, after *apigatewayv1.RestApi, key state.Key) *statev1.Record {
	return dnsChange(cfg, v, key, apiNames(v, before, key.Region), apiNames(v, after, key.Region))
}

// endpointDNS is apiDNS for a VPC endpoint. A deleted endpoint's record, which
// stays until its state "deleting" is over, has no names.
func endpointDNS(cfg Config, v *state.View, before, after *statev1.VpcEndpoint, enis endpointAddresses, key state.Key) *statev1.Record {
	had := endpointNames(before, key.Region, enis.before)
	has := endpointNames(after, key.Region, enis.after)
	if before == nil {
		return dnsChange(cfg, v, key, had, has) // nothing can be associated with what did not exist
	}
	// The alias names of every API associated with the endpoint follow it.
	for r := range v.FindPrefix(statev1.Type_TYPE_REST_API, key.Region, "") {
		api := r.GetRestApi()
		if !slices.Contains(api.GetEndpointConfiguration().GetVpcEndpointIds(), key.ID) {
			continue
		}
		alias := aliasName(api.GetId(), key.ID, key.Region)
		had.add(alias, endpointLives(before), enis.before)
		has.add(alias, endpointLives(after), enis.after)
	}
	return dnsChange(cfg, v, key, had, has)
}

// endpointAddresses are an endpoint's interfaces before and after a write.
type endpointAddresses struct {
	before, after []zonalAddress
}

// zonalAddress is the address of an endpoint's interface and the zone it is in.
type zonalAddress struct {
	zone, address string
}

// touchEndpoints makes a Txn that newly associates an API with endpoints collide
// with every other write to these: it guards their records and puts them again.
// Without that an endpoint could lose an interface, or end, between the View on
// which the alias's addresses were read and the commit, in either order.
//
// The guards go first, so that writers of one endpoint queue up.
func touchEndpoints(txn *statev1.Txn, v *state.View, before, after *apigatewayv1.RestApi, region string) {
	known := before.GetEndpointConfiguration().GetVpcEndpointIds()
	var guards []*statev1.Guard
	for _, id := range slices.Compact(slices.Sorted(slices.Values(after.GetEndpointConfiguration().GetVpcEndpointIds()))) {
		r := v.Find(statev1.Type_TYPE_VPC_ENDPOINT, region, id)
		if slices.Contains(known, id) || !endpointLives(r.GetVpcEndpoint()) {
			continue
		}
		guards = append(guards, guard(r))
		txn.Puts = append(txn.Puts, &statev1.Record{Key: r.GetKey(), Value: r.GetValue()})
	}
	txn.Guards = append(guards, txn.Guards...)
}

// maxAttemptsOfChange bounds a change's record. One that was lost so often is not going
// to be lost again; with the DNS clock frozen, attempts change nothing.
const maxAttemptsOfChange = 64

// kickDNS is what a new deployment does to DNS: each change of the API's names
// that is not INSYNC, or in whose stead an older one can show, gets a new
// attempt. It returns the records to put.
func kickDNS(cfg Config, v *state.View, key state.Key) []*statev1.Record {
	now := cfg.Now()
	clock := propagation.ClockOf(v.Settings().GetDnsClock())
	var puts []*statev1.Record
	for _, id := range cfg.changes.underway(v, clock.Now(now)) {
		r := v.Get(state.Key{Type: statev1.Type_TYPE_DNS_CHANGE, ID: id})
		if r == nil || !namesOf(r.GetDnsChange(), key) {
			continue
		}
		if propagation.AllSettled(r.GetDnsChange(), clock.Now(now)) {
			continue
		}
		if len(r.GetDnsChange().GetAttempts()) >= maxAttemptsOfChange {
			continue
		}
		kicked := proto.CloneOf(r)
		c := kicked.GetDnsChange()
		c.Attempts = append(c.Attempts, cfg.changes.commitTime(v, now))
		puts = append(puts, kicked)
	}
	return puts
}

// namesOf reports whether a change is about a name of the API: its own change,
// or that of an endpoint with which it is associated.
func namesOf(c *statev1.DnsChange, api state.Key) bool {
	if c.GetRegion() != api.Region {
		return false
	}
	if c.GetSubject() == api.ID {
		return true
	}
	return slices.ContainsFunc(c.GetRecords(), func(r *statev1.RecordChange) bool {
		return strings.HasPrefix(r.GetName(), api.ID+"-vpce-")
	})
}

// nameSet maps a name to its addresses. A name without addresses is not in it.
type nameSet map[string][]string

func (s nameSet) add(name string, exists bool, enis []zonalAddress) {
	if !exists || len(enis) == 0 {
		return
	}
	for _, e := range enis {
		s[name] = append(s[name], e.address)
	}
	slices.Sort(s[name])
}

// apiNames are the public names of an API: its default host unless it is
// private, and an alias for each association whose endpoint exists.
func apiNames(v *state.View, api *apigatewayv1.RestApi, region string) nameSet {
	names := nameSet{}
	if api == nil {
		return names
	}
	config := api.GetEndpointConfiguration()
	if !slices.Contains(config.GetTypes().GetValues(), "PRIVATE") {
		names[api.GetId()+"."+executeAPI(region)+"."] = []string{publicEdgeAddress}
	}
	for _, id := range config.GetVpcEndpointIds() {
		r := v.Find(statev1.Type_TYPE_VPC_ENDPOINT, region, id)
		if r == nil {
			continue
		}
		e := r.GetVpcEndpoint()
		if names[aliasName(api.GetId(), id, region)] == nil {
			names.add(aliasName(api.GetId(), id, region), endpointLives(e), addressesOf(v, state.KeyOf(r.GetKey()), e))
		}
	}
	return names
}

// endpointNames are the regional and the zonal names of an endpoint.
func endpointNames(e *statev1.VpcEndpoint, region string, enis []zonalAddress) nameSet {
	names := nameSet{}
	if !endpointLives(e) {
		return names
	}
	names.add(endpointHost(e, "", region)+".", true, enis)
	for _, eni := range enis {
		names.add(endpointHost(e, eni.zone, region)+".", true, []zonalAddress{eni})
	}
	return names
}

// endpointLives: from the moment its deletion is accepted an endpoint has
// neither names nor interfaces.
func endpointLives(e *statev1.VpcEndpoint) bool {
	return e != nil && e.GetDeletedAt() == 0
}

// addressesOf reads the addresses of an endpoint's interfaces.
func addressesOf(v *state.View, key state.Key, e *statev1.VpcEndpoint) []zonalAddress {
	var out []zonalAddress
	for _, id := range e.GetEndpoint().GetNetworkInterfaceIds() {
		child := state.Key{Type: statev1.Type_TYPE_NETWORK_INTERFACE, Account: key.Account, Region: key.Region, ID: e.GetEndpoint().GetVpcId() + "/" + id}
		if eni := v.Get(child).GetNetworkInterface(); eni != nil {
			out = append(out, zonalAddress{zone: eni.GetAvailabilityZone(), address: eni.GetPrivateIpAddress()})
		}
	}
	return out
}

// executeAPI is the domain of a region's API names, also the apex of the
// private zone of an endpoint with private DNS.
func executeAPI(region string) string { return "execute-api." + region + ".amazonaws.com" }

// aliasName is the name that an association makes.
func aliasName(api, endpoint, region string) string {
	return api + "-" + endpoint + "." + executeAPI(region) + "."
}

// endpointHost is the public name of an endpoint, or of its interface in a zone.
func endpointHost(e *statev1.VpcEndpoint, zone, region string) string {
	host := e.GetEndpoint().GetVpcEndpointId() + "-" + e.GetDnsSuffix()
	if zone != "" {
		host += "-" + zone
	}
	return host + ".execute-api." + region + ".vpce.amazonaws.com"
}

// dnsChange makes the record that turns one set of names into the other. Names
// that stay as they are don't take part, so a write that removes a name and
// makes it again is no change at all.
func dnsChange(cfg Config, v *state.View, key state.Key, before, after nameSet) *statev1.Record {
	settings := v.Settings()
	var ttl uint32
	if p, err := propagation.Resolve(settings.GetDnsProfile(), settings.GetCustomDnsProfile()); err == nil {
		ttl = uint32(p.PositiveTTL / time.Second)
	}
	all := maps.Clone(before)
	maps.Copy(all, after)
	var records []*statev1.RecordChange
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if slices.Equal(before[name], after[name]) {
			continue
		}
		records = append(records, &statev1.RecordChange{
			Name: strings.ToLower(name), Type: "A",
			Before: rrset(ttl, before[name]), After: rrset(ttl, after[name]),
		})
	}
	if len(records) == 0 {
		return nil
	}
	c := newDNSChange(cfg, v, records)
	c.Comment = "Names of " + key.ID
	c.Subject = key.ID
	c.Account = key.Account
	c.Region = key.Region
	return changeRecord(c)
}

// newDNSChange is a change of records, committed now: by the settings and with
// the faults in force.
func newDNSChange(cfg Config, v *state.View, records []*statev1.RecordChange) *statev1.DnsChange {
	now, settings := cfg.Now(), v.Settings()
	c := &statev1.DnsChange{
		Id:          "C" + cfg.pick(changeIDAlphabet, 20),
		Records:     records,
		Profile:     settings.GetDnsProfile(),
		Seed:        settings.GetDnsSeed(),
		Attempts:    []int64{cfg.changes.commitTime(v, now)},
		SubmittedAt: now.UnixNano(),

		CustomProfile: settings.GetCustomDnsProfile(),
	}
	propagation.Befall(c, dnsFaults(v))
	return c
}

func rrset(ttl uint32, addresses []string) *statev1.RRset {
	if len(addresses) == 0 {
		return nil
	}
	return &statev1.RRset{Ttl: ttl, Addresses: addresses}
}

// changeLedger keeps what would otherwise need a pass over every change ever
// made: the latest commit time, and the changes that are not settled. It is a
// function of the newest View that it was shown, brought up to date by what
// has changed since, and lives as long as its service.
type changeLedger struct {
	mu      sync.Mutex
	index   uint64 // of the View it stands for; 0: none yet
	latest  int64
	pending map[string]*statev1.DnsChange
	tidyAt  int // length of pending at which it is looked through
}

// commitTime is the commit time of a change decided on v: the DNS clock, but
// never before a change that v already holds, whichever node's clock made it.
func (l *changeLedger) commitTime(v *state.View, wall time.Time) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follow(v)
	now := propagation.ClockOf(v.Settings().GetDnsClock()).Now(wall)
	if len(l.pending) > l.tidyAt {
		l.tidy(now)
	}
	return max(l.latest, now.UnixNano())
}

// underway returns the ids of the changes that are not settled at a DNS time,
// in a fixed order. It may name some that are not in v, if it has seen a newer View.
func (l *changeLedger) underway(v *state.View, now time.Time) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follow(v)
	l.tidy(now)
	return slices.Sorted(maps.Keys(l.pending))
}

// tidy drops what is settled: the DNS clock only goes forward, so it stays so.
// It runs again at twice the length that it leaves, which makes it O(1) a change.
func (l *changeLedger) tidy(now time.Time) {
	maps.DeleteFunc(l.pending, func(_ string, c *statev1.DnsChange) bool {
		return propagation.AllSettled(c, now)
	})
	l.tidyAt = 2*len(l.pending) + 64
}

func (l *changeLedger) follow(v *state.View) {
	if l.index > 0 && v.Index() <= l.index {
		return
	}
	changes, ok := v.Changed(l.index)
	if l.index == 0 || !ok {
		l.latest, l.pending = 0, make(map[string]*statev1.DnsChange)
		for r := range v.All(statev1.Type_TYPE_DNS_CHANGE) {
			l.note(r.GetDnsChange())
		}
	} else {
		for _, c := range changes {
			switch {
			case c.Key.Type != statev1.Type_TYPE_DNS_CHANGE:
			case c.Deleted:
				delete(l.pending, c.Key.ID)
			default:
				l.note(c.Record.GetDnsChange())
			}
		}
	}
	l.index = v.Index()
}

func (l *changeLedger) note(c *statev1.DnsChange) {
	l.pending[c.GetId()] = c
	for _, at := range c.GetAttempts() {
		l.latest = max(l.latest, at)
	}
}

package service

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	dnszone "github.com/posternhq/postern/dnsprop/zone"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// ListDnsChanges shows where changes of names stand.
func (a *admin) ListDnsChanges(ctx context.Context, req *adminv1.ListDnsChangesRequest) (*adminv1.ListDnsChangesResponse, error) {
	v, err := view(ctx, a.cfg.Config)
	if err != nil {
		return nil, err
	}
	clock := propagation.ClockOf(v.Settings().GetDnsClock())
	now := clock.Now(a.cfg.Now())
	answer := &adminv1.ListDnsChangesResponse{}
	var reordered []*statev1.DnsChange
	for r := range v.All(statev1.Type_TYPE_DNS_CHANGE) {
		change := r.GetDnsChange()
		if !concerns(change, req.GetSubject()) {
			continue
		}
		if change.GetReorderedAt() != 0 && !propagation.AllSettled(change, now) {
			reordered = append(reordered, change)
		}
		answer.Changes = append(answer.Changes, changeStatus(r, clock, now))
	}
	markOvertaken(v, answer.Changes, reordered, now)
	slices.SortFunc(answer.Changes, func(a, b *adminv1.DnsChangeStatus) int { return cmp.Compare(a.Index, b.Index) })
	return answer, nil
}

func changeStatus(r *statev1.Record, clock propagation.Clock, now time.Time) *adminv1.DnsChangeStatus {
	change := r.GetDnsChange()
	s := &adminv1.DnsChangeStatus{
		Id: change.GetId(), Subject: change.GetSubject(), Index: r.GetCreateIndex(), Status: "PENDING",
		SubmittedAtUnixNano: change.GetSubmittedAt(), Attempts: uint32(len(change.GetAttempts())),
	}
	for _, record := range change.GetRecords() {
		s.Names = append(s.Names, record.GetName())
		if record.GetAfter() == nil {
			s.Removed = append(s.Removed, record.GetName())
		}
	}
	if insync, ok := propagation.Insync(change); ok && !insync.After(now) {
		s.Status = "INSYNC"
	}
	for authority := range propagation.Authorities {
		i := &adminv1.AuthorityInstant{Place: propagation.PlaceOf(authority)}
		if instant, ok := propagation.Instant(change, authority); ok {
			i.DnsUnixNano, i.Visible = instant.UnixNano(), !instant.After(now)
			if wall, ok := clock.Wall(instant); ok {
				i.WallUnixNano = wall.UnixNano()
			}
		} else {
			i.Lost = true
		}
		s.Instants = append(s.Instants, i)
	}
	return s
}

// markOvertaken marks where an older change shows in the stead of one that was
// reordered: by the zones that the changes of the same names make.
func markOvertaken(v *state.View, statuses []*adminv1.DnsChangeStatus, reordered []*statev1.DnsChange, now time.Time) {
	if len(reordered) == 0 {
		return
	}
	names := map[string]bool{}
	for _, change := range reordered {
		for _, record := range change.GetRecords() {
			names[record.GetName()] = true
		}
	}
	regions := map[string]bool{}
	var changes []*dnszone.Change
	for r := range v.All(statev1.Type_TYPE_DNS_CHANGE) {
		d := r.GetDnsChange()
		if !slices.ContainsFunc(d.GetRecords(), func(record *statev1.RecordChange) bool { return names[record.GetName()] }) {
			continue
		}
		regions[d.GetRegion()] = true
		if c, err := dnszone.NewChange(&dnsv1.Change{Change: d, Index: r.GetCreateIndex()}); err == nil {
			changes = append(changes, c)
		}
	}
	edit := new(dnszone.Set).Edit(slices.Collect(maps.Keys(regions)))
	byID := map[string]*dnszone.Change{}
	for _, c := range changes {
		if _, ok := edit.Holds(c); ok {
			edit.Put(c)
			byID[c.ID] = c
		}
	}
	set := edit.Set(now.UnixNano())
	for _, s := range statuses {
		c := byID[s.GetId()]
		for authority, i := range s.GetInstants() {
			i.Overtaken = c != nil && i.GetVisible() && !set.Shows(c, authority, now.UnixNano())
		}
	}
}

func concerns(change *statev1.DnsChange, subject string) bool {
	if subject == "" || change.GetSubject() == subject || change.GetId() == strings.TrimPrefix(subject, "/change/") {
		return true
	}
	name := strings.ToLower(strings.TrimSuffix(subject, ".")) + "."
	for _, record := range change.GetRecords() {
		if record.GetName() == name || strings.Contains(record.GetName(), strings.ToLower(subject)) {
			return true
		}
	}
	return false
}

// ExplainName asks the DNS servers what their places answer for a name.
func (a *admin) ExplainName(ctx context.Context, req *adminv1.ExplainNameRequest) (*adminv1.ExplainNameResponse, error) {
	asked, err := a.cfg.Questions.Ask(ctx, syncv1.Domain_DOMAIN_DNS, &syncv1.Query{Question: &syncv1.Query_Name{Name: req.GetQuestion()}})
	if err != nil {
		return nil, err
	}
	answer := &adminv1.ExplainNameResponse{}
	heard := map[string]bool{}
	refused, known := "", []string(nil)
	for _, r := range asked.Replies {
		e := r.GetAnswer().GetExplanation()
		switch {
		case e == nil || heard[r.GetCarrier()]:
			continue
		case e.GetRefused() != "":
			refused, known = e.GetRefused(), append(known, e.GetKnown()...)
		default:
			answer.Servers = append(answer.Servers, &adminv1.NameServer{Id: r.GetCarrier(), Explanation: e})
		}
		heard[r.GetCarrier()] = true
	}
	answer.Unreached = a.unreachedServers(asked, heard)
	slices.SortFunc(answer.Servers, func(a, b *adminv1.NameServer) int { return cmp.Compare(a.GetId(), b.GetId()) })
	switch {
	case len(answer.Servers) > 0:
		return answer, nil
	case len(known) > 0:
		slices.Sort(known)
		return nil, apierr.NotFound("%s: want one of %s", refused, strings.Join(known, ", "))
	case refused != "":
		return nil, apierr.BadRequest("%s", refused)
	}
	return nil, apierr.New(apierr.KindUnavailable, "", "no DNS server answers. Not reached: %s", listed(answer.Unreached))
}

// unreachedServers are the DNS servers that were not heard.
func (a *admin) unreachedServers(asked *Asked, heard map[string]bool) map[string]string {
	return a.unreached(asked, "authority", func(carrier string) bool { return heard[carrier] })
}

// maxFollowed bounds the changes that DNS servers are asked about at a time.
const maxFollowed = 32

// FollowDnsChanges is ListDnsChanges with what the DNS servers know of their caches:
// of many changes, of those under way and the newest.
func (a *admin) FollowDnsChanges(ctx context.Context, req *adminv1.FollowDnsChangesRequest) (*adminv1.FollowDnsChangesResponse, error) {
	list, err := a.ListDnsChanges(ctx, &adminv1.ListDnsChangesRequest{Subject: req.GetSubject()})
	if err != nil {
		return nil, err
	}
	answer := &adminv1.FollowDnsChangesResponse{Changes: list.GetChanges()}
	newest := slices.Clone(list.GetChanges())
	slices.SortFunc(newest, func(a, b *adminv1.DnsChangeStatus) int {
		// PENDING comes after INSYNC.
		return cmp.Or(cmp.Compare(b.GetStatus(), a.GetStatus()), cmp.Compare(b.GetIndex(), a.GetIndex()))
	})
	question := &dnsv1.ProgressQuestion{}
	for _, change := range newest[:min(len(newest), maxFollowed)] {
		question.Changes = append(question.Changes, change.GetId())
	}
	if len(question.Changes) == 0 {
		return answer, nil
	}
	asked, err := a.cfg.Questions.Ask(ctx, syncv1.Domain_DOMAIN_DNS, &syncv1.Query{Question: &syncv1.Query_Progress{Progress: question}})
	if err != nil {
		return nil, err
	}
	heard := map[string]bool{}
	for _, r := range asked.Replies {
		if p := r.GetAnswer().GetProgress(); p != nil && !heard[r.GetCarrier()] {
			heard[r.GetCarrier()] = true
			answer.Servers = append(answer.Servers, &adminv1.NameServerProgress{Id: r.GetCarrier(), Progress: p})
		}
	}
	answer.Unreached = a.unreachedServers(asked, heard)
	slices.SortFunc(answer.Servers, func(a, b *adminv1.NameServerProgress) int { return cmp.Compare(a.GetId(), b.GetId()) })
	return answer, nil
}

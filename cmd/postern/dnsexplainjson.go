package main

import (
	"strings"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
)

type explanationJSON struct {
	Name      string            `json:"name"`
	Type      string            `json:"type"`
	Now       string            `json:"now"`
	Speed     float64           `json:"speed"`
	Frozen    bool              `json:"frozen"`
	Places    []placeAnswerJSON `json:"places"`
	Omitted   uint32            `json:"omitted,omitempty"`
	Unreached map[string]string `json:"unreached,omitempty"`
}

type placeAnswerJSON struct {
	Place    string        `json:"place"`
	Kind     string        `json:"kind"`
	Outcomes []outcomeJSON `json:"outcomes"`
	// Not set: it does not change by itself; of the wall clock's: or the DNS clock is frozen.
	ChangesAt     string      `json:"changes_at,omitempty"`
	ChangesAtWall string      `json:"changes_at_wall_time,omitempty"`
	NotBefore     bool        `json:"not_before,omitempty"`
	Then          *resultJSON `json:"then,omitempty"`
}

type outcomeJSON struct {
	Asked []string `json:"asked,omitempty"`
	resultJSON
	From []linkJSON `json:"from"`
}

type resultJSON struct {
	Rcode       string   `json:"rcode"`
	Silent      bool     `json:"silent,omitempty"`
	Forwarded   bool     `json:"forwarded,omitempty"`
	Records     []string `json:"records,omitempty"`
	NegativeTTL uint32   `json:"negative_ttl,omitempty"`
	Referral    []string `json:"referral,omitempty"`
}

type linkJSON struct {
	Name        string        `json:"name"`
	Source      string        `json:"source"`
	Zone        string        `json:"zone,omitempty"`
	ZoneID      string        `json:"zone_id,omitempty"`
	Private     bool          `json:"private,omitempty"`
	Authority   string        `json:"authority,omitempty"`
	Change      string        `json:"change,omitempty"`
	Index       uint64        `json:"index,omitempty"`
	ShownAt     string        `json:"shown_at,omitempty"`
	By          string        `json:"by,omitempty"`
	Cached      *cachedJSON   `json:"cached,omitempty"`
	FailedUntil string        `json:"failed_until,omitempty"`
	Waiting     []waitingJSON `json:"waiting,omitempty"`
	Faults      []inForceJSON `json:"faults,omitempty"`
	Forwarded   string        `json:"forwarded_to,omitempty"`
}

type cachedJSON struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Negative    bool   `json:"negative"`
	PlantedBy   string `json:"planted_by"`
	PlantedAt   string `json:"planted_at"`
	ExpiresAt   string `json:"expires_at"`
	RemainingMS int64  `json:"remaining_ms"`
	KeepUntil   string `json:"keep_until"`
}

type waitingJSON struct {
	Change    string `json:"change"`
	Index     uint64 `json:"index"`
	ShownAt   string `json:"shown_at,omitempty"`
	Lost      bool   `json:"lost,omitempty"`
	Overtaken bool   `json:"overtaken,omitempty"`
	LagMS     int64  `json:"lag_ms,omitempty"`
}

type inForceJSON struct {
	ID        string `json:"id"`
	Authority string `json:"authority"`
	EndsAt    string `json:"ends_at,omitempty"`
}

// explanationOf is an explanation by all servers as -o json prints it; times are
// of the DNS clock but for those of the wall.
func explanationOf(answer *adminv1.ExplainNameResponse) explanationJSON {
	first := answer.GetServers()[0].GetExplanation()
	out := explanationJSON{
		Name: first.GetName(), Type: first.GetType(), Now: rfc3339(time.Unix(0, first.GetNow())), Speed: first.GetSpeed(), Frozen: first.GetSpeed() == 0,
		Places: []placeAnswerJSON{}, Unreached: answer.GetUnreached(),
	}
	for _, server := range answer.GetServers() {
		e := server.GetExplanation()
		out.Omitted += e.GetOmitted()
		for _, p := range e.GetPlaces() {
			j := placeAnswerJSON{
				Place: p.GetPlace(), Kind: p.GetKind(), Outcomes: []outcomeJSON{},
				ChangesAt: instantText(p.GetChangesAt()), ChangesAtWall: instantText(p.GetChangesAtWall()), NotBefore: p.GetNotBefore(),
			}
			if p.GetChangesAt() != 0 && !p.GetNotBefore() {
				j.Then = new(resultOf(p.GetThen()))
			}
			for _, o := range p.GetOutcomes() {
				outcome := outcomeJSON{Asked: o.GetAsked(), resultJSON: resultOf(o.GetResult()), From: []linkJSON{}}
				for _, link := range o.GetLinks() {
					outcome.From = append(outcome.From, linkOf(e, link))
				}
				j.Outcomes = append(j.Outcomes, outcome)
			}
			out.Places = append(out.Places, j)
		}
	}
	return out
}

func resultOf(r *dnsv1.Result) resultJSON {
	return resultJSON{
		Rcode: r.GetRcode(), Silent: r != nil && r.GetRcode() == "", Forwarded: r == nil,
		Records: r.GetRecords(), NegativeTTL: r.GetNegativeTtl(), Referral: r.GetReferral(),
	}
}

func linkOf(e *dnsv1.Explanation, link *dnsv1.Link) linkJSON {
	j := linkJSON{
		Name: link.GetName(), Source: strings.ToLower(strings.TrimPrefix(link.GetSource().String(), "SOURCE_")),
		Zone: link.GetZone(), ZoneID: link.GetZoneId(), Private: link.GetPrivate(), Authority: link.GetAuthority(),
		Change: link.GetChange(), Index: link.GetIndex(), ShownAt: instantText(link.GetShownAt()), By: link.GetBy(),
		FailedUntil: instantText(link.GetFailedUntil()), Forwarded: link.GetForwarded(),
	}
	if c := link.GetCached(); c != nil {
		j.Cached = &cachedJSON{
			c.GetName(), c.GetType(), c.GetNegative(), c.GetPlantedBy(), instantText(c.GetPlantedAt()), instantText(c.GetExpiresAt()),
			max(time.Duration(c.GetExpiresAt()-e.GetNow()).Milliseconds(), 0), instantText(c.GetKeepUntil()),
		}
	}
	for _, w := range link.GetWaiting() {
		j.Waiting = append(j.Waiting, waitingJSON{w.GetChange(), w.GetIndex(), instantText(w.GetShownAt()), w.GetLost(), w.GetOvertaken(), time.Duration(w.GetLag()).Milliseconds()})
	}
	for _, f := range link.GetFaults() {
		j.Faults = append(j.Faults, inForceJSON{f.GetId(), f.GetAuthority(), instantText(f.GetEndsAt())})
	}
	return j
}

// instantText is an instant of a message, in which 0 is none.
func instantText(nanos int64) string {
	if nanos == 0 {
		return ""
	}
	return rfc3339(time.Unix(0, nanos))
}

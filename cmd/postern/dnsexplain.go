package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
)

type dnsExplainCmd struct {
	clientFlags
	Name string `arg:"" help:"The name."`
	Type string `default:"A" help:"Type of records: A, AAAA, CNAME, TXT…" placeholder:"TYPE"`
	At   string `help:"One place: ns1 to ns4, public, the name of a resolver, the id of a VPC, or VPC/AZ for the cache of a zone; with the id of a DNS server and a hyphen before it, there only. All by default." placeholder:"PLACE"`
}

// Help is shown by `postern dns explain --help`.
func (dnsExplainCmd) Help() string {
	return `Says what each place answers for a name at this moment, what from, and when it will answer something else if nothing is
committed and nobody asks: of a name server the change and the instant that made it so, the changes that are on their way, and
faults; of a resolver, whose cache for each availability zone is a place, the private zone, or the cached answer with its
remaining time and the client that planted it, or what it could hear from the name servers. Explaining leaves no trace: no cache
learns or forgets anything. Exit code 1 if there is no such place.

Examples:
  postern dns explain a1b2c3d4e5-vpce-0f1e2d3c4b5a69788.execute-api.us-west-2.amazonaws.com
  postern dns explain www.example.com --type AAAA --at vpc-0a1b2c3d/us-west-2a
  postern dns explain www.example.com --at ns3 -o json`
}

func (c *dnsExplainCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	answer, err := client.ExplainName(ctx, &adminv1.ExplainNameRequest{Question: &dnsv1.Question{Name: c.Name, Type: c.Type, Place: c.At}})
	if err != nil {
		return err
	}
	if g.Output == "json" {
		writeJSON(g.stdout, explanationOf(answer))
		return nil
	}
	writeExplanation(g.stdout, answer)
	return nil
}

// writeExplanation prints an explanation for people. Names and texts come from
// whoever made records, so they are shown as DNS writes them: escaped.
func writeExplanation(w io.Writer, answer *adminv1.ExplainNameResponse) {
	first := answer.GetServers()[0].GetExplanation()
	clock := ""
	if first.GetSpeed() == 0 {
		clock = ", which is frozen"
	}
	fmt.Fprintf(w, "%s %s at %s of the DNS clock%s\n", first.GetName(), first.GetType(), rfc3339(time.Unix(0, first.GetNow())), clock)
	for _, server := range answer.GetServers() {
		e := server.GetExplanation()
		for _, p := range e.GetPlaces() {
			fmt.Fprintf(w, "\n%s\n", p.GetPlace())
			var rows [][]string
			for _, o := range p.GetOutcomes() {
				label := "  answers"
				if len(p.GetOutcomes()) > 1 {
					label = "  " + strings.Join(o.GetAsked(), ", ") + " asked"
				}
				rows = append(rows, []string{label, resultWords(o.GetResult())})
				for _, link := range o.GetLinks() {
					for i, line := range linkWords(e, p, o, link) {
						label := ""
						if i == 0 {
							label = "    from"
						}
						rows = append(rows, []string{label, line})
					}
				}
			}
			table(w, append(rows, []string{"  changes", changeWords(e, p)}))
		}
		if e.GetOmitted() > 0 {
			fmt.Fprintf(w, "\n%d more places of %s: ask for them with --at\n", e.GetOmitted(), server.GetId())
		}
	}
	if len(answer.GetUnreached()) > 0 {
		fmt.Fprintf(w, "\nNot reached: %s\n", listedPairs(answer.GetUnreached()))
	}
}

// resultWords are an answer in a line.
func resultWords(r *dnsv1.Result) string {
	switch {
	case r == nil:
		return "what the server to which such names are forwarded says"
	case r.GetRcode() == "":
		return "nothing: it is silent"
	case len(r.GetReferral()) > 0 && len(r.GetRecords()) == 0:
		return "a referral to " + strings.Join(r.GetReferral(), ", ")
	case len(r.GetRecords()) > 0:
		text := strings.Join(r.GetRecords(), "; ")
		if r.GetRcode() != "NOERROR" {
			text = r.GetRcode() + " after " + text
		}
		return text
	case r.GetRcode() == "NOERROR":
		return fmt.Sprintf("no records of the type, for %d s", r.GetNegativeTtl())
	case r.GetRcode() == "NXDOMAIN":
		return fmt.Sprintf("NXDOMAIN, for %d s", r.GetNegativeTtl())
	}
	return r.GetRcode()
}

// linkWords say in lines what one name of an answer is from.
func linkWords(e *dnsv1.Explanation, p *dnsv1.PlaceAnswer, o *dnsv1.Outcome, link *dnsv1.Link) (lines []string) {
	now := time.Unix(0, e.GetNow())
	zone := "zone " + link.GetZone()
	if link.GetZoneId() != "" {
		zone += " (" + link.GetZoneId() + ")"
	}
	if link.GetPrivate() {
		zone = "private " + zone
	}
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	switch link.GetSource() {
	case dnsv1.Source_SOURCE_AUTHORITY:
		if p.GetKind() == "authority" {
			say("%s", zone)
		} else {
			say("nothing is cached: %s of %s says it", link.GetAuthority(), zone)
		}
	case dnsv1.Source_SOURCE_ENDPOINT:
		say("private zone %s of an endpoint, which covers all names in it", link.GetZone())
	case dnsv1.Source_SOURCE_CACHE, dnsv1.Source_SOURCE_STALE:
		c := link.GetCached()
		left := time.Unix(0, c.GetExpiresAt()).Sub(now)
		what := "the cache"
		if c.GetNegative() {
			what = "the negative cache"
		}
		if c.GetName() != link.GetName() {
			what += ", where " + c.GetName() + " does not exist"
		}
		if link.GetSource() == dnsv1.Source_SOURCE_STALE {
			say("%s, stale for %s and kept for %s more, while no name server answers", what, ago(-left), ago(time.Unix(0, c.GetKeepUntil()).Sub(now)))
		} else {
			say("%s, for another %s", what, ago(left))
		}
		say("planted by %s, which asked for %s %s ago; %s of %s said so", c.GetPlantedBy(), c.GetType(), ago(now.Sub(time.Unix(0, c.GetPlantedAt()))), link.GetAuthority(), zone)
	case dnsv1.Source_SOURCE_FAILURE:
		say("memory: all name servers failed for %s, and are not asked again for %s", link.GetName(), ago(time.Unix(0, link.GetFailedUntil()).Sub(now)))
	case dnsv1.Source_SOURCE_NONE:
		if p.GetKind() == "resolver" {
			say("no name server that answers for %s", link.GetName())
		}
	case dnsv1.Source_SOURCE_FOREIGN:
		switch {
		case link.GetForwarded() != "":
			say("%s, where %s is asked about, which is in no zone here", link.GetForwarded(), link.GetName())
		case link.GetZone() != "":
			say("%s, which this name server does not have", zone)
		default:
			say("no zone: %s is in none here", link.GetName())
		}
	case dnsv1.Source_SOURCE_OFF:
		say("the VPC's enableDnsSupport, which is off")
	}
	if link.GetBy() != "" {
		say("by %s", link.GetBy())
	}
	if link.GetChange() != "" {
		say("by change %s of version %d, which shows there since %s", link.GetChange(), link.GetIndex(), rfc3339(time.Unix(0, link.GetShownAt())))
	}
	for _, w := range link.GetWaiting() {
		lag := ""
		if w.GetLag() > 0 {
			lag = ", " + time.Duration(w.GetLag()).String() + " late (dns-lag)"
		}
		switch {
		case w.GetLost():
			say("not change %s of version %d, which was lost: it never shows here", w.GetChange(), w.GetIndex())
		case w.GetOvertaken():
			say("not change %s of version %d, over which an older one took effect (dns-reorder)", w.GetChange(), w.GetIndex())
		default:
			say("not yet change %s of version %d, which shows here in %s%s", w.GetChange(), w.GetIndex(), ago(time.Unix(0, w.GetShownAt()).Sub(now)), lag)
		}
	}
	for _, f := range link.GetFaults() {
		until := "until it is cleared"
		if f.GetEndsAt() != 0 {
			until = "for another " + ago(time.Unix(0, f.GetEndsAt()).Sub(now))
		}
		say("%s: fault %s, %s", f.GetAuthority(), f.GetId(), until)
	}
	return lines
}

// changeWords say when a place answers something else, and what.
func changeWords(e *dnsv1.Explanation, p *dnsv1.PlaceAnswer) string {
	if p.GetChangesAt() == 0 {
		return "not by itself"
	}
	left := time.Unix(0, p.GetChangesAt()).Sub(time.Unix(0, e.GetNow()))
	when := fmt.Sprintf("in %s of the DNS clock, which is frozen", ago(left))
	if p.GetChangesAtWall() != 0 {
		when = fmt.Sprintf("in %s, at %s", ago(left), rfc3339(time.Unix(0, p.GetChangesAtWall()).Truncate(time.Millisecond)))
		if e.GetSpeed() != 1 {
			when += fmt.Sprintf(" (%s from now by the wall clock)", ago(time.Duration(float64(left)/e.GetSpeed())))
		}
	}
	if p.GetNotBefore() {
		return when + " at the earliest"
	}
	return when + ": " + resultWords(p.GetThen())
}

// ago is a stretch of time as people count it.
func ago(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

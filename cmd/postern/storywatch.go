package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// watchPatience bounds the wait for a name: the slowest change of the profile
// and the longest negative TTL, at the demo's speed, with room to spare.
const watchPatience = 3 * time.Minute

// watchNames shows, live, how a name becomes visible: a bar for each authority
// and one for the public resolver, until all have it.
func (s *story) watchNames(what, subject, name string) error {
	return s.watch(what, subject, name, true)
}

// watchGone shows how a name goes.
func (s *story) watchGone(what, subject, name string) error {
	return s.watch(what, subject, name, false)
}

func (s *story) watch(what, subject, name string, present bool) error {
	ctx, cancel := context.WithTimeout(s.ctx, watchPatience)
	defer cancel()
	started := time.Now()
	live := isTerminal(s.g.stdout) && s.g.Output == "text"
	lines := 0
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for {
		change, err := s.newestChange(ctx, subject, name)
		if err != nil {
			return err
		}
		// Ask only once the authorities have it: an early question would plant
		// NXDOMAIN in the resolver for its whole negative TTL, as on AWS.
		all := change.GetStatus() == "INSYNC"
		resolved := false
		if all {
			resolved = s.resolves(ctx, name) == present
		}
		if live {
			if lines > 0 {
				fmt.Fprintf(s.g.stdout, "\033[%dA", lines)
			}
			lines = s.drawBars(change, resolved)
		}
		if all && resolved {
			verb := "can be resolved everywhere"
			if !present {
				verb = "is gone everywhere"
			}
			s.say("   %s %s after %.1f s", what, verb, time.Since(started).Seconds())
			s.check(fmt.Sprintf("%s %s", what, verb), "INSYNC", change.GetStatus())
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s (%s) did not settle: change %s is %s", what, name, change.GetId(), change.GetStatus())
		case <-tick.C:
		}
	}
}

// newestChange returns the newest change that concerns the name.
func (s *story) newestChange(ctx context.Context, subject, name string) (*adminv1.DnsChangeStatus, error) {
	answer, err := s.admin.ListDnsChanges(ctx, &adminv1.ListDnsChangesRequest{Subject: subject})
	if err != nil {
		return nil, err
	}
	var newest *adminv1.DnsChangeStatus
	for _, change := range answer.GetChanges() {
		for _, n := range change.GetNames() {
			if strings.TrimSuffix(n, ".") == name {
				newest = change
			}
		}
	}
	if newest == nil {
		return nil, fmt.Errorf("no change of %s is known", name)
	}
	return newest, nil
}

func (s *story) drawBars(change *adminv1.DnsChangeStatus, resolved bool) int {
	const width = 30
	submitted := time.Unix(0, change.GetSubmittedAtUnixNano())
	lines := 0
	draw := func(place string, filled int, state string) {
		fmt.Fprintf(s.g.stdout, "\033[K     %-9s %s %s\n", place, bar(filled, width, width), state)
		lines++
	}
	for _, i := range change.GetInstants() {
		due := time.Unix(0, i.GetWallUnixNano())
		switch {
		case i.GetVisible():
			draw(i.GetPlace(), width, "visible")
		case i.GetLost() || i.GetWallUnixNano() == 0:
			draw(i.GetPlace(), 0, "lost")
		default:
			total := due.Sub(submitted)
			filled := 0
			if total > 0 {
				filled = int(int64(width) * int64(time.Since(submitted)) / int64(total))
			}
			draw(i.GetPlace(), max(0, filled), fmt.Sprintf("in %.1f s", max(0, time.Until(due).Seconds())))
		}
	}
	if resolved {
		draw("resolver", width, "answers")
	} else {
		draw("resolver", 0, "waiting")
	}
	return lines
}

// resolves asks the public resolver.
func (s *story) resolves(ctx context.Context, name string) bool {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, s.addr.DNS)
	}}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	addresses, err := resolver.LookupHost(ctx, name+".")
	return err == nil && len(addresses) > 0
}

package service

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/resolver"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// maxDNSSpeed keeps a TTL of a minute above a millisecond.
const maxDNSSpeed = 10_000

// maxAdvance keeps the DNS clock within what a Unix nanosecond count can hold.
const maxAdvance = 10 * 365 * 24 * time.Hour

func (a *admin) GetSettings(ctx context.Context, _ *adminv1.GetSettingsRequest) (*adminv1.GetSettingsResponse, error) {
	v, err := view(ctx, a.cfg.Config)
	if err != nil {
		return nil, err
	}
	s := v.Settings()
	return &adminv1.GetSettingsResponse{
		Settings:       settingsAnswer(s),
		Recorded:       v.Get(state.SettingsKey()) != nil,
		DnsNowUnixNano: propagation.ClockOf(s.GetDnsClock()).Now(a.cfg.Now()).UnixNano(),
	}, nil
}

// choices are the settings with a fixed set of values.
func choices(s *statev1.Settings, given *adminv1.Settings) []struct {
	name    string
	given   *string
	into    *string
	allowed []string
} {
	return []struct {
		name    string
		given   *string
		into    *string
		allowed []string
	}{
		{"unknown-endpoints", given.UnknownEndpoints, &s.UnknownEndpoints, []string{"refuse", "allow"}},
		{"tls-max", given.TlsMax, &s.TlsMax, []string{"1.2", "1.3"}},
		{"deny-detail", given.DenyDetail, &s.DenyDetail, []string{"detailed", "classic"}},
		{"source-ip-on-private", given.SourceIpOnPrivate, &s.SourceIpOnPrivate, []string{"absent", "eni", "client"}},
		{"addresses", given.Addresses, &s.Addresses, []string{"loopback", "as-is"}},
	}
}

// UpdateSettings changes what is given and leaves the rest.
func (a *admin) UpdateSettings(ctx context.Context, req *adminv1.UpdateSettingsRequest) (*adminv1.UpdateSettingsResponse, error) {
	given := req.GetSettings()
	if given == nil {
		given = &adminv1.Settings{}
	}
	var after *statev1.Settings
	index, err := update(ctx, a.cfg.Config, func(v *state.View) (*statev1.Txn, error) {
		before := v.Settings()
		after = proto.Clone(before).(*statev1.Settings)
		for _, c := range choices(after, given) {
			if c.given == nil {
				continue
			}
			if !slices.Contains(c.allowed, *c.given) {
				return nil, apierr.BadRequest("Invalid %s %q: one of %s", c.name, *c.given, strings.Join(c.allowed, ", "))
			}
			*c.into = *c.given
		}
		if given.DnsProfile == nil && given.CustomDnsProfile != nil {
			return nil, apierr.BadRequest("Invalid dns-profile: its content is given without its name")
		}
		if given.DnsProfile != nil {
			content := given.GetCustomDnsProfile()
			if content == nil && given.GetDnsProfile() == before.GetDnsProfile() {
				content = before.GetCustomDnsProfile() // named again
			}
			_, err := propagation.Resolve(given.GetDnsProfile(), content)
			if err == nil {
				_, err = resolver.ParseOptions(content.GetResolver())
			}
			if err != nil {
				return nil, apierr.BadRequest("Invalid dns-profile: %v", err)
			}
			after.DnsProfile, after.CustomDnsProfile = given.GetDnsProfile(), content
		}
		if given.DnsSeed != nil {
			after.DnsSeed = given.GetDnsSeed()
		}
		if given.DnsSpeed != nil && given.GetDnsSpeed() != before.GetDnsClock().GetSpeed() {
			speed := given.GetDnsSpeed()
			if math.IsNaN(speed) || speed < 0 || speed > maxDNSSpeed {
				return nil, apierr.BadRequest("Invalid dns-speed %v: from 0 (frozen) to %d", speed, maxDNSSpeed)
			}
			after.DnsClock = propagation.ClockOf(before.GetDnsClock()).WithSpeed(a.cfg.Now(), speed).Proto()
		}
		if proto.Equal(before, after) {
			return nil, nil
		}
		return putSettings(v, after), nil
	})
	if err != nil {
		return nil, err
	}
	if given.DnsSpeed != nil {
		a.followed(ctx, index)
	}
	return &adminv1.UpdateSettingsResponse{Settings: settingsAnswer(after), Index: index}, nil
}

// followPatience bounds how long a change of the DNS clock waits for those that go
// by it.
const followPatience = time.Second

// followed returns when all DNS servers that can be reached go by a version, so
// that who moved the clock sees its new time at once. It asks no more of them than
// that they have it: what they answer may be held back by caches and lost changes.
func (a *admin) followed(ctx context.Context, index uint64) {
	if a.cfg.Questions == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, followPatience)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		asked, err := a.cfg.Questions.Ask(ctx, syncv1.Domain_DOMAIN_DNS, &syncv1.Query{Question: &syncv1.Query_Progress{Progress: &dnsv1.ProgressQuestion{}}})
		if err != nil {
			return
		}
		if !slices.ContainsFunc(asked.Replies, func(r *clusterv1.Reply) bool {
			p := r.GetAnswer().GetProgress()
			return p != nil && p.GetIndex() < index
		}) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// AdvanceDns moves the DNS clock forward: one commit, which every place follows.
func (a *admin) AdvanceDns(ctx context.Context, req *adminv1.AdvanceDnsRequest) (*adminv1.AdvanceDnsResponse, error) {
	by := time.Duration(req.GetDurationMs()) * time.Millisecond
	if req.GetDurationMs() <= 0 || req.GetDurationMs() > maxAdvance.Milliseconds() {
		return nil, apierr.BadRequest("Invalid duration %d ms: the DNS clock moves forward only, by at most ten years at a time", req.GetDurationMs())
	}
	var now time.Time
	index, err := update(ctx, a.cfg.Config, func(v *state.View) (*statev1.Txn, error) {
		after := proto.Clone(v.Settings()).(*statev1.Settings)
		wall := a.cfg.Now()
		clock := propagation.ClockOf(after.GetDnsClock()).Advance(wall, by)
		now = clock.Now(wall)
		after.DnsClock = clock.Proto()
		return putSettings(v, after), nil
	})
	if err != nil {
		return nil, err
	}
	a.followed(ctx, index)
	return &adminv1.AdvanceDnsResponse{DnsNowUnixNano: now.UnixNano(), Index: index}, nil
}

func putSettings(v *state.View, s *statev1.Settings) *statev1.Txn {
	return &statev1.Txn{
		Guards: []*statev1.Guard{{Key: state.SettingsKey().Proto(), ModifyIndex: v.Get(state.SettingsKey()).GetModifyIndex()}},
		Puts:   []*statev1.Record{{Key: state.SettingsKey().Proto(), Value: &statev1.Record_Settings{Settings: s}}},
	}
}

func settingsAnswer(s *statev1.Settings) *adminv1.Settings {
	return &adminv1.Settings{
		DnsProfile:        &s.DnsProfile,
		DnsSpeed:          proto.Float64(s.GetDnsClock().GetSpeed()),
		DnsSeed:           &s.DnsSeed,
		UnknownEndpoints:  &s.UnknownEndpoints,
		TlsMax:            &s.TlsMax,
		DenyDetail:        &s.DenyDetail,
		SourceIpOnPrivate: &s.SourceIpOnPrivate,
		Addresses:         &s.Addresses,
		CustomDnsProfile:  s.GetCustomDnsProfile(),
	}
}

package propagation

import (
	"fmt"
	"strings"
	"time"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// maxTTL bounds the TTLs of a custom profile, as resolvers do (RFC 8767, 4).
const maxTTL = 7 * 24 * time.Hour

// Resolve is the profile of a name with its content as recorded; no content
// means a built-in one. It reports content that is out of its limits, but for the
// resolver options, which it leaves to who reads them.
func Resolve(name string, content *statev1.DnsProfile) (Profile, error) {
	if content == nil {
		return Lookup(name)
	}
	p := Profile{Name: name, Lost: content.GetLost(), Reorder: content.GetReorder(), Lag: time.Duration(content.GetLag()), Resolver: content.GetResolver()}
	if err := checkName(name); err != nil {
		return Profile{}, err
	}
	for _, s := range []struct {
		name    string
		content *statev1.DelayDistribution
		into    *Distribution
	}{
		{"enqueue", content.GetEnqueue(), &p.Enqueue},
		{"sync", content.GetSync(), &p.Sync},
		{"pending", content.GetEndpoint(), &p.Endpoint},
	} {
		d, err := distributionOf(s.content)
		if err != nil {
			return Profile{}, fmt.Errorf("dns profile %q: %s: %w", name, s.name, err)
		}
		*s.into = d
	}
	if !(p.Lost >= 0 && p.Lost < 1) {
		return Profile{}, fmt.Errorf("dns profile %q: lost: probability %v is not from 0 to below 1", name, p.Lost)
	}
	if p.Lag < 0 || p.Lag > maxDelay {
		return Profile{}, fmt.Errorf("dns profile %q: lag: %v is not from 0 to %v", name, p.Lag, maxDelay)
	}
	for _, s := range []struct {
		name    string
		seconds int64
		into    *time.Duration
	}{
		{"positive-ttl", content.GetPositiveTtl(), &p.PositiveTTL},
		{"negative-ttl", content.GetNegativeTtl(), &p.NegativeTTL},
	} {
		if s.seconds < 0 || s.seconds > int64(maxTTL/time.Second) {
			return Profile{}, fmt.Errorf("dns profile %q: %s: %d s is not from 0 to %v", name, s.name, s.seconds, maxTTL)
		}
		*s.into = time.Duration(s.seconds) * time.Second
	}
	return p, nil
}

// checkName keeps a custom profile from passing for a built-in one.
func checkName(name string) error {
	if _, err := Lookup(name); err == nil {
		return fmt.Errorf("dns profile %q is built in, another must not be called so", name)
	}
	if len(name) == 0 || len(name) > 63 || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	}) {
		return fmt.Errorf("dns profile %q: a name has 1 to 63 lower-case letters, digits and hyphens", name)
	}
	return nil
}

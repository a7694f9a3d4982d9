package dnsprop

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/resolver"
	"github.com/posternhq/postern/internal/netx"
)

// Config is what a Server needs. Only ID is required.
type Config struct {
	// ID names the process: its places are ID-ns1 to ID-ns4, ID-resolver, and
	// one for each named resolver.
	ID string
	// Authorities are the addresses of the four public name servers,
	// 127.0.0.1:4754 to 4757 unless given. Port 0 picks a free one.
	Authorities [propagation.Authorities]string
	// Resolver is the address of the public resolver, 127.0.0.1:4753 unless
	// given. The resolvers of VPCs listen on its port.
	Resolver string
	// Forward is the server that resolvers ask about names that are none of ours;
	// empty: such names are refused.
	Forward string
	// Notify are the secondaries, IP:port, that each authority tells when its
	// serials grow. Their addresses may transfer zones.
	Notify []string
	// Transfer are further networks that may; this machine always may.
	Transfer []netip.Prefix
	// Cache is what the public resolver and those of VPCs keep, and for how long,
	// unless Resolvers says otherwise; zero: what the profile says, which is nothing
	// but the TTLs unless it is a custom one.
	Cache resolver.Options
	// Resolvers are further ones, and options of the default ones.
	Resolvers []NamedResolver

	Network    netx.Network
	Now        func() time.Time
	Pick       func(n int) int                  // the authority a resolver asks; rand.IntN
	Shuffle    func(n int, swap func(i, j int)) // the order of addresses; rand.Shuffle
	Logger     *slog.Logger
	Registerer prometheus.Registerer

	// Cache and Resolvers, sorted; nil: the profile's.
	public, vpc *resolver.Options
	named       []NamedResolver
}

func (c Config) withDefaults() (Config, error) {
	if c.ID == "" {
		return c, errors.New("dns server has no id")
	}
	for i, address := range [propagation.Authorities]string{"127.0.0.1:4754", "127.0.0.1:4755", "127.0.0.1:4756", "127.0.0.1:4757"} {
		if c.Authorities[i] == "" {
			c.Authorities[i] = address
		}
	}
	if c.Resolver == "" {
		c.Resolver = "127.0.0.1:4753"
	}
	if err := c.sortResolvers(); err != nil {
		return c, err
	}
	for _, secondary := range c.Notify {
		address, err := netip.ParseAddrPort(secondary)
		if err != nil || address.Port() == 0 {
			return c, fmt.Errorf("secondary %q is not an IP address with a port", secondary)
		}
		a := address.Addr().Unmap()
		c.Transfer = append(c.Transfer[:len(c.Transfer):len(c.Transfer)], netip.PrefixFrom(a, a.BitLen()))
	}
	if c.Network == nil {
		c.Network = netx.Host()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Pick == nil {
		c.Pick = rand.IntN
	}
	if c.Shuffle == nil {
		c.Shuffle = rand.Shuffle
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	return c, nil
}

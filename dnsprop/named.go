package dnsprop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/posternhq/postern/dnsprop/resolver"
)

// maxNamed bounds the named resolvers of a Server.
const maxNamed = 64

// NamedResolver is a resolver with a name, caches and options of its own, beside
// the public one and those of VPCs. Of the names that are these, "public" and
// "vpc", it gives the options only.
type NamedResolver struct {
	// Name has small letters, digits and hyphens. The place is ID-Name.
	Name string
	// Listen is its address, IP:port; empty: that of the public resolver with the
	// first free one of the ports after the authorities'. Port 0 picks a free one.
	Listen string
	// VPC is the id of the VPC by whose rules it answers, as if it stood there;
	// empty: in none. While there is no such VPC, it refuses everything.
	VPC     string
	Options resolver.Options
}

// The names of the default resolvers.
const (
	publicName = "public"
	vpcName    = "vpc"
)

var namePattern = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`)

// reserved are the names of other places.
var reserved = regexp.MustCompile(`^(resolver|ns[0-9]+)$`)

// ParseNamedResolver reads NAME or NAME:OPTIONS, as the flag --resolver has it:
// the options of resolver.ParseOptions, listen=IP:PORT and vpc=ID, separated by
// commas.
func ParseNamedResolver(text string) (NamedResolver, error) {
	name, list, colon := strings.Cut(text, ":")
	r := NamedResolver{Name: name}
	var options []string
	for option := range strings.SplitSeq(list, ",") {
		key, value, _ := strings.Cut(option, "=")
		var to *string
		switch key {
		case "listen":
			to = &r.Listen
		case "vpc":
			to = &r.VPC
		default:
			options = append(options, option)
			continue
		}
		if *to != "" || value == "" {
			return r, fmt.Errorf("resolver %q: want one %s with a value", name, key)
		}
		*to = value
	}
	if colon && list == "" {
		return r, fmt.Errorf("resolver %q: no options after the colon", name)
	}
	var err error
	if r.Options, err = resolver.ParseOptions(strings.Join(options, ",")); err != nil {
		return r, fmt.Errorf("resolver %q: %w", name, err)
	}
	return r, r.check()
}

// UnmarshalText is ParseNamedResolver, for flags and files.
func (r *NamedResolver) UnmarshalText(text []byte) (err error) {
	*r, err = ParseNamedResolver(string(text))
	return err
}

func (r NamedResolver) check() error {
	if !namePattern.MatchString(r.Name) || reserved.MatchString(r.Name) {
		return fmt.Errorf("resolver name %q: want up to 32 small letters, digits and hyphens, and not resolver, ns1, ns2…", r.Name)
	}
	if r.isDefault() && (r.Listen != "" || r.VPC != "") {
		return fmt.Errorf("resolver %q is a default one: want only what its caches keep, neither listen nor vpc", r.Name)
	}
	if r.Listen != "" {
		if _, err := netip.ParseAddrPort(r.Listen); err != nil {
			return fmt.Errorf("resolver %q: listen=%s is not an IP address with a port", r.Name, r.Listen)
		}
	}
	return nil
}

func (r NamedResolver) isDefault() bool { return r.Name == publicName || r.Name == vpcName }

// sortResolvers checks c.Resolvers, and sorts them into the options of the default
// ones and the named ones, each with its address.
func (c *Config) sortResolvers() error {
	if c.public, c.vpc, c.named = nil, nil, nil; c.Cache != (resolver.Options{}) {
		c.public, c.vpc = &c.Cache, &c.Cache
	}
	host, _, err := net.SplitHostPort(c.Resolver)
	if err != nil {
		return fmt.Errorf("address of the public resolver: %w", err)
	}
	last := c.Authorities[len(c.Authorities)-1]
	_, text, err := net.SplitHostPort(last)
	if err != nil {
		return fmt.Errorf("address of the last authority: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("address of the last authority: %q has no port number", last)
	}
	if len(c.Resolvers) > maxNamed {
		return fmt.Errorf("%d resolvers have a name: want at most %d", len(c.Resolvers), maxNamed)
	}
	seen := map[string]bool{}
	for _, r := range c.Resolvers {
		if err := r.check(); err != nil {
			return err
		}
		if seen[r.Name] {
			return fmt.Errorf("resolver %q is given twice", r.Name)
		}
		seen[r.Name] = true
		switch r.Name {
		case publicName:
			c.public = &r.Options
			continue
		case vpcName:
			c.vpc = &r.Options
			continue
		}
		if r.Listen == "" {
			if port != 0 {
				port++
			}
			r.Listen = net.JoinHostPort(host, strconv.Itoa(port))
		}
		c.named = append(c.named, r)
	}
	if port > 65535 {
		return errors.New("no ports after the authorities' are left for resolvers: want listen=IP:PORT")
	}
	return nil
}

// named is a named resolver at work.
type named struct {
	NamedResolver
	resolver *resolver.Resolver
}

// newNamed makes a named resolver, of which one in a VPC waits for its rules.
func (s *Server) newNamed(r NamedResolver) named {
	if r.VPC == "" {
		return named{r, resolver.Public(s.resolverConfig(r.Options))}
	}
	return named{r, resolver.New(s.resolverConfig(r.Options), resolver.VPC{})}
}

// cacheOf is what a default resolver keeps: by its own options, or else the
// profile's. s.mu is held.
func (s *Server) cacheOf(own *resolver.Options) resolver.Options {
	if own != nil {
		return *own
	}
	return s.settings.cache
}

// setCaches has the default resolvers keep what the settings say. s.mu is held.
func (s *Server) setCaches() {
	s.public.Keep(s.cacheOf(s.cfg.public))
	for _, v := range s.vpcs {
		v.resolver.Keep(s.cacheOf(s.cfg.vpc))
	}
}

// installNamed gives the resolvers that stand in a VPC its rules; none if it is
// gone. s.mu is held.
func (s *Server) installNamed(vpc string, rules resolver.VPC) {
	for _, n := range s.named {
		if n.VPC == vpc {
			n.resolver.Install(rules)
		}
	}
}

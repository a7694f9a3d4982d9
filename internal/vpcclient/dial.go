package vpcclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/posternhq/postern/internal/netx"
)

// failure is an error with the way in which it shows.
type failure struct {
	kind failureKind
	err  error
}

type failureKind uint8

const (
	failGeneral failureKind = iota
	failUser
	failNoName
	failUnreachable
	failRefused
	failTimeout
	failCommand
	failRequest
)

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func kindOf(err error) failureKind {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.kind
	}
	return failGeneral
}

func fail(kind failureKind, format string, args ...any) error {
	return &failure{kind, fmt.Errorf(format, args...)}
}

// connect opens the connection that a client asks for, from where it sits.
func (p *Proxy) connect(ctx context.Context, d demand) (net.Conn, error) {
	user := d.user
	if user == "" {
		user = p.cfg.Default
	}
	where, err := ParseWhere(user)
	if err != nil {
		return nil, &failure{failUser, err}
	}
	asked := time.Now()
	place, err := p.place(ctx, where, asked.Add(-placementLife))
	if err != nil {
		return nil, fail(failGeneral, "place client %s: %w", where, err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	addrs, err := p.lookup(ctx, place, d.host)
	if err != nil {
		return nil, err
	}
	var last error
	for _, a := range addrs {
		to, ok := place.target(netip.AddrPortFrom(a, d.port), p.cfg.EdgePort)
		if !ok {
			// The VPC that has this address may be newer than the placement.
			if place, err = p.place(ctx, where, asked); err != nil {
				return nil, fail(failGeneral, "place client %s: %w", where, err)
			}
			to, ok = place.target(netip.AddrPortFrom(a, d.port), p.cfg.EdgePort)
		}
		if !ok {
			last = fail(failUnreachable, "%s has address %s, to which there is no route from %s", d.host, a, where)
			continue
		}
		var opts []netx.Option
		if place.LocalAddr.IsValid() && (to.Addr().IsLoopback() || !place.LocalAddr.IsLoopback()) {
			opts = append(opts, netx.From(place.LocalAddr))
		}
		conn, err := p.cfg.Network.Dial(ctx, "tcp", to.String(), opts...)
		if err == nil {
			return conn, nil
		}
		last = &failure{dialKind(err), fmt.Errorf("connect to %s from %s: %w", d.host, where, err)}
	}
	return nil, last
}

func dialKind(err error) failureKind {
	var timeout net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return failTimeout
	case isRefused(err):
		return failRefused
	}
	return failUnreachable
}

// place is Config.Resolve with a short memory: a page of a browser opens many
// connections at once. What it returns was asked for at since or later.
func (p *Proxy) place(ctx context.Context, w Where, since time.Time) (Placement, error) {
	key := w.String()
	p.mu.Lock()
	known := p.placed[key]
	p.mu.Unlock()
	for known.at.Before(since) {
		// Not this client's context: others may wait for the same answer.
		result := p.flight.DoChan(key, func() (any, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), placeTime)
			defer cancel()
			return p.resolve(ctx, w)
		})
		select {
		case r := <-result: // of a flight that may have begun before since
			if r.Err != nil {
				return Placement{}, r.Err
			}
			known = r.Val.(placed)
		case <-ctx.Done():
			return Placement{}, ctx.Err()
		}
	}
	return known.Placement, nil
}

// resolve asks Config.Resolve, remembers the answer, and forgets what is too old.
func (p *Proxy) resolve(ctx context.Context, w Where) (placed, error) {
	began := time.Now()
	place, err := p.cfg.Resolve(ctx, w)
	if err != nil {
		return placed{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, old := range p.placed {
		if time.Since(old.at) >= placementLife {
			delete(p.placed, k)
		}
	}
	known := placed{place, began}
	p.placed[w.String()] = known
	return known, nil
}

// lookup asks the place's resolver for the addresses of a host.
func (p *Proxy) lookup(ctx context.Context, place Placement, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	r := net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			if p.cfg.Cache != nil {
				return p.cached(ctx, place), nil
			}
			return p.dialResolver(ctx, network, place)
		},
	}
	// The last dot keeps this machine's search list out of it.
	addrs, err := r.LookupNetIP(ctx, "ip4", strings.TrimSuffix(host, ".")+".")
	if err != nil {
		if dns, ok := errors.AsType[*net.DNSError](err); ok && !dns.IsNotFound {
			return nil, fail(failUnreachable, "resolve %s by %s: %s", host, place.Resolver, dns.Err)
		}
		return nil, fail(failNoName, "resolve %s by %s: no such host", host, place.Resolver)
	}
	return addrs, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dnsprop"
	"github.com/posternhq/postern/dnsprop/resolver"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// servePostern is Postern's DNS server, the first authority on port and the
// public resolver on the next. The model is on: each name has two changes by
// profile aws, one that all authorities show and one to come.
func servePostern(ctx context.Context, port, names int) error {
	address := func(p int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p)) }
	cfg := dnsprop.Config{ID: "bench", Resolver: address(port + 1), Cache: resolver.Options{Capacity: 2 * names}}
	cfg.Authorities[0] = address(port)
	for i := 1; i < len(cfg.Authorities); i++ {
		cfg.Authorities[i] = address(0)
	}
	s, err := dnsprop.New(cfg)
	if err != nil {
		return err
	}
	u := dnsprop.Update{Index: uint64(2*names + 2), Full: true}
	add := func(name string, m proto.Message) error {
		b, err := proto.Marshal(m)
		u.Changed = append(u.Changed, dnsprop.Resource{Name: name, Body: b})
		return err
	}
	if err := add("settings", &dnsv1.Settings{Profile: "aws", Regions: []string{region}}); err != nil {
		return err
	}
	now := time.Now()
	for i, r := range records(names) {
		for version, committed := range []time.Time{now.Add(-24 * time.Hour), now.Add(24 * time.Hour)} {
			index := uint64(2*i + version + 1)
			c := &statev1.DnsChange{
				Id: fmt.Sprintf("C%020d", index), Profile: "aws", Region: region, Attempts: []int64{committed.UnixNano()},
				Records: []*statev1.RecordChange{{Name: r.name, Type: "A", After: &statev1.RRset{Ttl: 60, Addresses: r.addresses}}},
			}
			if err := add("change/"+c.GetId(), &dnsv1.Change{Index: index, Change: c}); err != nil {
				return err
			}
		}
	}
	if rejected := s.Install(ctx, u); len(rejected) > 0 {
		return fmt.Errorf("%s: %s", rejected[0].Resource, rejected[0].Reason)
	}
	return s.Run(ctx)
}

// serveBare is the least that a server on the DNS library can do: a map from
// the question to records that are ready.
func serveBare(ctx context.Context, port, names int) error {
	ready := make(map[string][]dns.RR, names)
	for _, r := range records(names) {
		for _, a := range r.addresses {
			ready[r.name] = append(ready[r.name], &dns.A{
				Hdr: dns.RR_Header{Name: r.name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
				A:   net.ParseIP(a).To4(),
			})
		}
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative, m.Compress = true, true
		if m.Answer = ready[q.Question[0].Name]; m.Answer == nil {
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m) // dnsperf counts what is lost
	})
	ended := make(chan error, 2)
	for _, network := range []string{"udp", "tcp"} {
		s := &dns.Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Net: network, Handler: handler, MaxTCPQueries: -1}
		go func() { ended <- s.ListenAndServe() }()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return errors.Join(err, ctx.Err())
	}
}

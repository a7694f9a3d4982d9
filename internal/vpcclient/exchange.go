package vpcclient

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"time"

	"github.com/posternhq/postern/internal/netx"
)

// dnsMessage is the largest DNS message; dnsTime bounds one exchange.
const (
	dnsMessage = 64 << 10
	dnsTime    = 10 * time.Second
)

// ask answers a query from the client's own cache, or by its resolver.
func (p *Proxy) ask(ctx context.Context, place Placement, query []byte) ([]byte, error) {
	if p.cfg.Cache == nil {
		return p.exchange(ctx, place, query)
	}
	return p.answers.ask(ctx, place.Resolver.String()+" "+place.LocalAddr.String(), query, func() ([]byte, error) {
		return p.exchange(ctx, place, query)
	})
}

// exchange asks the client's resolver. The query comes from the client's own
// address: the resolver answers by where it is asked from.
func (p *Proxy) exchange(ctx context.Context, place Placement, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTime)
	defer cancel()
	conn, err := p.dialResolver(ctx, "udp", place)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	response := make([]byte, dnsMessage)
	n, err := conn.Read(response)
	return response[:n], err
}

func (p *Proxy) dialResolver(ctx context.Context, network string, place Placement) (net.Conn, error) {
	var opts []netx.Option
	if place.LocalAddr.IsValid() {
		opts = append(opts, netx.From(place.LocalAddr))
	}
	return p.cfg.Network.Dial(ctx, network, place.Resolver.String(), opts...)
}

// cached is a connection to the client's own cache, as if it were a resolver that
// is asked over TCP (RFC 1035, 4.2.2).
func (p *Proxy) cached(ctx context.Context, place Placement) net.Conn {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		for {
			var length [2]byte
			if _, err := io.ReadFull(server, length[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(server, query); err != nil {
				return
			}
			response, err := p.ask(ctx, place, query)
			if err != nil || len(response) >= dnsMessage {
				return
			}
			if _, err := server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(response))), response...)); err != nil {
				return
			}
		}
	}()
	return client
}

package dnsprop

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/internal/netx"
)

// forwarder asks another server, by UDP and, if that was truncated, by TCP.
type forwarder struct {
	network netx.Network
	address string
}

func (f forwarder) exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	m, err := f.over(ctx, "udp", q)
	if err == nil && m.Truncated {
		m, err = f.over(ctx, "tcp", q)
	}
	return m, err
}

func (f forwarder) over(ctx context.Context, network string, q *dns.Msg) (*dns.Msg, error) {
	conn, err := f.network.Dial(ctx, network, f.address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", f.address, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c := &dns.Conn{Conn: conn, UDPSize: maxQuery}
	if err := c.WriteMsg(q); err != nil {
		return nil, fmt.Errorf("ask %s: %w", f.address, err)
	}
	for {
		m, err := c.ReadMsg()
		if err != nil {
			return nil, fmt.Errorf("read from %s: %w", f.address, err)
		}
		if m.Id == q.Id && m.Response && len(m.Question) == 1 && m.Question[0] == q.Question[0] {
			return m, nil
		}
		if _, packets := conn.(net.PacketConn); !packets {
			return nil, errors.New("answer to another question")
		}
	}
}

package dnsprop

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/authority"
	"github.com/posternhq/postern/internal/netx"
)

const (
	// notifyTries and notifyWait bound what a secondary that does not answer is
	// sent: five messages for each zone, the waits doubled from one to the next
	// (RFC 1996, 3.6, with shorter ones: it is a laboratory's secondary).
	notifyTries = 5
	notifyWait  = time.Second
	// notifyPause lets instants that follow each other closely share a message.
	notifyPause = 100 * time.Millisecond
)

// notifier tells one secondary of one authority's new serials.
type notifier struct {
	network   netx.Network
	authority *authority.Authority
	from      netip.Addr // the authority's own: secondaries listen to no other
	secondary string
	logger    *slog.Logger

	wake chan struct{} // capacity 1: serials may have grown
	told map[string]uint32
}

// newNotifier is for an authority that listens. It wakes at once: a secondary
// does not know what it missed while the server was away.
func (s *Server) newNotifier(number int, secondary string) *notifier {
	n := &notifier{
		network:   s.cfg.Network,
		authority: s.authorities[number],
		from:      addrOf(s.sockets[number].packets.LocalAddr()),
		secondary: secondary,
		logger:    s.cfg.Logger.With("place", s.authorityID(number)),
		wake:      make(chan struct{}, 1),
		told:      make(map[string]uint32),
	}
	signal(n.wake)
	return n
}

// run tells every serial once at the start, and whenever it is another.
func (n *notifier) run(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		}
		n.tell(ctx)
		pause.Reset(notifyPause)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}

// tell goes on until the secondary has answered for every zone, or has had
// enough messages; then it is left alone until a serial grows again, or until
// it asks by itself.
func (n *notifier) tell(ctx context.Context) {
	wait := notifyWait
	for range notifyTries {
		pending := n.pending()
		if len(pending) == 0 || ctx.Err() != nil {
			return
		}
		if err := n.round(ctx, pending, wait); err != nil {
			n.logger.Debug("notify secondary", "secondary", n.secondary, "err", err)
		}
		wait *= 2
	}
	if left := n.pending(); len(left) > 0 && ctx.Err() == nil {
		n.logger.Warn("secondary does not answer notifications", "secondary", n.secondary, "zones", len(left))
		for apex, serial := range left {
			n.told[apex] = serial
		}
	}
}

// pending are the zones whose serials the secondary was not told, with them.
func (n *notifier) pending() map[string]uint32 {
	serials := n.authority.Serials()
	for apex, serial := range serials {
		if told, ok := n.told[apex]; ok && told == serial {
			delete(serials, apex)
		}
	}
	return serials
}

// round sends one message for each zone and waits for the responses.
func (n *notifier) round(ctx context.Context, zones map[string]uint32, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	conn, err := n.network.Dial(ctx, "udp", n.secondary, netx.From(n.from))
	if err != nil {
		<-ctx.Done()
		return fmt.Errorf("dial: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	open := make(map[uint16]string, len(zones))
	for apex := range zones {
		m := new(dns.Msg).SetNotify(apex)
		for open[m.Id] != "" {
			m.Id++
		}
		open[m.Id] = apex
		b, err := m.Pack()
		if err != nil {
			return fmt.Errorf("pack: %w", err)
		}
		if _, err := conn.Write(b); err != nil {
			<-ctx.Done()
			return fmt.Errorf("send: %w", err)
		}
	}
	buf := make([]byte, maxQuery)
	for len(open) > 0 {
		size, err := conn.Read(buf)
		if err != nil {
			<-ctx.Done() // nobody listens there, which is told at once: wait as for a silent one
			return fmt.Errorf("await response: %w", err)
		}
		m := new(dns.Msg)
		if m.Unpack(buf[:size]) != nil || !m.Response || m.Opcode != dns.OpcodeNotify || open[m.Id] == "" {
			continue
		}
		// Whatever it says, it has heard (RFC 1996, 4.8).
		apex := open[m.Id]
		delete(open, m.Id)
		n.told[apex] = zones[apex]
		if m.Rcode != dns.RcodeSuccess {
			n.logger.Debug("secondary refuses notification", "secondary", n.secondary, "zone", apex, "rcode", dns.RcodeToString[m.Rcode])
		}
	}
	return nil
}

package dnsprop

import (
	"context"
	"net"

	"golang.org/x/net/ipv4"
)

// batchSize is how many packets are read and sent with one system call, which
// costs more than all else about a plain question. A batch is what is there:
// nothing waits for it to fill.
const batchSize = 16

// batch is one goroutine's packets, coming and going.
type batch struct {
	conn    *ipv4.PacketConn
	in, out []ipv4.Message
	room    []byte // of the responses
}

func newBatch(conn *net.UDPConn) *batch {
	b := &batch{
		conn: ipv4.NewPacketConn(conn),
		in:   make([]ipv4.Message, batchSize),
		out:  make([]ipv4.Message, batchSize),
		room: make([]byte, 0, maxQuery),
	}
	for i := range b.in {
		b.in[i].Buffers = [][]byte{make([]byte, maxQuery)}
		b.out[i].Buffers = make([][]byte, 1)
	}
	return b
}

// readBatches is readPackets for a socket of the system's own.
func (s *socket) readBatches(ctx context.Context, conn *net.UDPConn) {
	b := newBatch(conn)
	for {
		n, err := b.conn.ReadBatch(b.in, 0)
		if err != nil {
			if ended(ctx, err) {
				return
			}
			continue
		}
		responses := 0
		room := b.room[:0]
		for _, m := range b.in[:n] {
			start := len(room)
			response, later := s.handler.Append(room, m.Buffers[0][:m.N], addrOf(m.Addr), false)
			switch {
			case later != nil:
				s.sendLater(ctx, later, m.Addr)
			case response != nil:
				room = response
				out := &b.out[responses]
				out.Buffers[0], out.Addr = response[start:], m.Addr
				responses++
			}
		}
		b.room = room
		s.sendBatch(b, b.out[:responses])
	}
}

func (s *socket) sendBatch(b *batch, out []ipv4.Message) {
	for len(out) > 0 {
		n, err := b.conn.WriteBatch(out, 0)
		if err != nil {
			s.logger.Debug("send dns response", "err", err)
			n = 1 // the first is the one that could not be sent
		}
		out = out[max(n, 1):]
	}
}

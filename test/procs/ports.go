package procs

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken below those that systems give to outgoing connections (from
// 32768 on Linux): a process that is down must find its port free when it comes back.
const (
	firstPort = 18000
	lastPort  = 32000
)

// ports hands out free ports, each once, until released.
type ports struct {
	held []io.Closer
}

func (p *ports) release() {
	for _, c := range p.held {
		_ = c.Close()
	}
	p.held = nil
}

// block returns the first of n consecutive ports that nobody uses, TCP or UDP.
func (p *ports) block(n int) (int, error) {
	var last error
	for range 200 {
		first := firstPort + rand.IntN(lastPort-firstPort-n)
		var taken ports
		for port := first; port < first+n; port++ {
			if last = taken.hold(port); last != nil {
				break
			}
		}
		if last == nil {
			p.held = append(p.held, taken.held...)
			return first, nil
		}
		taken.release()
	}
	return 0, fmt.Errorf("find %d free ports: %w", n, last)
}

func (p *ports) hold(port int) error {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	p.held = append(p.held, ln, conn)
	return nil
}

// address returns a free one on loopback.
func (p *ports) address() (string, error) {
	port, err := p.block(1)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

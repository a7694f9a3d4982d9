package vpcclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/posternhq/postern/internal/netx"
)

// maxQueries bounds the DNS exchanges under way in one namespace.
const maxQueries = 256

// Inside makes a network namespace in which every address of the client's
// network is reached through the proxy: port 443 of any of them, and DNS at the
// VPC's base + 2, port 53, which /etc/resolv.conf names there. It calls start in
// the namespace, for a program to be started, and relays until ctx ends. Needs
// root; what start does not pass on is gone with the namespace.
//
// There is no wire between the two sides: sockets belong to the namespace that
// they were made in, so this process listens inside and dials outside.
func (p *Proxy) Inside(ctx context.Context, where Where, start func() error) error {
	place, err := p.cfg.Resolve(ctx, where)
	if err != nil {
		return err
	}
	made := make(chan inside)
	go func() {
		// Namespaces are a thread's. This one is never unlocked: it ends with the
		// goroutine, and nobody else ever runs in the namespace by accident.
		runtime.LockOSThread()
		n, err := enter(ctx, place, where)
		if err == nil {
			err = start()
		}
		n.err = err
		made <- n
	}()
	n := <-made
	defer n.close()
	if n.err != nil {
		return n.err
	}
	var running sync.WaitGroup
	stop := context.AfterFunc(ctx, n.close)
	defer stop()
	running.Go(func() { p.accept(ctx, n.https, where) })
	running.Go(func() { p.answer(ctx, n.dns, place) })
	running.Wait()
	return nil
}

// inside are the sockets in a namespace.
type inside struct {
	https net.Listener
	dns   net.PacketConn
	conf  string // the file that stands for /etc/resolv.conf
	err   error
}

func (n inside) close() {
	if n.https != nil {
		n.https.Close()
	}
	if n.dns != nil {
		n.dns.Close()
	}
	if n.conf != "" {
		os.Remove(n.conf)
	}
}

// enter moves the calling thread into a new namespace and listens there.
func enter(ctx context.Context, place Placement, where Where) (n inside, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return n, fmt.Errorf("make a network namespace (it needs root): %w", err)
	}
	if err := raise(place); err != nil {
		return n, err
	}
	resolver := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for _, m := range place.Mappings {
		if m.VPC == where.VPC {
			resolver = m.Prefix.Masked().Addr().Next().Next()
		}
	}
	if n.conf, err = resolvConf(resolver); err != nil {
		return n, err
	}
	var listen net.ListenConfig
	if n.https, err = listen.Listen(ctx, "tcp4", "0.0.0.0:443"); err != nil {
		return n, fmt.Errorf("listen in the namespace: %w", err)
	}
	if n.dns, err = listen.ListenPacket(ctx, "udp4", netip.AddrPortFrom(resolver, 53).String()); err != nil {
		return n, fmt.Errorf("listen in the namespace: %w", err)
	}
	return n, nil
}

// raise brings the namespace's loopback interface up and gives it an address
// with the prefix of each VPC: on a loopback interface that makes every address
// of the prefix local.
func raise(place Placement) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("configure the namespace: %w", err)
	}
	defer unix.Close(fd)
	up, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	up.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, up); err != nil {
		return fmt.Errorf("raise the namespace's interface: %w", err)
	}
	seen := map[netip.Prefix]bool{}
	for i, m := range place.Mappings {
		prefix := m.Prefix.Masked()
		if !prefix.Addr().Is4() || seen[prefix] {
			continue
		}
		seen[prefix] = true
		// The client's own address is that of its VPC, which comes first.
		address := prefix.Addr().Next()
		if own, ok := netx.FromLoopback(m.Octet, []netip.Prefix{prefix}, place.LocalAddr); ok && i == 0 {
			address = own
		}
		if err := assign(fd, fmt.Sprintf("lo:%d", i+1), address, prefix.Bits()); err != nil {
			return fmt.Errorf("give the namespace %s: %w", prefix, err)
		}
	}
	return nil
}

func assign(fd int, name string, address netip.Addr, bits int) error {
	mask := net.CIDRMask(bits, 32)
	for _, step := range []struct {
		request uint
		value   []byte
	}{{unix.SIOCSIFADDR, address.AsSlice()}, {unix.SIOCSIFNETMASK, mask}} {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := r.SetInet4Addr(step.value); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, step.request, r); err != nil {
			return err
		}
	}
	return nil
}

// resolvConf makes /etc/resolv.conf of this thread's mount namespace name the resolver.
func resolvConf(resolver netip.Addr) (file string, err error) {
	f, err := os.CreateTemp("", "postern-resolv-*.conf")
	if err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(f, "nameserver %s\noptions timeout:2 attempts:2\n", resolver); err != nil {
		return f.Name(), err
	}
	if err := f.Chmod(0o644); err != nil {
		return f.Name(), err
	}
	if err := f.Close(); err != nil {
		return f.Name(), err
	}
	// Private first, or the rest of the machine would see the mount.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return f.Name(), fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Mount(f.Name(), "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
		return f.Name(), fmt.Errorf("put the resolver into /etc/resolv.conf: %w", err)
	}
	return f.Name(), nil
}

// accept relays connections to port 443 of whatever address they were made to.
func (p *Proxy) accept(ctx context.Context, ln net.Listener, where Where) {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := netx.Accept(ln)
		if err != nil {
			return
		}
		conns.Go(func() {
			defer conn.Close()
			end := context.AfterFunc(ctx, func() { conn.Close() })
			defer end()
			to, err := netip.ParseAddrPort(conn.LocalAddr().String())
			if err != nil {
				return
			}
			out, err := p.connect(ctx, demand{user: where.String(), host: to.Addr().Unmap().String(), port: to.Port()})
			if err != nil {
				p.log.Debug("program not connected", "host", to.Addr(), "error", err)
				return
			}
			defer out.Close()
			relay(conn, bufio.NewReader(conn), out)
		})
	}
}

// answer relays DNS messages to the client's resolver.
func (p *Proxy) answer(ctx context.Context, inside net.PacketConn, place Placement) {
	slots := make(chan struct{}, maxQueries)
	var queries sync.WaitGroup
	defer queries.Wait()
	for {
		query := make([]byte, dnsMessage)
		n, from, err := inside.ReadFrom(query)
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		if err != nil {
			continue
		}
		select {
		case slots <- struct{}{}:
		default: // as a resolver under too much load: no answer
			continue
		}
		queries.Go(func() {
			defer func() { <-slots }()
			response, err := p.ask(ctx, place, query[:n])
			if err != nil {
				p.log.Debug("query not answered", "error", err)
				return
			}
			_, _ = inside.WriteTo(response, from) // who asks again gets another
		})
	}
}

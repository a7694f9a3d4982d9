package netx

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestLoopback(t *testing.T) {
	prefixes := func(ss ...string) (ps []netip.Prefix) {
		for _, s := range ss {
			ps = append(ps, netip.MustParsePrefix(s))
		}
		return ps
	}
	for _, test := range []struct {
		octet  uint32
		ranges []netip.Prefix
		vpc    string
		bound  string
	}{
		{7, prefixes("10.7.0.0/16"), "10.7.1.2", "127.7.1.2"},
		{254, prefixes("172.31.0.0/16"), "172.31.255.254", "127.254.255.254"},
		{9, prefixes("10.0.0.0/24", "10.1.1.0/24"), "10.1.1.9", "127.9.1.9"},
		{OnPremOctet, []netip.Prefix{OnPrem}, "192.168.5.6", "127.255.5.6"},
		{0, prefixes("10.7.0.0/16"), "10.7.1.2", "10.7.1.2"},
	} {
		vpc, bound := netip.MustParseAddr(test.vpc), netip.MustParseAddr(test.bound)
		if got := ToLoopback(test.octet, vpc); got != bound {
			t.Errorf("%s in octet %d is bound as %s, want %s", vpc, test.octet, got, bound)
		}
		if got, ok := FromLoopback(test.octet, test.ranges, bound); !ok || got != vpc {
			t.Errorf("%s in octet %d stands for %s, %v, want %s", bound, test.octet, got, ok, vpc)
		}
		if got, ok := FromLoopback(test.octet, test.ranges, netip.AddrFrom16(bound.As16())); !ok || got != vpc {
			t.Errorf("v4-mapped %s stands for %s, %v", bound, got, ok)
		}
	}
	ranges := prefixes("10.7.0.0/24")
	for _, stranger := range []string{"127.0.0.1", "127.8.0.1", "127.7.1.1", "10.7.0.1", "::1", "128.7.0.1"} {
		if got, ok := FromLoopback(7, ranges, netip.MustParseAddr(stranger)); ok {
			t.Errorf("%s stands for %s", stranger, got)
		}
	}
	if got, ok := FromLoopback(0, ranges, netip.MustParseAddr("10.8.0.1")); ok {
		t.Errorf("an address outside the VPC stands for %s", got)
	}
}

func TestReusePortAndFrom(t *testing.T) {
	n, ctx := Host(), t.Context()
	first, err := n.Listen(ctx, "tcp", "127.0.0.1:0", ReusePort())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := n.Listen(ctx, "tcp", first.Addr().String(), ReusePort())
	if err != nil {
		t.Fatalf("second listener on one address: %v", err)
	}
	second.Close()
	if third, err := n.Listen(ctx, "tcp", first.Addr().String()); err == nil {
		third.Close()
		t.Error("an address was shared with one who did not ask for it")
	}
	from := netip.MustParseAddr("127.9.8.7")
	conn, err := n.Dial(ctx, "tcp", first.Addr().String(), From(from))
	if err != nil {
		t.Skipf("only Linux has all of 127/8: %v", err)
	}
	defer conn.Close()
	peer, err := first.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if got := netip.MustParseAddrPort(peer.RemoteAddr().String()).Addr(); got != from {
		t.Errorf("connection came from %s", got)
	}
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestSplitALPN(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := SplitALPN(inner, &tls.Config{Certificates: []tls.Certificate{certificate(t)}}, 5*time.Second, "red", "blue")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	served := make(chan error, 2)
	for _, color := range []string{"red", "blue"} {
		ln := s.Listener(color)
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					served <- err
					return
				}
				_, _ = io.WriteString(conn, color)
				conn.Close()
			}
		}()
	}

	// One who connects and says nothing holds up nobody.
	silent, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()

	dial := func(protocols ...string) (string, error) {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", inner.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
		if err != nil {
			return "", err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		text, err := io.ReadAll(conn)
		return string(text), err
	}
	for _, color := range []string{"red", "blue", "red"} {
		if got, err := dial(color); err != nil || got != color {
			t.Errorf("%s: got %q, %v", color, got, err)
		}
	}
	if got, err := dial("green"); err == nil {
		t.Errorf("unknown protocol: got %q", got)
	}
	if got, err := dial(); err == nil && got != "" {
		t.Errorf("no protocol: got %q", got)
	}

	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("listener ended with %v", err)
		}
	}
}

// flaky is a listener that runs out of files first.
type flaky struct {
	net.Listener
	failures int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.failures > 0 {
		f.failures--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return nil, net.ErrClosed
}

func TestAcceptWaitsOutWhatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{failures: 12}
		if _, err := Accept(f); !errors.Is(err, net.ErrClosed) || f.failures != 0 {
			t.Errorf("%v with %d failures left", err, f.failures)
		}
	})
}

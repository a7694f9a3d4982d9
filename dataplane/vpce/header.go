package vpce

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// headerSize is room for a PROXY v2 header with all that a load balancer adds; a
// longer one is refused.
const headerSize = 4096

// proxied is what a trusted peer says about the connection that it passes on.
type proxied struct {
	source   netip.Addr
	endpoint string // empty: it did not come through an endpoint
}

var errNoProxyHeader = errors.New("trusted peer sent no PROXY v2 header")

// readHeader reads the header of PROXY protocol version 2
// (haproxy.org/download/2.9/doc/proxy-protocol.txt) and the id of the VPC
// endpoint, which AWS's load balancers put into TLV 0xEA, subtype 1. Version 1
// and a missing header are errors: a trusted peer's own address says nothing.
func readHeader(r *bufio.Reader) (proxied, error) {
	start, err := r.Peek(16)
	if err != nil {
		return proxied{}, fmt.Errorf("read PROXY header: %w", err)
	}
	if string(start[:12]) != string(proxyproto.SIGV2) {
		return proxied{}, errNoProxyHeader
	}
	if n := int(start[14])<<8 | int(start[15]); n > headerSize-16 {
		return proxied{}, fmt.Errorf("PROXY header of %d bytes is longer than %d", n+16, headerSize)
	}
	h, err := proxyproto.Read(r)
	if err != nil {
		return proxied{}, fmt.Errorf("read PROXY header: %w", err)
	}
	if !h.Command.IsProxy() {
		return proxied{}, errors.New("PROXY header of a health check") // LOCAL: the proxy's own connection
	}
	tcp, ok := h.SourceAddr.(*net.TCPAddr)
	if !ok {
		return proxied{}, fmt.Errorf("PROXY header with a source of type %T", h.SourceAddr)
	}
	source, ok := netip.AddrFromSlice(tcp.IP)
	if !ok {
		return proxied{}, errors.New("PROXY header without a source address")
	}
	tlvs, err := h.TLVs()
	if err != nil {
		return proxied{}, fmt.Errorf("read PROXY header: %w", err)
	}
	p := proxied{source: source.Unmap()}
	for _, tlv := range tlvs {
		if !tlvparse.IsAWSVPCEndpointID(tlv) {
			continue
		}
		id, err := tlvparse.AWSVPCEndpointID(tlv)
		if err != nil || id == "" || p.endpoint != "" {
			return proxied{}, errors.New("PROXY header with an unreadable endpoint id")
		}
		p.endpoint = id
	}
	return p, nil
}

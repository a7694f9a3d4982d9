package vpcclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// Placer finds placements by asking the control plane: the client becomes an
// interface record, and the edges are awaited, so that security groups hold for
// it from its first connection on.
type Placer struct {
	Admin adminv1.AdminClient
	// DNSPort is the port of all resolvers.
	DNSPort uint16
}

// edgePatience bounds the wait for the edges. One that can't be reached blocks
// it; the client then goes ahead, and such an edge may not know it yet.
const edgePatience = 3 * time.Second

// Place implements Config.Resolve.
func (p *Placer) Place(ctx context.Context, w Where) (Placement, error) {
	answer, err := p.Admin.EnsureClient(ctx, &adminv1.EnsureClientRequest{
		Vpc: w.VPC, Subnet: w.Subnet, SecurityGroups: w.SecurityGroups, Routes: w.Routes,
	})
	if err != nil {
		return Placement{}, err
	}
	if answer.GetNetworkInterfaceId() != "" {
		if err := p.await(ctx, answer.GetIndex()); err != nil {
			return Placement{}, err
		}
	}
	local, err := netip.ParseAddr(answer.GetBindAddress())
	if err != nil {
		return Placement{}, fmt.Errorf("address of the client: %w", err)
	}
	resolver, err := netip.ParseAddr(answer.GetResolver())
	if err != nil {
		return Placement{}, fmt.Errorf("address of the resolver: %w", err)
	}
	place := Placement{LocalAddr: local, Resolver: netip.AddrPortFrom(resolver, p.DNSPort)}
	near := map[string]bool{w.VPC: true}
	for _, route := range w.Routes {
		near[route] = true
	}
	var far []Mapping
	for _, m := range answer.GetMappings() {
		prefix, err := netip.ParsePrefix(m.GetCidr())
		if err != nil {
			return Placement{}, fmt.Errorf("range of %s: %w", m.GetVpc(), err)
		}
		mapping := Mapping{VPC: m.GetVpc(), Prefix: prefix, Octet: m.GetLoopbackOctet()}
		// VPCs may have the same range; then the client means its own.
		if near[m.GetVpc()] {
			place.Mappings = append(place.Mappings, mapping)
		} else {
			far = append(far, mapping)
		}
	}
	place.Mappings = append(place.Mappings, far...)
	return place, nil
}

// await waits until the edges know the client.
func (p *Placer) await(ctx context.Context, index uint64) error {
	stream, err := p.Admin.Wait(ctx, &adminv1.WaitRequest{Index: index, Kinds: []string{"edges"}, TimeoutMs: edgePatience.Milliseconds()})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) || err == nil && m.GetDone() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for the edges: %w", err)
		}
	}
}

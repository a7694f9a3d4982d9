package service

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/internal/netx"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Where clients outside every VPC sit.
const (
	placeInternet = "internet"
	placeOnPrem   = "onprem"
	// tagRoutes names, comma-separated, the VPCs that an on-premises client has a route to.
	tagRoutes = "postern:routes"
)

// onPremNetwork is the network behind Direct Connect.
var onPremNetwork = netip.MustParsePrefix("192.168.0.0/16")

// publicResolver and publicClient are this machine's: the public internet of
// the laboratory is the loopback network outside every VPC's prefix.
const publicHost = "127.0.0.1"

// EnsureClient makes, or finds, the interface of a client: a record like any
// other, so that security groups hold for it and edges can be waited for.
func (a *admin) EnsureClient(ctx context.Context, req *adminv1.EnsureClientRequest) (*adminv1.EnsureClientResponse, error) {
	switch req.GetVpc() {
	case placeInternet:
		v, err := view(ctx, a.cfg.Config)
		if err != nil {
			return nil, err
		}
		return &adminv1.EnsureClientResponse{
			Address: publicHost, BindAddress: publicHost, Resolver: publicHost,
			Index: v.Index(), Mappings: addressMappings(v),
		}, nil
	case placeOnPrem:
		return a.ensureOnPrem(ctx, req)
	}
	return a.ensureInVPC(ctx, req)
}

func (a *admin) ensureInVPC(ctx context.Context, req *adminv1.EnsureClientRequest) (*adminv1.EnsureClientResponse, error) {
	var (
		eni  *ec2v1.NetworkInterface
		vpc  *statev1.Vpc
		maps []*adminv1.AddressMapping
	)
	index, err := update(ctx, a.cfg.Config, func(v *state.View) (*statev1.Txn, error) {
		r := v.Find(statev1.Type_TYPE_VPC, "", req.GetVpc())
		if r == nil {
			return nil, apierr.New(apierr.KindNotFound, "InvalidVpcID.NotFound", "The vpc ID '%s' does not exist; a client sits in a VPC, on \"onprem\" or on the \"internet\"", req.GetVpc())
		}
		vpc = r.GetVpc()
		c := caller(ctx)
		c.Account, c.Region = r.GetKey().GetAccount(), r.GetKey().GetRegion()
		var (
			txn *statev1.Txn
			err error
		)
		eni, txn, err = ensureClientInterface(a.cfg.Config, v, c, req.GetVpc(), req.GetSubnet(), req.GetSecurityGroups())
		maps = addressMappings(v)
		return txn, err
	})
	if err != nil {
		return nil, err
	}
	address, err := netip.ParseAddr(eni.GetPrivateIpAddress())
	if err != nil {
		return nil, fmt.Errorf("address of %s: %w", eni.GetNetworkInterfaceId(), err)
	}
	network, err := netip.ParsePrefix(vpc.GetVpc().GetCidrBlock())
	if err != nil {
		return nil, fmt.Errorf("network of %s: %w", req.GetVpc(), err)
	}
	resolver := network.Masked().Addr().Next().Next()
	return &adminv1.EnsureClientResponse{
		NetworkInterfaceId: eni.GetNetworkInterfaceId(),
		Address:            address.String(),
		BindAddress:        netx.ToLoopback(vpc.GetLoopbackOctet(), address).String(),
		Resolver:           netx.ToLoopback(vpc.GetLoopbackOctet(), resolver).String(),
		Index:              index,
		Mappings:           maps,
	}, nil
}

// ensureOnPrem finds the on-premises client with exactly these routes, or makes it.
func (a *admin) ensureOnPrem(ctx context.Context, req *adminv1.EnsureClientRequest) (*adminv1.EnsureClientResponse, error) {
	routes := slices.Sorted(slices.Values(req.GetRoutes()))
	joined := strings.Join(routes, ",")
	var (
		eni  *ec2v1.NetworkInterface
		maps []*adminv1.AddressMapping
	)
	index, err := update(ctx, a.cfg.Config, func(v *state.View) (*statev1.Txn, error) {
		maps = addressMappings(v)
		for _, vpc := range routes {
			if v.Find(statev1.Type_TYPE_VPC, "", vpc) == nil {
				return nil, apierr.New(apierr.KindNotFound, "InvalidVpcID.NotFound", "The vpc ID '%s' of the route does not exist", vpc)
			}
		}
		taken := map[string]bool{}
		for r := range v.FindPrefix(statev1.Type_TYPE_NETWORK_INTERFACE, "", placeOnPrem+"/") {
			known := r.GetNetworkInterface()
			taken[known.GetPrivateIpAddress()] = true
			if tagValue(known.GetTags(), tagRoutes) == joined {
				eni = known
				return nil, nil
			}
		}
		address, ok := firstFree(onPremNetwork, taken)
		if !ok {
			return nil, apierr.Limit("no free address is left on the on-premises network %s", onPremNetwork)
		}
		eni = &ec2v1.NetworkInterface{
			NetworkInterfaceId: proto.String(a.cfg.ec2ID("eni")),
			VpcId:              proto.String(placeOnPrem),
			PrivateIpAddress:   proto.String(address.String()),
			Description:        proto.String("client behind Direct Connect"),
			Tags: []*ec2v1.Tag{
				{Key: proto.String("postern:client"), Value: proto.String("true")},
				{Key: proto.String(tagRoutes), Value: proto.String(joined)},
			},
		}
		c := caller(ctx)
		key := c.key(statev1.Type_TYPE_NETWORK_INTERFACE, placeOnPrem+"/"+eni.GetNetworkInterfaceId())
		// The address is the record that two racing clients must not both take.
		claim := state.Key{Type: statev1.Type_TYPE_TOKEN, ID: placeOnPrem + "/" + address.String()}
		return &statev1.Txn{
			Guards: []*statev1.Guard{absent(claim), absent(key)},
			Puts: []*statev1.Record{
				{Key: claim.Proto(), Value: &statev1.Record_Token{Token: &statev1.Token{Operation: placeOnPrem}}},
				{Key: key.Proto(), Value: &statev1.Record_NetworkInterface{NetworkInterface: eni}},
			},
		}, nil
	})
	if err != nil {
		return nil, err
	}
	address := netip.MustParseAddr(eni.GetPrivateIpAddress())
	return &adminv1.EnsureClientResponse{
		NetworkInterfaceId: eni.GetNetworkInterfaceId(),
		Address:            address.String(),
		BindAddress:        netx.ToLoopback(netx.OnPremOctet, address).String(),
		Resolver:           publicHost,
		Index:              index,
		Mappings:           maps,
	}, nil
}

// firstFree returns the lowest address from .0.10 on that nobody has.
func firstFree(network netip.Prefix, taken map[string]bool) (netip.Addr, bool) {
	address := network.Addr()
	for range 10 {
		address = address.Next()
	}
	for ; network.Contains(address.Next()); address = address.Next() {
		if !taken[address.String()] {
			return address, true
		}
	}
	return netip.Addr{}, false
}

func addressMappings(v *state.View) []*adminv1.AddressMapping {
	var out []*adminv1.AddressMapping
	for r := range v.All(statev1.Type_TYPE_VPC) {
		out = append(out, &adminv1.AddressMapping{
			Vpc:           r.GetVpc().GetVpc().GetVpcId(),
			Cidr:          r.GetVpc().GetVpc().GetCidrBlock(),
			LoopbackOctet: r.GetVpc().GetLoopbackOctet(),
		})
	}
	return out
}

func tagValue(tags []*ec2v1.Tag, key string) string {
	for _, t := range tags {
		if t.GetKey() == key {
			return t.GetValue()
		}
	}
	return ""
}

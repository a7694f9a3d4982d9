package dnstest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dnsprop/rdata"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
)

const (
	maxVPCs  = 200
	maxZones = 16 // of a VPC
)

// VPC is a VPC, whose resolver keeps a cache for each availability zone.
type VPC struct {
	lab  *Lab
	name string
	msg  *dnsv1.Vpc // under lab.mu
}

// VPC makes a VPC with some availability zones; one, "a", unless given.
func (l *Lab) VPC(name string, azs ...string) *VPC {
	v, err := l.newVPC(name, azs)
	l.must(err)
	return v
}

func (l *Lab) newVPC(name string, azs []string) (*VPC, error) {
	if len(azs) == 0 {
		azs = []string{"a"}
	}
	if len(azs) > maxZones {
		return nil, fmt.Errorf("vpc %s has %d zones, more than %d", name, len(azs), maxZones)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.vpcs) >= maxVPCs {
		return nil, fmt.Errorf("there are %d vpcs already", maxVPCs)
	}
	if l.dns.Handler(name) != nil {
		return nil, fmt.Errorf("place %q is there already", name)
	}
	octet := len(l.vpcs) + 1
	v := &VPC{lab: l, name: name, msg: &dnsv1.Vpc{
		Id: name, Region: Region, LoopbackOctet: uint32(octet), Cidrs: []string{fmt.Sprintf("10.%d.0.0/16", octet)},
		EnableDnsSupport: true, EnableDnsHostnames: true,
	}}
	for _, word := range append([]string{name}, azs...) {
		if n, err := rdata.Name(word); err != nil || n != word+"." || strings.Contains(word, ".") {
			return nil, fmt.Errorf("name %q of a vpc or zone has other than small letters, digits and hyphens", word)
		}
	}
	for i, az := range azs {
		if slices.Contains(azs[:i], az) {
			return nil, fmt.Errorf("zone %q of vpc %s is given twice", az, name)
		}
		v.msg.Subnets = append(v.msg.Subnets, &dnsv1.Subnet{Id: name + "/" + az, Az: az, Cidr: fmt.Sprintf("10.%d.%d.0/24", octet, i+1)})
	}
	if err := l.installLocked(resource("vpc/"+name, v.msg)); err != nil {
		return nil, err
	}
	l.vpcs = append(l.vpcs, v)
	return v, nil
}

// Place is where the clients of an availability zone ask.
func (v *VPC) Place(az string) Place { return Place(v.name + "/" + az) }

// client is the address of a client in an availability zone. lab.mu is held.
func (v *VPC) client(at Place) (netip.Addr, bool) {
	for i, n := range v.msg.GetSubnets() {
		if n.GetId() == string(at) {
			return netip.AddrFrom4([4]byte{127, byte(v.msg.GetLoopbackOctet()), byte(i + 1), 9}), true
		}
	}
	return netip.Addr{}, false
}

// Endpoint gives the VPC an interface endpoint with private DNS: from now on
// every name in execute-api.us-west-2.amazonaws.com is one of these addresses
// there, and what is public of them is hidden.
func (v *VPC) Endpoint(addresses ...string) { v.lab.must(v.endpoint(addresses)) }

func (v *VPC) endpoint(addresses []string) error {
	if len(addresses) == 0 {
		return errors.New("endpoint has no address")
	}
	v.lab.mu.Lock()
	defer v.lab.mu.Unlock()
	return v.edit(func(m *dnsv1.Vpc) {
		m.PrivateZones = []*dnsv1.PrivateZone{{Id: "E" + v.name, Name: ownApexes[0], Ttl: defaultTTL, Addresses: addresses}}
	})
}

// associate puts a private zone into the VPC. lab.mu is held.
func (v *VPC) associate(z *Zone) error {
	for _, zone := range v.msg.GetHostedZones() {
		if zone.GetName() == z.ref.GetName() {
			return fmt.Errorf("vpc %s has a private zone %s already", v.name, zone.GetName())
		}
	}
	return v.edit(func(m *dnsv1.Vpc) {
		m.HostedZones = append(m.HostedZones, &dnsv1.HostedZone{Id: z.ref.GetId(), Name: z.ref.GetName()})
	})
}

// edit changes the VPC. lab.mu is held.
func (v *VPC) edit(change func(*dnsv1.Vpc)) error {
	next := proto.CloneOf(v.msg)
	change(next)
	if err := v.lab.installLocked(resource("vpc/"+next.GetId(), next)); err != nil {
		return err
	}
	v.msg = next
	return nil
}

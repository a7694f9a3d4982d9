package service

import (
	"net/netip"
	"strconv"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/internal/netx"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// On one machine each VPC, of whatever account and region, is bound inside a
// 127.x.0.0/16 of its own. The claim on x is a record, put with the VPC's and
// guarded by absence, because VPCs of two accounts share no root record.

// loopbackClaim is the key of the claim on an octet.
func loopbackClaim(octet uint32) state.Key {
	return state.Key{Type: statev1.Type_TYPE_TOKEN, ID: "loopback/" + strconv.FormatUint(uint64(octet), 10)}
}

// claimLoopback chooses the octet of a VPC and adds the claim to its Txn.
// 10.x gets x, so that addresses stay recognisable; every other range, and an
// x that is taken, the highest free one. 0 stands for this machine and 255 for
// the on-premises network.
func claimLoopback(v *state.View, txn *statev1.Txn, cidr netip.Prefix) (uint32, error) {
	if v.Settings().GetAddresses() != "loopback" {
		return 0, nil
	}
	free := func(octet uint32) bool { return v.Get(loopbackClaim(octet)) == nil }
	octet := uint32(0)
	if a := cidr.Addr().As4(); a[0] == 10 && a[1] >= 1 && a[1] < netx.OnPremOctet && free(uint32(a[1])) {
		octet = uint32(a[1])
	}
	for x := uint32(netx.OnPremOctet - 1); octet == 0 && x >= 1; x-- {
		if free(x) {
			octet = x
		}
	}
	if octet == 0 {
		return 0, apierr.New(apierr.KindLimit, "VpcLimitExceeded",
			"The maximum number of VPCs has been reached: this machine has addresses (127.1.0.0/16 to 127.254.0.0/16) for 254, over all accounts and regions. Delete one, or run with --addresses=as-is.")
	}
	key := loopbackClaim(octet)
	txn.Guards = append(txn.Guards, absent(key))
	txn.Puts = append(txn.Puts, ec2Record(key, &statev1.Token{Operation: "loopback"}))
	return octet, nil
}

// releaseLoopback gives the octet of a deleted VPC back.
func releaseLoopback(txn *statev1.Txn, octet uint32) {
	if octet != 0 {
		txn.Deletes = append(txn.Deletes, loopbackClaim(octet).Proto())
	}
}

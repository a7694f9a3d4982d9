package main

import (
	"net/netip"
	"strings"
)

// Who and what W2 knows.
const (
	webEndpoint     = "vpce-01a7c3e95b2d4f608"
	mobileEndpoint  = "vpce-02b8d4f06c3e5a719"
	partnerEndpoint = "vpce-03c9e5a17d4f6b82a"
	batchEndpoint   = "vpce-04dae6b28e5a7c93b"
	adminEndpoint   = "vpce-05ebf7c39f6b8da4c"
	monitorEndpoint = "vpce-06fc08d4a07c9eb5d"
	ledgerEndpoint  = "vpce-070d19e5b18dafc6e"
	auditEndpoint   = "vpce-081e2af6c29eb0d7f"

	prodVPC    = "vpc-0c1d5e7f9a2b4c6d8"
	sharedVPC  = "vpc-0d2e6f8a0b3c5d7e9"
	financeVPC = "vpc-0e3f7a9b1c4d6e8fa"
	stagingVPC = "vpc-0f4a8b0c2d5e7f90b"

	operators = "arn:aws:iam::111122223333:role/operators"
	onCall    = "arn:aws:iam::111122223333:role/on-call"
)

var (
	quarantineV6 = netip.MustParsePrefix("2001:db8:66::/48")
	jumpHostsV6  = netip.MustParsePrefix("2001:db8:30::/64")
	ordersV6     = netip.MustParsePrefix("2001:db8:20::/48")
	stagingV6    = netip.MustParsePrefix("2001:db8:60::/48")
)

// limitEstate is W2: what denies first, then by stage, method and path to the few
// statements that could allow.
func limitEstate(f *facts) bool {
	if !invokes(f) {
		return false
	}
	switch f.SourceVpce {
	case webEndpoint, mobileEndpoint, partnerEndpoint, batchEndpoint, adminEndpoint, monitorEndpoint, ledgerEndpoint, auditEndpoint,
		"vpce-092f3b07d3afc1e80", "vpce-0a304c18e4b0d2f91", "vpce-0b415d29f5c1e30a2", "vpce-0c526e3a06d2f41b3":
	default:
		return false
	}
	switch f.SourceVpc {
	case prodVPC, sharedVPC, financeVPC, stagingVPC:
	default:
		return false
	}
	if f.SecureTransport == "false" {
		return false
	}
	a := f.VpcSourceIP
	var v4 uint32 // 0, which is in no network of this policy, for all other addresses
	if a.Is4() {
		b := a.As4()
		v4 = uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	}
	switch {
	case v4>>8 == 0x0a1442, v4>>7 == 0x0a150d80>>7, v4>>8 == 0x0a1e42, v4>>6 == 0x0a280900>>6, v4>>9 == 0x0a3c4200>>9, v4 == 0 && quarantineV6.Contains(a):
		return false
	}
	path := f.Resource[len(apiARN):]
	if strings.HasPrefix(path, "staging/") {
		return path == "staging/GET/health" || f.SourceVpc == stagingVPC && (v4>>18 == 0x0a3c0000>>18 || v4 == 0 && stagingV6.Contains(a))
	}
	path, ok := strings.CutPrefix(path, "prod/")
	if !ok {
		return false
	}
	admin := strings.Contains(path, "/admin/")
	if admin && !(v4>>4 == 0x0a1e0100>>4 || v4>>4 == 0x0a1e0200>>4 || v4>>4 == 0x0a1e0310>>4 || v4>>10 == 0x0a1ec800>>10 || v4 == 0 && jumpHostsV6.Contains(a)) {
		return false
	}
	method, rest, _ := strings.Cut(path, "/")
	if method == "DELETE" && f.Principal != operators && f.Principal != onCall {
		return false
	}
	if allowsMethod(f, method, rest, v4) {
		return true
	}
	switch f.SourceVpce {
	case partnerEndpoint:
		return strings.Contains(path, "/partners/acme/") && (v4>>12 == 0x0a161000>>12 || v4>>11 == 0x0a163000>>11 || v4 == 0x0a16400a) ||
			strings.Contains(path, "/partners/globex/") && (v4>>12 == 0x0a168000>>12 || v4>>10 == 0x0a16a000>>10)
	case adminEndpoint:
		return admin && (f.Principal == operators || f.Principal == onCall || f.Principal == "arn:aws:iam::111122223333:user/break-glass")
	}
	return false
}

// allowsMethod are the Allows of W2 that name a method below prod/.
func allowsMethod(f *facts, method, path string, v4 uint32) bool {
	switch method {
	case "GET":
		switch {
		case path == "health":
			return true
		case strings.HasPrefix(path, "catalogue/"):
			return f.SourceVpce == webEndpoint || f.SourceVpce == mobileEndpoint || f.SourceVpce == partnerEndpoint
		case strings.HasPrefix(path, "customers/"):
			rest := path[len("customers/"):]
			return f.SourceVpc == prodVPC && (strings.HasSuffix(rest, "/orders") || strings.Contains(rest, "/orders/")) &&
				(v4>>15 == 0x0a140000>>15 || v4>>14 == 0x0a150000>>14 || v4 == 0 && ordersV6.Contains(f.VpcSourceIP))
		case strings.HasPrefix(path, "jobs/"):
			return f.SourceVpce == batchEndpoint && runsJobs(f.Principal) && strings.HasSuffix(path[len("jobs/"):], "/status")
		case strings.HasPrefix(path, "reports/"):
			rest := path[len("reports/"):]
			return f.SourceVpc == financeVPC && (v4>>12 == 0x0a280000>>12 || v4>>11 == 0x0a282000>>11) &&
				(strings.HasSuffix(rest, "/monthly.csv") || strings.HasSuffix(rest, "/yearly.csv"))
		case strings.HasPrefix(path, "invoices/"):
			return readsInvoices(f)
		case path == "metrics", strings.HasPrefix(path, "internal/metrics/"):
			return f.SourceVpce == monitorEndpoint
		}
	case "HEAD":
		return strings.HasPrefix(path, "catalogue/") && (f.SourceVpce == webEndpoint || f.SourceVpce == mobileEndpoint || f.SourceVpce == partnerEndpoint)
	case "POST":
		switch {
		case path == "search":
			return (f.SourceVpce == webEndpoint || f.SourceVpce == mobileEndpoint) && v4>>17 == 0x0a140000>>17
		case strings.HasPrefix(path, "customers/"):
			return writesOrders(f) && strings.HasSuffix(path[len("customers/"):], "/orders")
		case strings.HasPrefix(path, "jobs/"):
			return f.SourceVpce == batchEndpoint && runsJobs(f.Principal)
		case strings.HasPrefix(path, "invoices/"):
			return readsInvoices(f)
		}
	case "PUT":
		return writesOrders(f) && strings.HasPrefix(path, "customers/") && strings.Contains(path[len("customers/"):], "/orders/")
	case "DELETE":
		return f.SourceVpce == adminEndpoint || f.SourceVpce == batchEndpoint
	}
	return false
}

func writesOrders(f *facts) bool {
	return (f.SourceVpce == webEndpoint || f.SourceVpce == mobileEndpoint) &&
		(f.Principal == "arn:aws:iam::111122223333:role/orders-writer" || f.Principal == "arn:aws:iam::111122223333:role/checkout")
}

func runsJobs(principal string) bool {
	switch principal {
	case "arn:aws:iam::111122223333:user/batch/nightly", "arn:aws:iam::111122223333:user/batch/hourly", "arn:aws:iam::111122223333:role/batch-runner":
		return true
	}
	return false
}

func readsInvoices(f *facts) bool {
	return f.PrincipalAccount == "444455556666" && (f.SourceVpce == ledgerEndpoint || f.SourceVpce == auditEndpoint)
}

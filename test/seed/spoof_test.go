package seed_test

import "net/netip"

// trustedProxies are whose PROXY headers the edges of the shared cluster believe.
var trustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.77/32")}

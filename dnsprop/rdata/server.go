package rdata

import "fmt"

const (
	// NameServers is how many authorities a zone's NS set names.
	NameServers = 4
	// Hostmaster is the mailbox in the SOA records.
	Hostmaster = "hostmaster.dns.postern.internal."
)

// NameServer is the name of an authority, from 0 on. It is in no zone here, so
// that no zone holds a name that nobody committed.
func NameServer(i int) string { return nameServers[i] }

var nameServers = func() (names [NameServers]string) {
	for i := range names {
		names[i] = fmt.Sprintf("ns%d.dns.postern.internal.", i+1)
	}
	return names
}()

package cluster

// MembershipAddresses returns what the membership itself says, for tests.
func (n *Node) MembershipAddresses() map[string]string {
	m := make(map[string]string)
	for _, s := range n.raft.Load().GetConfiguration().Configuration().Servers {
		m[string(s.ID)] = string(s.Address)
	}
	return m
}

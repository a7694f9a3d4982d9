package cluster

// Term is raft's current term, 0 before Run has started raft. It changes with
// every election, also with one that this node won again before anybody noticed
// that it had lost the last one.
func (n *Node) Term() uint64 {
	if r := n.raft.Load(); r != nil {
		return r.CurrentTerm()
	}
	return 0
}

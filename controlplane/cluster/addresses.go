package cluster

import (
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/hashicorp/raft"
)

// addresses knows where nodes are reached now, from their own word: a node that
// was restarted elsewhere is found before the membership says so, which without
// it could not be changed. What nobody has told is the membership's address.
type addresses struct {
	mu        sync.Mutex
	told      map[string]string
	committed map[string]string
}

func (a *addresses) set(id, address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.told == nil {
		a.told = make(map[string]string)
	}
	a.told[id] = address
}

func (a *addresses) get(id string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.told[id]
}

// follow takes over what the membership changes: that is the newer word, unless
// it only replays what was committed before this start.
func (a *addresses) follow(c raft.Configuration, news bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	committed := make(map[string]string, len(c.Servers))
	for _, s := range c.Servers {
		id, address := string(s.ID), string(s.Address)
		committed[id] = address
		if before, known := a.committed[id]; news && known && before != address {
			delete(a.told, id)
		}
	}
	if news {
		maps.DeleteFunc(a.told, func(id, _ string) bool { return committed[id] == "" })
	}
	a.committed = committed
}

// addressOf returns where a member is reached.
func (n *Node) addressOf(s raft.Server) string {
	if string(s.ID) == n.cfg.ID {
		return n.cfg.Address
	}
	if told := n.addresses.get(string(s.ID)); told != "" {
		return told
	}
	return string(s.Address)
}

// addressProvider makes raft's transport dial "id@address", see gate.Dial.
type addressProvider struct {
	node *Node
}

// ServerAddr is part of raft.ServerAddressProvider.
func (p addressProvider) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if string(id) == p.node.cfg.ID {
		return meantFor(string(id), p.node.cfg.Address), nil
	}
	if told := p.node.addresses.get(string(id)); told != "" {
		return meantFor(string(id), told), nil
	}
	if r := p.node.raft.Load(); r != nil {
		for _, s := range r.GetConfiguration().Configuration().Servers {
			if s.ID == id {
				return meantFor(string(id), string(s.Address)), nil
			}
		}
	}
	return "", fmt.Errorf("node %s is not a member", id)
}

func meantFor(id, address string) raft.ServerAddress { return raft.ServerAddress(id + "@" + address) }

// splitMeant undoes meantFor; without an id the connection is meant for whoever is there.
func splitMeant(to raft.ServerAddress) (id string, address raft.ServerAddress) {
	if i := strings.LastIndexByte(string(to), '@'); i >= 0 {
		return string(to[:i]), to[i+1:]
	}
	return "", to
}

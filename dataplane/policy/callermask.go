package policy

import (
	"math/bits"
)

// principalMasks finds the rules that name an authenticated caller.
type principalMasks struct {
	everyone uint64 // rules without a principal test
	excepts  uint64 // rules with NotPrincipal, tried one by one
	// sole is the one set of names that there is, and named are its rules;
	// otherwise the maps hold the names of all, as in principalSet.
	sole     *principalSet
	named    uint64
	exact    maskSet
	sessions bool
	roles    maskSet
	accounts maskSet
}

func newPrincipalMasks(rules []rule) *principalMasks {
	var m principalMasks
	for i := range rules {
		ru, bit := &rules[i], uint64(1)<<i
		switch {
		case ru.principals == nil || ru.principals.anyone && !ru.notPerson:
			m.everyone |= bit
		case ru.notPerson:
			m.excepts |= bit
		default:
			m.named |= bit
			m.sole = ru.principals
		}
	}
	if bits.OnesCount64(m.everyone) == len(rules) {
		return nil
	}
	if bits.OnesCount64(m.named) <= 1 {
		return &m
	}
	m.sole = nil
	var exact, roles, accounts []valueList
	for rest := m.named; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(rest)
		set, bit := rules[i].principals, uint64(1)<<i
		m.sessions = m.sessions || set.sessions
		exact = append(exact, valueList{&set.exact, bit})
		roles = append(roles, valueList{&set.roles, bit})
		accounts = append(accounts, valueList{&set.accounts, bit})
	}
	m.exact, m.roles, m.accounts = newMaskSet(exact), newMaskSet(roles), newMaskSet(accounts)
	return &m
}

// find says which rules speak for a caller, and for which of them only by way
// of his account.
func (m *principalMasks) find(p *Principal, rules []rule) (speaking, delegated uint64) {
	direct := m.everyone
	if m.sole != nil {
		switch m.sole.match(p) {
		case grantDirect:
			direct |= m.named
		case grantDelegate:
			delegated = m.named
		}
	} else {
		if m.sessions || !p.isSession() {
			direct |= m.exact.hits(p.ARN)
		}
		if p.RoleARN != "" {
			if p.RolePathUnknown {
				direct |= m.roles.hits(p.RoleARN)
			} else {
				direct |= m.exact.hits(p.RoleARN)
			}
		}
		delegated = m.accounts.hits(p.Account) &^ direct
	}
	for rest := m.excepts; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(rest)
		if rules[i].speaksFor(p) != grantNone {
			direct |= 1 << i
		}
	}
	return direct | delegated, delegated
}

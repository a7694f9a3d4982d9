package policy

// CompileNamed makes the Program of those Allow statements that name callers by
// their own ARNs: users, role sessions and federated users, not roles, accounts
// or everyone. Such a grant is not limited by a permissions boundary or session
// policy that is silent (Combination.Named); whether a policy gives one is
// seldom of interest, so that Eval does not look for it.
//
// The Program says Allow or nothing. Its Document is the part of d that is left,
// with the statements at their places.
func CompileNamed(d *Document) (*Program, error) {
	part := *d
	part.statements = make([]statement, len(d.statements))
	for i := range d.statements {
		s := d.statements[i]
		if s.principal != nil {
			s.principal = s.principal.named(s.deny)
		}
		part.statements[i] = s
	}
	return Compile(&part)
}

// named is the element without the entries that name more than one caller.
func (p *principals) named(deny bool) *principals {
	out := &principals{name: "Principal", offset: p.offset}
	if deny || p.negated {
		return out
	}
	for _, t := range p.byType {
		if t.name != "AWS" {
			continue
		}
		var kept entries
		for _, v := range t.values {
			id, _ := parseIdentity(v.text)
			switch id.kind {
			case identityUser, identitySession, identityFederatedUser:
				kept = append(kept, v)
				out.compiled.add(v.text, id)
			}
		}
		if len(kept) > 0 {
			out.byType = append(out.byType, principalType{t.name, kept})
		}
	}
	return out
}

package policy

import (
	"fmt"
	"strings"
)

// PrincipalType is the kind of an authenticated caller; its text is the value
// of aws:PrincipalType.
type PrincipalType string

const (
	TypeAccount       PrincipalType = "Account" // the root user
	TypeUser          PrincipalType = "User"
	TypeFederatedUser PrincipalType = "FederatedUser"
	TypeAssumedRole   PrincipalType = "AssumedRole"
)

// Principal is an authenticated caller. A nil *Principal is the anonymous one.
// It is read only while requests are decided and may be shared between them.
type Principal struct {
	Type PrincipalType
	// ARN is the caller's own: of the user, the role session, the federated
	// user session, or the account root.
	ARN string
	// Account is the caller's account id.
	Account string
	// RoleARN is the role behind a role session, empty for other types. The
	// path of a role is not part of its sessions' ARNs; where it is not known
	// from elsewhere RoleARN is without path and RolePathUnknown is true.
	RoleARN         string
	RolePathUnknown bool
	// UserName is the friendly name of an IAM user (aws:username), empty otherwise.
	UserName string
	// UserID is aws:userid, such as AIDA…, AROA…:session; empty if not known.
	UserID string
	// OrgID and OrgPaths are aws:PrincipalOrgID and aws:PrincipalOrgPaths;
	// empty for an account outside any organisation.
	OrgID    string
	OrgPaths []string
	// Tags are the principal's tags by lower-cased name.
	Tags map[string]string
}

// ParsePrincipal makes a Principal from the ARN of a user, role, role session,
// federated user or account root, with everything that the ARN itself tells.
func ParsePrincipal(arn string) (*Principal, error) {
	id, problem := parseIdentity(arn)
	if problem != "" {
		return nil, fmt.Errorf("principal %q: %s", arn, problem)
	}
	p := &Principal{ARN: arn, Account: id.account}
	switch id.kind {
	case identityAccount:
		if id.partition == "" {
			return nil, fmt.Errorf("principal %q: not an ARN", arn)
		}
		p.Type, p.UserID = TypeAccount, id.account
	case identityUser:
		p.Type, p.UserName = TypeUser, id.name
	case identityRole:
		p.Type, p.RoleARN = TypeAssumedRole, arn
	case identitySession:
		p.Type, p.RoleARN, p.RolePathUnknown = TypeAssumedRole, id.roleWithoutPath(), true
	case identityFederatedUser:
		p.Type, p.UserID = TypeFederatedUser, id.account+":"+id.name
	default:
		return nil, fmt.Errorf("principal %q: not a caller", arn)
	}
	return p, nil
}

type identityKind uint8

const (
	identityAnyone identityKind = iota
	identityAccount
	identityUser
	identityRole
	identitySession
	identityFederatedUser
	identityDeleted // the unique id that stands in for a deleted user or role
)

// identity is one entry of Principal.AWS, understood.
type identity struct {
	kind      identityKind
	partition string // empty for a bare account id
	account   string
	name      string // last path element: user, role, or federated user
}

func (id identity) roleWithoutPath() string {
	return "arn:" + id.partition + ":iam::" + id.account + ":role/" + id.name
}

// parseIdentity reads an entry of Principal.AWS; problem says why it is none.
func parseIdentity(s string) (id identity, problem string) {
	switch {
	case s == "*":
		return identity{kind: identityAnyone}, ""
	case strings.ContainsAny(s, "*?"):
		return id, "a principal takes no partial wildcards; use a condition on aws:PrincipalArn with ArnLike"
	case digits(s):
		return identity{kind: identityAccount, account: s}, ""
	case uniqueID(s):
		return identity{kind: identityDeleted}, ""
	}
	parts, n := splitARN(s)
	if n != arnParts || parts[0] != "arn" {
		return id, `not a principal; write "*", an account id, or the ARN of a user, role, session or account root`
	}
	id = identity{partition: parts[1], account: parts[4]}
	service, resource := parts[2], parts[5]
	if id.partition == "" || parts[3] != "" || !digits(id.account) {
		return id, "not the ARN of a principal; write arn:partition:iam::account:name, with the account's digits and no region"
	}
	kind, rest, _ := strings.Cut(resource, "/")
	id.name = rest[strings.LastIndexByte(rest, '/')+1:]
	switch {
	case service == "iam" && resource == "root":
		id.kind = identityAccount
	case service == "iam" && kind == "user" && id.name != "":
		id.kind = identityUser
	case service == "iam" && kind == "role" && id.name != "":
		id.kind = identityRole
	case service == "iam" && kind == "group":
		return id, "a group can't be a principal; list its users or the account"
	case service == "sts" && kind == "assumed-role":
		role, session, _ := strings.Cut(rest, "/")
		if role == "" || session == "" {
			return id, "the ARN of a session is arn:partition:sts::account:assumed-role/role/session"
		}
		id.kind, id.name = identitySession, role
	case service == "sts" && kind == "federated-user" && rest != "":
		id.kind, id.name = identityFederatedUser, rest
	default:
		return id, "not the ARN of a user, role, session, federated user or account root"
	}
	return id, ""
}

// uniqueID recognises what IAM puts in place of a principal that was deleted.
func uniqueID(s string) bool {
	if len(s) < 16 || s[:4] != "AIDA" && s[:4] != "AROA" {
		return false
	}
	for i := range len(s) {
		if (s[i] < 'A' || s[i] > 'Z') && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return true
}

// principalSet is a Principal or NotPrincipal element in the form that decides.
type principalSet struct {
	anyone   bool
	accounts stringSet
	// exact holds ARNs as written: users, roles, sessions, federated users.
	exact    stringSet
	sessions bool // there are sessions among them
	// roles holds each role without its path, for sessions whose role path
	// nobody knows. A role's name is unique in its account whatever its path.
	roles stringSet
}

func (s *principalSet) add(text string, id identity) {
	switch id.kind {
	case identityAnyone:
		s.anyone = true
	case identityAccount:
		s.accounts.add(id.account)
	case identityDeleted: // matches nobody ever again
	case identityRole:
		s.roles.add(id.roleWithoutPath())
		s.exact.add(text)
	default:
		s.exact.add(text)
		s.sessions = s.sessions || id.kind == identitySession
	}
}

// grant is how a statement came to speak for a caller, weakest first.
type grant uint8

const (
	grantNone     grant = iota
	grantDelegate       // its account is named: the account's own policies must agree
	grantDirect
)

// match is the Principal element: does it name the caller, and how.
func (s *principalSet) match(p *Principal) grant {
	switch {
	case s.anyone:
		return grantDirect
	case p == nil:
		return grantNone
	case s.namesSelf(p) || s.namesRole(p):
		return grantDirect
	case s.accounts.has(p.Account):
		return grantDelegate
	}
	return grantNone
}

// namesSelf looks for the caller's own ARN. Of a role session that is seldom
// worth it: policies name roles.
func (s *principalSet) namesSelf(p *Principal) bool {
	return (s.sessions || !p.isSession()) && s.exact.has(p.ARN)
}

// isSession says that the caller is a session of a role, not the role itself.
func (p *Principal) isSession() bool { return p.RoleARN != "" && len(p.ARN) != len(p.RoleARN) }

func (s *principalSet) namesRole(p *Principal) bool {
	switch {
	case p.RoleARN == "":
		return false
	case p.RolePathUnknown:
		return s.roles.has(p.RoleARN)
	}
	return s.exact.has(p.RoleARN)
}

// exempts is the NotPrincipal element of a Deny: it spares a caller only if
// every level at which IAM checks him is listed, the account, the role of a
// session, and the caller himself. The root user has the one level.
func (s *principalSet) exempts(p *Principal) bool {
	switch {
	case s.anyone:
		return true
	case p == nil || !s.accounts.has(p.Account):
		return false
	case p.Type == TypeAccount:
		return true
	case p.Type == TypeAssumedRole && p.ARN == p.RoleARN:
		return s.namesRole(p)
	case p.Type == TypeAssumedRole:
		return s.namesSelf(p) && s.namesRole(p)
	}
	return s.namesSelf(p)
}

// principals reads a Principal or NotPrincipal element.
func (p *parser) principals(path string, m *member) (*principals, *Error) {
	out := &principals{name: m.name, negated: m.name == "NotPrincipal", offset: m.offset}
	n := m.value
	if n.kind == jsonString {
		if n.text != "*" {
			return nil, p.src.errorf(path, n.offset, `the only principal without a type is "*"; write {"AWS": %q}`, n.text)
		}
		out.anyone, out.compiled.anyone = true, true
		return out, nil
	}
	if n.kind != jsonObject || len(n.members) == 0 {
		return nil, p.src.errorf(path, n.offset, `must be "*" or an object such as {"AWS": "123456789012"}`)
	}
	for i := range n.members {
		tm := &n.members[i]
		at := path + "." + tm.name
		values, err := p.list(at, tm.value, false)
		if err != nil {
			return nil, err
		}
		switch tm.name {
		case "AWS":
			for j, v := range values {
				id, problem := parseIdentity(v.text)
				if problem != "" {
					return nil, p.src.errorf(indexed(at, values, j), v.offset, "%q: %s", v.text, problem)
				}
				out.compiled.add(v.text, id)
			}
		case "Service", "Federated": // never a caller of execute-api, so nothing to match
			for j, v := range values {
				if v.text == "" || strings.ContainsAny(v.text, "*?") {
					return nil, p.src.errorf(indexed(at, values, j), v.offset, "%q: a %s principal takes a whole name", v.text, tm.name)
				}
			}
		case "CanonicalUser":
			return nil, p.src.errorf(at, tm.offset, "CanonicalUser belongs to the storage service; write AWS with an ARN")
		default:
			return nil, p.src.errorf(at, tm.offset, "unknown principal type %q; there are AWS, Service and Federated", tm.name)
		}
		out.byType = append(out.byType, principalType{tm.name, values})
	}
	return out, nil
}

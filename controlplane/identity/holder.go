package identity

import (
	"strings"
	"time"

	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dataplane/policy"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Status says whether an access key is good.
type Status int

const (
	// Unknown: there is no such key, or whoever had it is gone.
	Unknown Status = iota
	// Active: it is.
	Active
	// Inactive: its owner switched it off.
	Inactive
	// Expired: it was temporary.
	Expired
)

// Holder is who has an access key.
type Holder struct {
	AccessKeyID string
	Account     string
	// At most one of these; neither for the root user.
	User *statev1.User
	Role *statev1.Role
	// Session is set for temporary credentials, those of users and of the root
	// user included.
	Session *statev1.Session
	Sealed  *statev1.Sealed
	// IssuedAt is when the credentials were made.
	IssuedAt time.Time
}

// IsAccessKeyID tells ids of access keys from what clients write in their place.
func IsAccessKeyID(id string) bool {
	return len(id) == 20 && (strings.HasPrefix(id, "AKIA") || strings.HasPrefix(id, "ASIA"))
}

// Find returns the holder of an access key, and whether the key is good at an
// instant. The Holder is nil only if the key is Unknown.
func Find(v *state.View, accessKeyID string, now time.Time) (*Holder, Status) {
	switch {
	case strings.HasPrefix(accessKeyID, "AKIA"):
		return findKey(v, accessKeyID)
	case strings.HasPrefix(accessKeyID, "ASIA"):
		return findSession(v, accessKeyID, now)
	}
	return nil, Unknown
}

func findKey(v *state.View, id string) (*Holder, Status) {
	k := v.Get(AccessKeyKey(id)).GetAccessKey()
	if k == nil {
		return nil, Unknown
	}
	h := &Holder{AccessKeyID: id, Account: k.GetAccount(), Sealed: k.GetSecret(), IssuedAt: time.Unix(k.GetCreatedAt(), 0)}
	if k.GetUser() != "" {
		if h.User, _ = User(v, k.GetAccount(), k.GetUser()); h.User == nil {
			return nil, Unknown
		}
	}
	if k.GetInactive() {
		return h, Inactive
	}
	return h, Active
}

func findSession(v *state.View, id string, now time.Time) (*Holder, Status) {
	s := v.Get(SessionKey(id)).GetSession()
	if s == nil {
		return nil, Unknown
	}
	h := &Holder{AccessKeyID: id, Account: s.GetAccount(), Session: s, Sealed: s.GetSecret(), IssuedAt: time.Unix(s.GetCreatedAt(), 0)}
	switch {
	case s.GetRole() != "":
		if h.Role, _ = Role(v, s.GetAccount(), s.GetRole()); h.Role.GetId() != s.GetPrincipalId() {
			return nil, Unknown
		}
	case s.GetUser() != "":
		if h.User, _ = User(v, s.GetAccount(), s.GetUser()); h.User.GetId() != s.GetPrincipalId() {
			return nil, Unknown
		}
	}
	if now.Unix() >= s.GetExpiresAt() {
		return h, Expired
	}
	return h, Active
}

// Root is the root user of an account.
func Root(account string) *Holder { return &Holder{Account: account} }

// ARN names the holder: the root user, the user, or the session of the role.
func (h *Holder) ARN() string {
	switch {
	case h.Role != nil:
		return SessionARN(h.Account, h.Role.GetName(), h.Session.GetName())
	case h.User != nil:
		return UserARN(h.Account, h.User.GetPath(), h.User.GetName())
	}
	return RootARN(h.Account)
}

// UserID is aws:userid: AIDA…, AROA…:session, or the account of the root user.
func (h *Holder) UserID() string {
	switch {
	case h.Role != nil:
		return h.Role.GetId() + ":" + h.Session.GetName()
	case h.User != nil:
		return h.User.GetId()
	}
	return h.Account
}

// Principal is the holder as policies see him, with tags: a session's own go
// before those of its role.
func (h *Holder) Principal() *policy.Principal {
	p := &policy.Principal{ARN: h.ARN(), Account: h.Account, UserID: h.UserID(), Tags: map[string]string{}}
	var tags []*statev1.IamTag
	switch {
	case h.Role != nil:
		p.Type = policy.TypeAssumedRole
		p.RoleARN = RoleARN(h.Account, h.Role.GetPath(), h.Role.GetName())
		tags = append(tags, h.Role.GetTags()...)
	case h.User != nil:
		p.Type, p.UserName = policy.TypeUser, h.User.GetName()
		tags = append(tags, h.User.GetTags()...)
	default:
		p.Type = policy.TypeAccount
	}
	for _, t := range append(tags, h.Session.GetTags()...) {
		p.Tags[strings.ToLower(t.GetKey())] = t.GetValue()
	}
	return p
}

// Permissions are the holder's own policies; nil for the root user, to whom
// none apply.
func (h *Holder) Permissions() *statev1.Permissions {
	switch {
	case h.Role != nil:
		return h.Role.GetPermissions()
	case h.User != nil:
		return h.User.GetPermissions()
	}
	return nil
}

// Policies returns the documents that hold for a user or role: those that
// grant, and the permissions boundary if there is one.
func Policies(v *state.View, p *statev1.Permissions) (granting []string, boundary string, limited bool) {
	for _, inline := range p.GetInline() {
		granting = append(granting, inline.GetDocument())
	}
	for _, arn := range p.GetAttached() {
		if m := ManagedPolicy(v, arn); m != nil {
			granting = append(granting, Document(m))
		}
	}
	if arn := p.GetBoundary(); arn != "" {
		// A boundary can't be deleted while it is one.
		return granting, Document(ManagedPolicy(v, arn)), true
	}
	return granting, "", false
}

// ManagedPolicy returns the policy with that very ARN, nil for none.
func ManagedPolicy(v *state.View, arn string) *statev1.ManagedPolicy {
	account, path, name, ok := SplitARN(arn, "policy")
	if !ok {
		return nil
	}
	if account == "aws" {
		return provided[arn]
	}
	m := v.Get(NamedKey(statev1.Type_TYPE_MANAGED_POLICY, account, name)).GetManagedPolicy()
	if m.GetName() != name || m.GetPath() != path {
		return nil
	}
	return m
}

// Document is the document of a policy's default version.
func Document(m *statev1.ManagedPolicy) string {
	for _, v := range m.GetVersions() {
		if v.GetNumber() == m.GetDefaultVersion() {
			return v.GetDocument()
		}
	}
	return ""
}

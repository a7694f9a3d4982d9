package compile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"

	"github.com/posternhq/postern/dataplane/policy"
)

// Caller is an access key and whose it is.
type Caller struct {
	AccessKeyID string
	// Principal is the caller as policies see him.
	Principal policy.Principal
	// Root: the root user of his account. He has no policies of his own.
	Root bool
	// Session is nil for a long-term key.
	Session *Session

	principalID string
	firstDay    int64
	keys        map[string][]SigningKey
}

// SigningKey verifies signatures of one day, region and service.
type SigningKey = [sha256.Size]byte

// Session is what temporary credentials have beside a key.
type Session struct {
	TokenHash [sha256.Size]byte
	ExpiresAt time.Time
	// IssuedAt is the value of aws:TokenIssueTime.
	IssuedAt string
	// Extra are condition keys that have no place of their own in a request.
	Extra map[string][]string
	// Policies limit the session, all of them as one; none: nothing does.
	Policies []NamedPolicy
}

// Principal holds the policies of a user or role.
type Principal struct {
	Policies []NamedPolicy
	// Boundary is nil if there is none.
	Boundary []NamedPolicy
}

// NamedPolicy is one of several policies of a caller. The name of a managed one
// is its ARN.
type NamedPolicy struct {
	Name    string
	Program *policy.Program
}

// rootPrincipal is that of root users.
var rootPrincipal = &Principal{}

const daySeconds = 24 * 60 * 60

// SigningKey returns the key for a region and the day of a time (UTC), nil if
// there is none.
func (c *Caller) SigningKey(region string, t time.Time) *SigningKey {
	keys := c.keys[region]
	i := t.Unix()/daySeconds - c.firstDay
	if i < 0 || i >= int64(len(keys)) {
		return nil
	}
	return &keys[i]
}

// Caller returns whose an access key is, nil if nobody's.
func (t *Table) Caller(accessKeyID []byte) *Caller {
	if t == nil {
		return nil
	}
	return t.callers.pieces[shardOfBytes(accessKeyID)][string(accessKeyID)]
}

// PrincipalOf returns the policies of a caller, nil if they are not known.
func (t *Table) PrincipalOf(c *Caller) *Principal {
	if c.Root {
		return rootPrincipal
	}
	p, _ := t.principals.get(c.principalID)
	return p
}

func compileCaller(m *edgev1.AccessKey) (*Caller, error) {
	c := &Caller{
		AccessKeyID: m.GetId(), principalID: m.GetPrincipalId(), Root: m.GetPrincipalId() == "",
		Principal: policy.Principal{
			Type: policy.PrincipalType(m.GetType()), ARN: m.GetArn(), Account: m.GetAccount(),
			RoleARN: m.GetRoleArn(), UserID: m.GetUserId(), UserName: m.GetUserName(), Tags: m.GetTags(),
		},
		firstDay: int64(m.GetFirstDay()), keys: map[string][]SigningKey{},
	}
	if c.Root != (c.Principal.Type == policy.TypeAccount) {
		return nil, fmt.Errorf("a %s whose policies are those of %q", m.GetType(), m.GetPrincipalId())
	}
	switch c.Principal.Type {
	case policy.TypeAccount, policy.TypeUser, policy.TypeAssumedRole:
	default:
		return nil, fmt.Errorf("unknown type of principal %q", m.GetType())
	}
	if c.Principal.Account == "" || c.Principal.ARN == "" {
		return nil, errors.New("neither account nor ARN may be empty")
	}
	for _, r := range m.GetSigningKeys() {
		rest := r.GetKeys()
		if len(rest)%sha256.Size != 0 {
			return nil, fmt.Errorf("signing keys of %s: %d bytes", r.GetRegion(), len(rest))
		}
		for ; len(rest) > 0; rest = rest[sha256.Size:] {
			c.keys[r.GetRegion()] = append(c.keys[r.GetRegion()], SigningKey(rest))
		}
	}
	if s := m.GetSession(); s != nil {
		var err error
		if c.Session, err = compileSession(s); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func compileSession(m *edgev1.AccessSession) (*Session, error) {
	if len(m.GetTokenHash()) != sha256.Size {
		return nil, fmt.Errorf("hash of the session token: %d bytes", len(m.GetTokenHash()))
	}
	s := &Session{
		TokenHash: [sha256.Size]byte(m.GetTokenHash()), ExpiresAt: time.Unix(m.GetExpiresAt(), 0),
		IssuedAt: time.Unix(m.GetIssuedAt(), 0).UTC().Format(time.RFC3339),
	}
	if m.GetSourceIdentity() != "" {
		s.Extra = map[string][]string{"aws:sourceidentity": {m.GetSourceIdentity()}}
	}
	var err error
	s.Policies, err = compileNamed(m.GetPolicies())
	return s, err
}

func compilePrincipal(m *edgev1.Principal) (*Principal, error) {
	p := &Principal{}
	var err error
	if p.Policies, err = compileNamed(m.GetPolicies()); err != nil {
		return nil, err
	}
	if m.GetBoundary() != nil {
		p.Boundary, err = compileNamed([]*edgev1.NamedPolicy{m.GetBoundary()})
	}
	return p, err
}

// compileNamed compiles policies that are attached to callers.
func compileNamed(list []*edgev1.NamedPolicy) (out []NamedPolicy, err error) {
	for _, m := range list {
		doc, err := policy.Parse([]byte(m.GetDocument()))
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", m.GetName(), err)
		}
		program, err := policy.CompileIdentity(doc)
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", m.GetName(), err)
		}
		out = append(out, NamedPolicy{m.GetName(), program})
	}
	return out, nil
}

// Decide is what several policies say as if they were one: a Deny of any, else
// an Allow of any. at is the one that decided, -1 for none.
func Decide(list []NamedPolicy, r *policy.Request) (v policy.Verdict, at int) {
	return policy.Together(len(list), func(i int) *policy.Program { return list[i].Program }, r)
}

// Names reports whether the stage's policy allows a request by the caller's own
// ARN (policy.Combination.Named). It is asked seldom, so the Program is made
// when it is asked first.
func (s *Stage) Names(r *policy.Request) bool {
	return s.Policy != nil && s.named().Eval(r).Effect == policy.Allow
}

func namedProgram(p *policy.Program) func() *policy.Program {
	return func() *policy.Program {
		// What Compile has taken CompileNamed takes.
		named, _ := policy.CompileNamed(p.Document())
		return named
	}
}

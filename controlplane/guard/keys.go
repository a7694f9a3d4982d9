package guard

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/internal/pki"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// maxPrograms bounds the compiled policies that are kept.
const maxPrograms = 4096

// StoredKeys are the access keys in the replicated state, as of a View that
// holds every write acknowledged before.
type StoredKeys struct {
	View    func(context.Context) (*state.View, error)
	Keyring *pki.Keyring
	Now     func() time.Time

	mu       sync.Mutex
	programs map[string]*policy.Program // by document
}

// Key implements Keys.
func (s *StoredKeys) Key(ctx context.Context, id string) (*Key, error) {
	v, err := s.View(ctx)
	if err != nil {
		return nil, err
	}
	h, status := identity.Find(v, id, s.Now())
	if status != identity.Active && status != identity.Expired {
		return nil, nil
	}
	secret, err := identity.Open(s.Keyring, h.Account, id, h.Sealed)
	if err != nil {
		return nil, fmt.Errorf("secret of access key %s: %w", id, err)
	}
	k := &Key{ID: id, Secret: secret}
	if h.Session != nil {
		k.Token = (*[sha256.Size]byte)(h.Session.GetTokenHash())
		k.Expires = time.Unix(h.Session.GetExpiresAt(), 0)
	}
	k.Caller, err = s.caller(v, h)
	return k, err
}

func (s *StoredKeys) caller(v *state.View, h *identity.Holder) (*Caller, error) {
	c := &Caller{
		KeyID: h.AccessKeyID, Account: h.Account, Principal: h.Principal(),
		Root: h.User == nil && h.Role == nil, Operator: h.Account == operator(v),
	}
	var err error
	granting, boundary, limited := identity.Policies(v, h.Permissions())
	if c.Identity, err = s.compile(granting...); err != nil {
		return nil, err
	}
	if limited {
		if c.Boundary, err = s.compile(boundary); err != nil {
			return nil, err
		}
	}
	if n := len(h.Session.GetPolicies()) + len(h.Session.GetPolicyArns()); n > 0 {
		documents := append([]string(nil), h.Session.GetPolicies()...)
		if c.Session, err = s.compile(documents...); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// operator is the account that runs the cluster: the first that was made.
func operator(v *state.View) string {
	account, first := "", uint64(0)
	for r := range v.All(statev1.Type_TYPE_IAM_ACCOUNT) {
		if first == 0 || r.GetCreateIndex() < first {
			account, first = r.GetKey().GetAccount(), r.GetCreateIndex()
		}
	}
	return account
}

// compile compiles documents, or finds them compiled. Stored ones were checked
// when they were stored; should one be bad all the same, its holder may nothing.
func (s *StoredKeys) compile(documents ...string) ([]*policy.Program, error) {
	var all []*policy.Program
	for _, text := range documents {
		p, err := s.program(text)
		if err != nil {
			return nil, fmt.Errorf("policy of the caller: %w", err)
		}
		all = append(all, p)
	}
	return all, nil
}

func (s *StoredKeys) program(text string) (*policy.Program, error) {
	s.mu.Lock()
	p := s.programs[text]
	s.mu.Unlock()
	if p != nil {
		return p, nil
	}
	d, err := policy.Parse([]byte(text))
	if err != nil {
		return nil, err
	}
	if p, err = policy.CompileIdentity(d); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.programs) >= maxPrograms || s.programs == nil {
		s.programs = map[string]*policy.Program{} // cheaper to make again than to rank
	}
	s.programs[text] = p
	return p, nil
}

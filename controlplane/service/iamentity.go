package service

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// entityKind is what IAM says differently of users and roles.
type entityKind struct {
	word, title string
	table       statev1.Type
	most        int    // of an account
	mostQuota   string // the quota's name
	inline      int    // characters of all inline policies
	attached    string // name of the quota on attached policies
}

var (
	users = &entityKind{word: "user", title: "User", table: statev1.Type_TYPE_USER, most: 5000, mostQuota: "UsersPerAccount", inline: maxUserInline, attached: "PoliciesPerUser"}
	roles = &entityKind{word: "role", title: "Role", table: statev1.Type_TYPE_ROLE, most: 1000, mostQuota: "RolesPerAccount", inline: maxRoleInline, attached: "PoliciesPerRole"}
)

// entity is a user or role that belongs to a request: it may be changed, and
// put again.
type entity struct {
	kind    *entityKind
	account string
	record  *statev1.Record // as it was found; nil for a new one
	user    *statev1.User   // either this
	role    *statev1.Role   // or that
}

func (k *entityKind) missing(name string) error {
	return noSuchEntity("The %s with name %s cannot be found.", k.word, name)
}

// find returns a copy of a user or role of the account.
func (k *entityKind) find(v *state.View, account, name string) (*entity, error) {
	e := k.of(v.Get(identity.NamedKey(k.table, account, name)), account)
	if e == nil || e.name() != name {
		return nil, k.missing(name)
	}
	return e, nil
}

// of is the entity in a record; nil for no record.
func (k *entityKind) of(r *statev1.Record, account string) *entity {
	switch {
	case r == nil:
		return nil
	case k == users:
		return &entity{kind: k, account: account, record: r, user: proto.CloneOf(r.GetUser())}
	}
	return &entity{kind: k, account: account, record: r, role: proto.CloneOf(r.GetRole())}
}

// all lists the account's.
func (k *entityKind) all(v *state.View, account, pathPrefix string) []*entity {
	var out []*entity
	for r := range v.List(k.table, account, "", "") {
		if e := k.of(r, account); strings.HasPrefix(e.path(), pathPrefix) {
			out = append(out, e)
		}
	}
	return out
}

// add makes the Txn of a new entity; txn may hold more that goes with it.
func (k *entityKind) add(v *state.View, txn *statev1.Txn, e *entity) error {
	if v.Get(e.key()) != nil {
		return entityExists("%s with name %s already exists.", k.title, e.name())
	}
	count := 0
	for range v.List(k.table, e.account, "", "") {
		count++
	}
	if count >= k.most {
		return iamLimit("Cannot exceed quota for %s: %d", k.mostQuota, k.most)
	}
	txn.Guards = append([]*statev1.Guard{absent(e.key())}, txn.Guards...)
	txn.Puts = append(txn.Puts, e.put())
	return nil
}

func (e *entity) key() state.Key { return identity.NamedKey(e.kind.table, e.account, e.name()) }

func (e *entity) put() *statev1.Record {
	r := &statev1.Record{Key: e.key().Proto(), Value: &statev1.Record_Role{Role: e.role}}
	if e.user != nil {
		r.Value = &statev1.Record_User{User: e.user}
	}
	return r
}

func (e *entity) name() string {
	if e.user != nil {
		return e.user.GetName()
	}
	return e.role.GetName()
}

func (e *entity) path() string {
	if e.user != nil {
		return e.user.GetPath()
	}
	return e.role.GetPath()
}

func (e *entity) id() string {
	if e.user != nil {
		return e.user.GetId()
	}
	return e.role.GetId()
}

func (e *entity) tags() *[]*statev1.IamTag {
	if e.user != nil {
		return &e.user.Tags
	}
	return &e.role.Tags
}

// permissions are never nil, so that they can be changed.
func (e *entity) permissions() *statev1.Permissions {
	var p **statev1.Permissions
	if e.user != nil {
		p = &e.user.Permissions
	} else {
		p = &e.role.Permissions
	}
	if *p == nil {
		*p = &statev1.Permissions{}
	}
	return *p
}

// boundary is the permissions boundary as answers show it.
func (e *entity) boundary() *iamv1.AttachedPermissionsBoundary {
	arn := e.permissions().GetBoundary()
	if arn == "" {
		return nil
	}
	return &iamv1.AttachedPermissionsBoundary{PermissionsBoundaryType: new("Policy"), PermissionsBoundaryArn: new(arn)}
}

// read answers from one user or role of the caller's account.
func (s *iam) read(ctx context.Context, k *entityKind, name string) (*state.View, *entity, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, nil, err
	}
	e, err := k.find(v, caller(ctx).Account, name)
	return v, e, err
}

// change commits what do makes of a user or role. do may run several times; it
// adds to the Txn what else is to be written.
func (s *iam) change(ctx context.Context, k *entityKind, name string, do func(v *state.View, txn *statev1.Txn, e *entity) error) error {
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		e, err := k.find(v, caller(ctx).Account, name)
		if err != nil {
			return nil, err
		}
		txn := &statev1.Txn{Guards: []*statev1.Guard{guard(e.record)}}
		if err := do(v, txn, e); err != nil {
			return nil, err
		}
		txn.Puts = append(txn.Puts, e.put())
		return txn, nil
	})
	return err
}

// remove deletes a user or role that has nothing left.
func (s *iam) remove(ctx context.Context, k *entityKind, name string) error {
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		e, err := k.find(v, caller(ctx).Account, name)
		if err != nil {
			return nil, err
		}
		switch p := e.permissions(); {
		case len(e.user.GetAccessKeyIds()) > 0:
			return nil, deleteConflict("Cannot delete entity, must remove access keys first.")
		case len(p.GetAttached()) > 0:
			return nil, deleteConflict("Cannot delete entity, must detach all policies first.")
		case len(p.GetInline()) > 0:
			return nil, deleteConflict("Cannot delete entity, must delete policies first.")
		}
		txn := &statev1.Txn{Guards: []*statev1.Guard{guard(e.record)}, Deletes: []*statev1.Key{e.record.GetKey()}}
		return txn, useBoundary(v, txn, e.account, e.permissions().GetBoundary(), "")
	})
	return err
}

const maxIAMTags = 50

// setIAMTags adds or replaces tags. Keys that differ in case only are one key.
func setIAMTags(tags []*statev1.IamTag, more []*iamv1.Tag) ([]*statev1.IamTag, error) {
	seen := map[string]bool{}
	for _, t := range more {
		lower := strings.ToLower(t.GetKey())
		switch {
		case strings.HasPrefix(lower, reservedPrefix):
			return nil, iamInput("System tag keys: '%s' cannot be added, edited or removed", t.GetKey())
		case seen[lower]:
			return nil, iamInput("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[lower] = true
		tag := &statev1.IamTag{Key: t.GetKey(), Value: t.GetValue()}
		if i := tagIndex(tags, t.GetKey()); i >= 0 {
			tags[i] = tag
		} else {
			tags = append(tags, tag)
		}
	}
	if len(tags) > maxIAMTags {
		return nil, iamLimit("The number of tags has reached the maximum limit.")
	}
	return tags, nil
}

func tagIndex(tags []*statev1.IamTag, key string) int {
	return slices.IndexFunc(tags, func(t *statev1.IamTag) bool { return strings.EqualFold(t.GetKey(), key) })
}

func withoutTags(tags []*statev1.IamTag, keys []string) []*statev1.IamTag {
	return slices.DeleteFunc(tags, func(t *statev1.IamTag) bool { return containsFold(keys, t.GetKey()) })
}

func shownTags(tags []*statev1.IamTag) []*iamv1.Tag {
	var out []*iamv1.Tag
	for _, t := range tags {
		out = append(out, &iamv1.Tag{Key: new(t.GetKey()), Value: new(t.GetValue())})
	}
	return out
}

func (s *iam) tag(ctx context.Context, k *entityKind, name string, tags []*iamv1.Tag) (*iamv1.EmptyResponse, error) {
	return &iamv1.EmptyResponse{}, s.change(ctx, k, name, func(_ *state.View, _ *statev1.Txn, e *entity) (err error) {
		*e.tags(), err = setIAMTags(*e.tags(), tags)
		return err
	})
}

func (s *iam) untag(ctx context.Context, k *entityKind, name string, keys []string) (*iamv1.EmptyResponse, error) {
	return &iamv1.EmptyResponse{}, s.change(ctx, k, name, func(_ *state.View, _ *statev1.Txn, e *entity) error {
		*e.tags() = withoutTags(*e.tags(), keys)
		return nil
	})
}

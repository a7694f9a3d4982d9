package identity

import (
	"strings"

	"github.com/posternhq/postern/controlplane/state"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// AccountKey is the key of what is known of an account itself.
func AccountKey(account string) state.Key {
	return state.Key{Type: statev1.Type_TYPE_IAM_ACCOUNT, Account: account, ID: "account"}
}

// AliasKey is the key of an account's alias.
func AliasKey(alias string) state.Key {
	return state.Key{Type: statev1.Type_TYPE_ACCOUNT_ALIAS, ID: alias}
}

// NamedKey is the key of a user, role or managed policy. Names that differ in
// case only have one key.
func NamedKey(t statev1.Type, account, name string) state.Key {
	return state.Key{Type: t, Account: account, ID: strings.ToLower(name)}
}

// AccessKeyKey is the key of a long-term access key.
func AccessKeyKey(id string) state.Key {
	return state.Key{Type: statev1.Type_TYPE_ACCESS_KEY, ID: id}
}

// SessionKey is the key of temporary credentials.
func SessionKey(id string) state.Key {
	return state.Key{Type: statev1.Type_TYPE_SESSION, ID: id}
}

// User returns the user of that very name, and its record; nil for none.
func User(v *state.View, account, name string) (*statev1.User, *statev1.Record) {
	r := v.Get(NamedKey(statev1.Type_TYPE_USER, account, name))
	if u := r.GetUser(); u != nil && u.GetName() == name {
		return u, r
	}
	return nil, nil
}

// Role is User for roles.
func Role(v *state.View, account, name string) (*statev1.Role, *statev1.Record) {
	r := v.Get(NamedKey(statev1.Type_TYPE_ROLE, account, name))
	if role := r.GetRole(); role != nil && role.GetName() == name {
		return role, r
	}
	return nil, nil
}

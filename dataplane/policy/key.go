package policy

import "strings"

// Key is a condition key that the data plane knows; its values sit at fixed
// places of a Request. All other keys go by name through Request.Extra.
type Key uint8

const (
	KeySourceVpc Key = iota
	KeySourceVpce
	KeySourceVpcARN
	KeyVpcSourceIP
	KeySourceIP
	KeyReferer
	KeyUserAgent
	KeySecureTransport
	KeyCurrentTime
	KeyEpochTime
	KeySourceARN
	KeyTokenIssueTime
	KeyMultiFactorAuthPresent
	KeyMultiFactorAuthAge
	KeyPrincipalARN
	KeyPrincipalAccount
	KeyPrincipalOrgID
	KeyPrincipalType
	KeyUserID
	KeyUsername

	numKeys
)

// keyExtra is a key of Request.Extra, keyTag one of the principal's tags,
// keyOrgPaths the one list that a Principal carries.
const (
	keyExtra = numKeys + iota
	keyTag
	keyOrgPaths
)

var keyNames = [numKeys]string{
	KeySourceVpc:              "aws:SourceVpc",
	KeySourceVpce:             "aws:SourceVpce",
	KeySourceVpcARN:           "aws:SourceVpcArn",
	KeyVpcSourceIP:            "aws:VpcSourceIp",
	KeySourceIP:               "aws:SourceIp",
	KeyReferer:                "aws:Referer",
	KeyUserAgent:              "aws:UserAgent",
	KeySecureTransport:        "aws:SecureTransport",
	KeyCurrentTime:            "aws:CurrentTime",
	KeyEpochTime:              "aws:EpochTime",
	KeySourceARN:              "aws:SourceArn",
	KeyTokenIssueTime:         "aws:TokenIssueTime",
	KeyMultiFactorAuthPresent: "aws:MultiFactorAuthPresent",
	KeyMultiFactorAuthAge:     "aws:MultiFactorAuthAge",
	KeyPrincipalARN:           "aws:PrincipalArn",
	KeyPrincipalAccount:       "aws:PrincipalAccount",
	KeyPrincipalOrgID:         "aws:PrincipalOrgID",
	KeyPrincipalType:          "aws:PrincipalType",
	KeyUserID:                 "aws:userid",
	KeyUsername:               "aws:username",
}

// String is the key's name as AWS writes it.
func (k Key) String() string { return keyNames[k] }

var keysByName = func() map[string]Key {
	m := make(map[string]Key, numKeys)
	for k, name := range keyNames {
		m[strings.ToLower(name)] = Key(k)
	}
	return m
}()

const (
	tagPrefix    = "aws:principaltag/"
	orgPathsName = "aws:principalorgpaths"
)

// listKeys are keys whose values are lists: they want ForAllValues or
// ForAnyValue, and can't be used as variables.
var listKeys = map[string]bool{
	orgPathsName:                         true,
	"aws:tagkeys":                        true,
	"aws:calledvia":                      true,
	"aws:principalservicenameslist":      true,
	"aws:sourceorgpaths":                 true,
	"aws:resourceorgpaths":               true,
	"cognito-identity.amazonaws.com:amr": true,
}

// LookupKey finds a known key by its name in any case.
func LookupKey(name string) (Key, bool) {
	k, ok := keysByName[strings.ToLower(name)]
	return k, ok
}

// keyRef is a condition key resolved when a policy is compiled, so that a
// request's value is one array access or one map lookup away.
type keyRef struct {
	key  Key
	name string // lower case
	tag  string // what follows aws:principaltag/, for keyTag
	list bool
}

// refs are the known keys under the names that AWS gives them.
var refs = func() map[string]keyRef {
	m := make(map[string]keyRef, numKeys)
	for k, name := range keyNames {
		m[name] = keyRef{key: Key(k), name: strings.ToLower(name)}
	}
	return m
}()

func refKey(name string) keyRef {
	if r, ok := refs[name]; ok {
		return r
	}
	r := keyRef{key: keyExtra, name: strings.ToLower(name)}
	r.list = listKeys[r.name]
	if k, ok := keysByName[r.name]; ok {
		r.key = k
	} else if tag, ok := strings.CutPrefix(r.name, tagPrefix); ok {
		r.key, r.tag = keyTag, tag
	} else if r.name == orgPathsName {
		r.key = keyOrgPaths
	}
	return r
}

// inPlace is the key's bit in Request.present if a value that was set sits in
// Request.values as it is, else 0.
func (k *keyRef) inPlace() uint64 {
	if k.key < numKeys && addrSlot(k.key) < 0 {
		return 1 << k.key
	}
	return 0
}

// nowhere says that a key whose bit in Request.present is not set has no value
// but one in Request.Extra.
func (k *keyRef) nowhere() bool {
	return k.inPlace() != 0 && k.key != KeyCurrentTime && k.key != KeyEpochTime
}

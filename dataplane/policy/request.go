package policy

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// Request is what a policy is asked about. It is made to be reused: an edge
// keeps some, calls Reset, fills in what it knows, and evaluates. What was not
// set is absent, and absence has a meaning of its own in every operator; the
// exceptions are named at each field.
//
// A Request must not be changed, nor be used by a second goroutine, while a
// Program evaluates it: evaluation caches the text of addresses and times in it.
type Request struct {
	// Principal is the authenticated caller, nil for an anonymous one. Setting
	// the field matches Principal elements and tags only; SetPrincipal also
	// sets the condition keys that follow from it.
	Principal *Principal
	// Action is service:Name, such as execute-api:Invoke, in any case.
	Action string

	// Resource is the ARN of what is asked for, as text: for execute-api
	// arn:partition:execute-api:region:account:api/stage/VERB/path, the path raw
	// as it was received. Text with fewer than five colons is no ARN, and only
	// the pattern * matches it.
	Resource []byte

	// These stand here so that what nearly every policy asks for lies together.
	present uint64 // bit k: key k was set
	values  [numKeys]string
	addrs   [2]netip.Addr // of the address keys, by addrSlot

	// Time is when the request was received; it is the value of aws:CurrentTime
	// and aws:EpochTime, to the second, unless these were set by Set. The zero
	// time leaves both absent.
	Time time.Time

	// Extra holds the values of all other condition keys, by lower-cased name.
	// An empty list is the same as an absent key. It also overrides the tags
	// and organisation paths of the principal.
	Extra map[string][]string

	// Scratch for texts that evaluation makes: of Time, of addresses, and the
	// lower-cased Action. It is here because on Eval's stack it would escape to
	// the heap.
	iso      [32]byte
	epoch    [24]byte
	addrText [2][48]byte
	action   [64]byte
}

// addrSlot is the place of an address key in Request.addrs, -1 for all others.
func addrSlot(k Key) int {
	switch k {
	case KeyVpcSourceIP:
		return 0
	case KeySourceIP:
		return 1
	}
	return -1
}

// Reset makes everything absent, so that the Request can serve another call.
// Extra is dropped, not emptied: it may be shared.
func (r *Request) Reset() { *r = Request{} }

// Clone returns a Request with the same values, whose texts are its own: for
// who keeps a request beyond the buffers that it was read from. Principal and
// Extra are shared, since nobody changes what they hold.
func (r *Request) Clone() *Request {
	c := *r
	c.Action = strings.Clone(r.Action)
	c.Resource = bytes.Clone(r.Resource)
	for k, v := range c.values {
		c.values[k] = strings.Clone(v)
	}
	return &c
}

// Set gives a key its one value. An empty value is a value, except that an
// empty Referer or User-Agent header counts as absent.
func (r *Request) Set(k Key, v string) {
	if v == "" && (k == KeyReferer || k == KeyUserAgent) {
		r.Unset(k)
		return
	}
	r.present |= 1 << k
	r.values[k] = v
	if slot := addrSlot(k); slot >= 0 {
		r.addrs[slot], _ = parseAddr(v) // text that is no address matches no range
	}
}

// SetAddr gives an address key its value; v4-mapped addresses are unmapped and
// a zone is dropped. The zero Addr makes the key absent.
func (r *Request) SetAddr(k Key, a netip.Addr) {
	slot := addrSlot(k)
	if slot < 0 || !a.IsValid() {
		r.Unset(k)
		return
	}
	r.present |= 1 << k
	r.values[k] = ""
	r.addrs[slot] = a.WithZone("").Unmap()
}

// Unset makes a key absent.
func (r *Request) Unset(k Key) {
	r.present &^= 1 << k
	r.values[k] = ""
	if slot := addrSlot(k); slot >= 0 {
		r.addrs[slot] = netip.Addr{}
	}
}

// SetContext sets any condition key by name, known or not, to its values; it is
// for contexts that come as text and may allocate. A header that was sent
// several times has one value, the values joined with commas.
func (r *Request) SetContext(name string, values ...string) {
	lower := strings.ToLower(name)
	k, known := keysByName[lower]
	r.setContext(lower, k, known, values)
}

func (r *Request) setContext(lower string, k Key, known bool, values []string) {
	if known && (k == KeyReferer || k == KeyUserAgent) && len(values) > 1 {
		values = []string{strings.Join(values, ",")}
	}
	if known && len(values) == 1 {
		r.Set(k, values[0])
		return
	}
	if known {
		r.Unset(k) // the value of its own place would go before these
	}
	if r.Extra == nil {
		r.Extra = make(map[string][]string)
	}
	r.Extra[lower] = values
}

// SetPrincipal makes p the caller and sets the condition keys that follow from
// it. For a nil p, the anonymous caller, all of them are absent.
func (r *Request) SetPrincipal(p *Principal) {
	r.Principal = p
	var arn, account, org, kind, id, name string
	if p != nil {
		arn, account, org, kind, id, name = p.ARN, p.Account, p.OrgID, string(p.Type), p.UserID, p.UserName
		if p.RoleARN != "" {
			arn = p.RoleARN // of a session the key names the role
		}
	}
	for _, kv := range [...]struct {
		k Key
		v string
	}{
		{KeyPrincipalARN, arn}, {KeyPrincipalAccount, account}, {KeyPrincipalOrgID, org},
		{KeyPrincipalType, kind}, {KeyUserID, id}, {KeyUsername, name},
	} {
		if kv.v == "" {
			r.Unset(kv.k)
		} else {
			r.Set(kv.k, kv.v)
		}
	}
}

// SetResource makes a copy of arn the Resource. It reports false, and changes
// nothing, if that is no ARN of six parts.
func (r *Request) SetResource(arn string) bool {
	if parts, n := splitARN(arn); n != arnParts || parts[0] != "arn" {
		return false
	}
	r.Resource = []byte(arn)
	return true
}

// found is what a key holds in one request: nothing, one value, or a list.
type found struct {
	one  string
	list []string
	n    int
}

func single(v string) found { return found{one: v, n: 1} }

func (f *found) at(i int) string {
	if f.list != nil {
		return f.list[i]
	}
	return f.one
}

// lookup finds the values of a key. The text of an address or time lies in
// the Request's scratch space; every lookup of a key writes the same bytes.
func (r *Request) lookup(k *keyRef) found {
	if k.key < numKeys && r.present&(1<<k.key) != 0 {
		v := r.values[k.key]
		if slot := addrSlot(k.key); slot >= 0 && v == "" {
			if a := r.addrs[slot]; a.IsValid() {
				v = view(a.AppendTo(r.addrText[slot][:0]))
			}
		}
		return single(v)
	}
	if r.Extra != nil {
		if list := r.Extra[k.name]; len(list) > 0 {
			return found{list: list, n: len(list)}
		}
	}
	switch k.key {
	case KeyCurrentTime:
		if !r.Time.IsZero() {
			return single(view(r.Time.UTC().AppendFormat(r.iso[:0], "2006-01-02T15:04:05Z")))
		}
	case KeyEpochTime:
		if !r.Time.IsZero() {
			return single(view(strconv.AppendInt(r.epoch[:0], r.Time.Unix(), 10)))
		}
	case keyTag:
		if r.Principal != nil {
			if v, ok := r.Principal.Tags[k.tag]; ok {
				return single(v)
			}
		}
	case keyOrgPaths:
		if r.Principal != nil && len(r.Principal.OrgPaths) > 0 {
			return found{list: r.Principal.OrgPaths, n: len(r.Principal.OrgPaths)}
		}
	}
	return found{}
}

// addr is the value of an address key that was set as an address, or parsed
// when it was set; it spares parsing for every condition.
func (r *Request) addr(k *keyRef) (netip.Addr, bool) {
	if slot := addrSlot(k.key); slot >= 0 && r.present&(1<<k.key) != 0 {
		return r.addrs[slot], true
	}
	return netip.Addr{}, false
}

// view reads bytes as a string without copying them. The result may be used
// only as long as the bytes do not change: here, while one evaluation lasts.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

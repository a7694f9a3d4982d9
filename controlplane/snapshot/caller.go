package snapshot

import (
	"slices"
	"time"

	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/internal/sigv4"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Edges get signing keys for the days on which a presigned URL may have been
// signed that is still good (sigv4.MaxExpires), today, and the days that they
// are to last without a control plane. Which day is today is in the state: the
// leader writes it (SigningDay), and a key made after that was made today.
const (
	daysBefore = 7
	daysAhead  = 7

	daySeconds     = 24 * 60 * 60
	signingService = "execute-api"
)

// callers is what the Builder knows of access keys and whose they are. A key is
// rebuilt when it, its user or role, the day, or the set of regions changes.
type callers struct {
	day     int64
	regions map[string]int                   // how many APIs each has
	names   map[state.Key]string             // of users and roles: their resources
	attach  map[state.Key][]state.Key        // of users and roles: their managed policies
	users   map[state.Key]map[state.Key]bool // the other way round
	keys    map[state.Key]map[string]bool    // of users and roles: ids of keys and sessions
	owners  map[string]state.Key             // the other way round
}

func newCallers() *callers {
	return &callers{
		regions: map[string]int{}, names: map[state.Key]string{}, attach: map[state.Key][]state.Key{},
		users: map[state.Key]map[state.Key]bool{}, keys: map[state.Key]map[string]bool{}, owners: map[string]state.Key{},
	}
}

// touchedCallers are those that a change may have changed.
type touchedCallers struct {
	principals map[state.Key]bool
	keys       map[string]bool
	all        bool // keys: another day, or other regions
}

// changed notes what follows from the change of one record.
func (t *touchedCallers) changed(c *callers, k state.Key) {
	switch k.Type {
	case statev1.Type_TYPE_USER, statev1.Type_TYPE_ROLE:
		t.principals[k] = true
	case statev1.Type_TYPE_MANAGED_POLICY:
		for p := range c.users[k] {
			t.principals[p] = true
		}
	case statev1.Type_TYPE_ACCESS_KEY, statev1.Type_TYPE_SESSION:
		t.keys[k.ID] = true
	case statev1.Type_TYPE_SIGNING_DAY:
		t.all = true
	}
}

// callersOf rebuilds what was touched.
func (b *Builder) callersOf(v *state.View, t *touchedCallers) {
	c := b.callers
	c.day = v.Get(identity.SigningDayKey()).GetSigningDay().GetDay()
	// Whoever was renamed has his resource in place of the one withdrawn.
	for k := range t.principals {
		b.withdraw(v, k)
	}
	for k := range t.principals {
		b.principal(v, k)
		for id := range c.keys[k] {
			t.keys[id] = true
		}
	}
	if t.all || b.otherRegions {
		for _, kind := range []statev1.Type{statev1.Type_TYPE_ACCESS_KEY, statev1.Type_TYPE_SESSION} {
			for r := range v.All(kind) {
				t.keys[r.GetKey().GetId()] = true
			}
		}
	}
	b.otherRegions = false
	regions := c.sortedRegions()
	for id := range t.keys {
		b.accessKey(v, id, regions)
	}
}

func (c *callers) sortedRegions() []string {
	var list []string
	for r := range c.regions {
		list = append(list, r)
	}
	slices.Sort(list)
	return list
}

// counted notes that a region has one API more or less.
func (b *Builder) counted(region string, by int) {
	n := b.callers.regions
	if n[region] += by; n[region] == 0 {
		delete(n, region)
	}
	b.otherRegions = b.otherRegions || n[region] == 0 || n[region] == 1 && by > 0
}

func principalName(id string) string { return "principal/" + id }

// holderOf is the id of a user or role, empty for none, and what it may do.
func holderOf(r *statev1.Record) (id string, p *statev1.Permissions) {
	if role := r.GetRole(); role != nil {
		return role.GetId(), role.GetPermissions()
	}
	return r.GetUser().GetId(), r.GetUser().GetPermissions()
}

// withdraw takes back the resource of a user or role that is gone, or is another
// one: whoever is deleted and made anew has another id.
func (b *Builder) withdraw(v *state.View, k state.Key) {
	c := b.callers
	for _, p := range c.attach[k] {
		delete(c.users[p], k)
	}
	delete(c.attach, k)
	id, _ := holderOf(v.Get(k))
	if old := c.names[k]; old != "" && old != principalName(id) {
		b.offer(old, "", nil)
		delete(c.names, k)
	}
}

// principal offers the policies of a user or role.
func (b *Builder) principal(v *state.View, k state.Key) {
	id, permissions := holderOf(v.Get(k))
	if id == "" {
		return
	}
	c := b.callers
	m := &edgev1.Principal{Id: id}
	for _, p := range permissions.GetInline() {
		m.Policies = append(m.Policies, &edgev1.NamedPolicy{Name: p.GetName(), Document: p.GetDocument()})
	}
	managed := func(arn string) *edgev1.NamedPolicy {
		if account, _, name, ok := identity.SplitARN(arn, "policy"); ok {
			p := identity.NamedKey(statev1.Type_TYPE_MANAGED_POLICY, account, name)
			if c.users[p] == nil {
				c.users[p] = map[state.Key]bool{}
			}
			c.users[p][k] = true
			c.attach[k] = append(c.attach[k], p)
		}
		return &edgev1.NamedPolicy{Name: arn, Document: identity.Document(identity.ManagedPolicy(v, arn))}
	}
	for _, arn := range permissions.GetAttached() {
		if p := managed(arn); p.Document != "" {
			m.Policies = append(m.Policies, p)
		}
	}
	if arn := permissions.GetBoundary(); arn != "" {
		// One that is not there allows nothing: an edge takes no policy without text.
		m.Boundary = managed(arn)
	}
	c.names[k] = principalName(id)
	b.offer(c.names[k], "", m)
}

// accessKey offers a key that is good, long-term or not.
func (b *Builder) accessKey(v *state.View, id string, regions []string) {
	b.own(v, id)
	m := b.keyMessage(v, id, regions)
	if m == nil {
		b.offer("key/"+id, "", nil) // not m: a nil *AccessKey is a message
		return
	}
	b.offer("key/"+id, "", m)
}

// own notes whose a key is.
func (b *Builder) own(v *state.View, id string) {
	c := b.callers
	if old, ok := c.owners[id]; ok {
		delete(c.keys[old], id)
		if len(c.keys[old]) == 0 {
			delete(c.keys, old)
		}
		delete(c.owners, id)
	}
	k, s := v.Get(identity.AccessKeyKey(id)).GetAccessKey(), v.Get(identity.SessionKey(id)).GetSession()
	var owner state.Key
	switch {
	case k.GetUser() != "":
		owner = identity.NamedKey(statev1.Type_TYPE_USER, k.GetAccount(), k.GetUser())
	case s.GetUser() != "":
		owner = identity.NamedKey(statev1.Type_TYPE_USER, s.GetAccount(), s.GetUser())
	case s.GetRole() != "":
		owner = identity.NamedKey(statev1.Type_TYPE_ROLE, s.GetAccount(), s.GetRole())
	default:
		return
	}
	if c.keys[owner] == nil {
		c.keys[owner] = map[string]bool{}
	}
	c.keys[owner][id], c.owners[id] = true, owner
}

// keyMessage is a key with its signing keys, nil for one that is not good.
func (b *Builder) keyMessage(v *state.View, id string, regions []string) *edgev1.AccessKey {
	if b.cfg.Keyring == nil {
		return nil
	}
	h, status := identity.Find(v, id, time.Time{}) // ends are looked at below
	if status != identity.Active {
		return nil
	}
	today := max(b.callers.day, identity.DayOf(h.IssuedAt))
	if s := h.Session; s != nil && s.GetExpiresAt() <= today*daySeconds {
		return nil
	}
	secret, err := identity.Open(b.cfg.Keyring, h.Account, id, h.Sealed)
	if err != nil {
		b.cfg.Logger.Warn("an access key is of no use to edges: its secret can't be opened", "access_key_id", id, "error", err)
		return nil
	}
	p := h.Principal()
	m := &edgev1.AccessKey{
		Id: id, Account: h.Account, Type: string(p.Type), UserId: p.UserID, UserName: p.UserName,
		Arn: p.ARN, RoleArn: p.RoleARN, Tags: p.Tags,
	}
	switch {
	case h.Role != nil:
		m.PrincipalId = h.Role.GetId()
	case h.User != nil:
		m.PrincipalId = h.User.GetId()
	}
	// Nothing was signed before there was a key, but by a clock that is slow.
	first, last := max(today-daysBefore, identity.DayOf(h.IssuedAt)-1), today+daysAhead
	m.FirstDay = int32(first)
	if s := h.Session; s != nil {
		m.Session = sessionMessage(s)
		last = min(last, s.GetExpiresAt()/daySeconds)
	}
	for _, region := range regions {
		m.SigningKeys = append(m.SigningKeys, signingKeys(secret, region, first, last))
	}
	return m
}

func sessionMessage(s *statev1.Session) *edgev1.AccessSession {
	m := &edgev1.AccessSession{
		TokenHash: s.GetTokenHash(), IssuedAt: s.GetCreatedAt(), ExpiresAt: s.GetExpiresAt(), SourceIdentity: s.GetSourceIdentity(),
	}
	managed := len(s.GetPolicies()) - len(s.GetPolicyArns())
	for i, document := range s.GetPolicies() {
		p := &edgev1.NamedPolicy{Name: "inline", Document: document}
		if i >= managed {
			p.Name = s.GetPolicyArns()[i-managed]
		}
		m.Policies = append(m.Policies, p)
	}
	return m
}

// signingKeys derives the keys of one region for the days from first to last.
func signingKeys(secret, region string, first, last int64) *edgev1.SigningKeys {
	m := &edgev1.SigningKeys{Region: region}
	for day := first; day <= last; day++ {
		date := time.Unix(day*daySeconds, 0).UTC().Format("20060102")
		key := sigv4.DeriveKey(secret, date, region, signingService)
		m.Keys = append(m.Keys, key[:]...)
	}
	return m
}

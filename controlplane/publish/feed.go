package publish

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posternhq/postern/controlplane/snapshot"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/internal/sethash"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// feed holds the newest resources of one domain for all its streams. One
// goroutine follows the store; streams are woken and take what they lack.
//
// Entries stand in a list by their last change, newest first. What a client at
// version X lacks is the head of that list down to X: each name once, in its
// newest form, whatever happened in between, at the cost of its own length.
type feed struct {
	domain syncv1.Domain
	name   string // edge, dns
	source snapshot.Source
	sign   Signer

	mu sync.RWMutex
	// index is the version of what is here; streams go there once due says so.
	// due <= index: versions that bring this domain nothing wait a moment.
	index   uint64
	due     uint64
	moved   chan struct{} // closed and replaced when index grows
	entries map[string]*entry
	newest  *entry
	// floor: removals up to this index may be forgotten, so a client below it
	// needs everything.
	floor   uint64
	removed []tombstone
	scopes  map[string]*scope
	streams map[*subscription]struct{}
	times   [timesKept]publishTime
	timesAt int
}

// entry is the newest form of a resource; one without a resource is a removal
// that clients still have to hear of.
type entry struct {
	name         string
	vpc          string
	resource     *snapshot.Resource
	index        uint64
	newer, older *entry
}

type tombstone struct {
	name  string
	index uint64
}

const (
	quietPerStream = 50 * time.Microsecond
	quietLeast     = 2 * time.Millisecond
	quietMost      = 500 * time.Millisecond

	tombstonesKept = 8 << 10
	timesKept      = 1 << 10
)

type publishTime struct {
	index uint64
	at    time.Time
}

func newFeed(domain syncv1.Domain, source snapshot.Source, sign Signer) *feed {
	return &feed{
		domain: domain, name: strings.ToLower(strings.TrimPrefix(domain.String(), "DOMAIN_")), source: source, sign: sign, entries: map[string]*entry{}, moved: make(chan struct{}),
		scopes: map[string]*scope{}, streams: map[*subscription]struct{}{},
	}
}

// run follows the store until ctx ends.
func (f *feed) run(ctx context.Context, store Store) {
	var quiet <-chan time.Time // nil: nothing waits
	for {
		stored := store.Watch()
		if v := store.View(); v.Index() > f.at() {
			switch {
			case f.update(v):
				f.release()
				quiet = nil
			case quiet == nil:
				quiet = time.After(f.quietGap())
			}
		}
		select {
		case <-stored:
		case <-quiet:
			f.release()
			quiet = nil
		case <-ctx.Done():
			return
		}
	}
}

// quietGap is how long a version without news for this domain may wait. Most
// versions are such, and each costs a message to every stream: when a thousand
// edges register, a million. The more streams, the longer they are collected.
func (f *feed) quietGap() time.Duration {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return min(max(time.Duration(len(f.streams))*quietPerStream, quietLeast), quietMost)
}

// release has all streams go to the newest version.
func (f *feed) release() {
	f.mu.Lock()
	wake := make([]*subscription, 0, len(f.streams))
	if f.due < f.index {
		f.due = f.index
		for s := range f.streams {
			wake = append(wake, s)
		}
	}
	f.mu.Unlock()
	for _, s := range wake {
		s.poke()
	}
}

// update takes what the source makes of a View. It returns whether that holds
// anything for clients.
func (f *feed) update(v *state.View) (news bool) {
	changed, gone, full := f.source.Update(v)
	f.mu.Lock()
	defer f.mu.Unlock()
	if full {
		changed, gone = f.difference(changed)
	}
	for _, r := range changed {
		f.put(r.Name, r, v.Index())
	}
	for _, name := range gone {
		f.put(name, nil, v.Index())
	}
	f.forget()
	f.index = v.Index()
	f.timesAt = (f.timesAt + 1) % timesKept
	f.times[f.timesAt] = publishTime{v.Index(), time.Now()}
	close(f.moved)
	f.moved = make(chan struct{})
	return len(changed)+len(gone) > 0
}

// difference reduces everything there is to what differs from what there was.
func (f *feed) difference(all []*snapshot.Resource) (changed []*snapshot.Resource, gone []string) {
	there := make(map[string]bool, len(all))
	for _, r := range all {
		there[r.Name] = true
		if e := f.entries[r.Name]; e == nil || e.resource == nil || e.resource.Hash != r.Hash {
			changed = append(changed, r)
		}
	}
	for name, e := range f.entries {
		if e.resource != nil && !there[name] {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	return changed, gone
}

// put makes r the newest form of a name; nil removes it.
func (f *feed) put(name string, r *snapshot.Resource, index uint64) {
	e := f.entries[name]
	if e == nil {
		if r == nil {
			return
		}
		e = &entry{name: name}
		f.entries[name] = e
	} else {
		f.unlink(e)
	}
	if e.resource != nil {
		f.sum(e.vpc, sethash.ElementOf(name, e.resource.Hash), (*sethash.Hash).Remove)
	}
	e.resource, e.index = r, index
	if r != nil {
		e.vpc = r.VPC
		f.sum(e.vpc, sethash.ElementOf(name, r.Hash), (*sethash.Hash).Add)
	} else {
		f.removed = append(f.removed, tombstone{name, index})
	}
	if e.older = f.newest; e.older != nil {
		e.older.newer = e
	}
	f.newest = e
}

func (f *feed) unlink(e *entry) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		f.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	}
	e.newer, e.older = nil, nil
}

func (f *feed) sum(vpc string, el *sethash.Element, op func(*sethash.Hash, *sethash.Element)) {
	for _, s := range f.scopes {
		if s.holds(vpc) {
			op(&s.hash, el)
		}
	}
}

// forget drops the oldest removals beyond the bound.
func (f *feed) forget() {
	if len(f.removed) <= 2*tombstonesKept {
		return
	}
	drop := len(f.removed) - tombstonesKept
	for _, t := range f.removed[:drop] {
		// A name that came back, or was removed once more, has another entry.
		if e := f.entries[t.name]; e != nil && e.resource == nil && e.index == t.index {
			f.unlink(e)
			delete(f.entries, t.name)
		}
		f.floor = t.index
	}
	f.removed = slices.Clone(f.removed[drop:])
}

// at is the newest index.
func (f *feed) at() uint64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.index
}

// now is the newest index, the one that streams go to, and a channel that is
// closed when there is a newer one.
func (f *feed) now() (index, due uint64, moved <-chan struct{}) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.index, f.due, f.moved
}

// published returns when this node saw an index, if that is not long ago.
func (f *feed) published(index uint64) (time.Time, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for i := range timesKept {
		t := f.times[(f.timesAt-i+timesKept)%timesKept]
		if t.index == index && index != 0 {
			return t.at, true
		}
		if t.index < index {
			break
		}
	}
	return time.Time{}, false
}

// join adds a stream and returns its scope.
func (f *feed) join(s *subscription, vpcs []string) *scope {
	vpcs = slices.Compact(slices.Sorted(slices.Values(vpcs)))
	key := strings.Join(vpcs, ",")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams[s] = struct{}{}
	sc := f.scopes[key]
	if sc == nil {
		sc = newScope(f, key, vpcs)
		for name, e := range f.entries {
			if e.resource != nil && sc.holds(e.vpc) {
				sc.hash.Add(sethash.ElementOf(name, e.resource.Hash))
			}
		}
		f.scopes[key] = sc
	}
	sc.streams++
	return sc
}

func (f *feed) leave(s *subscription, sc *scope) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.streams, s)
	// The scope of everything stays: edges come and go, its sum is dear.
	if sc.streams--; sc.streams == 0 && sc.key != "" {
		delete(f.scopes, sc.key)
	}
}

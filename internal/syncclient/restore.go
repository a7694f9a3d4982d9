package syncclient

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// restored is the state that a cache file leads to.
type restored struct {
	set    *set
	bodies map[string][]byte
	// held: rejected resources, each with its last good form if there is one.
	held map[string][]byte
	// end is the offset behind the last verified snapshot, base that behind the full one.
	end, base int64
	// broken says why reading ended early, nil if it did not.
	broken error
	// outdated: later versions than this were once on disk, and so acknowledged.
	outdated bool

	previous map[string][]byte // what the last snapshot replaced or removed
}

func nothing() *restored {
	return &restored{set: newSet(), bodies: map[string][]byte{}, held: map[string][]byte{}}
}

type verifier func(domain int32, index uint64, setHash, signature, signer []byte) error

// replay reads a cache as far as it can be verified. It never fails: what is
// unusable is simply not there.
func replay(r io.Reader, size int64, domain syncv1.Domain, e *envelope, verify verifier) *restored {
	out := nothing()
	in, err := readFrames(r, size, e)
	if err != nil {
		out.broken = err
		return out
	}
	var parts assembly
	for {
		m, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			if len(parts.parts) > 0 {
				out.broken = errTorn
			}
			return out
		case err == nil && m.GetDomain() != domain:
			err = fmt.Errorf("frame of domain %v", m.GetDomain())
		case err == nil && m.GetRejections() && len(parts.parts) > 0:
			err = errors.New("rejections inside a snapshot")
		case err == nil && m.GetRejections():
			out.reject(m.GetRejected())
			out.end = in.end
		case err == nil:
			var whole []*syncv1.Snapshot
			if whole, err = parts.add(m.GetSnapshot()); err == nil && whole != nil {
				err = out.apply(domain, whole, verify)
				if err == nil {
					out.end = in.end
				}
				if whole[0].GetFull() {
					out.base = in.end
				}
			}
		}
		if errors.Is(err, errUnopened) {
			// It may hold a later version than those before it.
			out = nothing()
		}
		if err != nil {
			out.broken = err
			out.outdated = errors.Is(err, errDamaged) && in.outlived()
			return out
		}
	}
}

func (out *restored) apply(domain syncv1.Domain, parts []*syncv1.Snapshot, verify verifier) error {
	if !parts[0].GetFull() && out.set.index == 0 {
		return errors.New("changes without a full snapshot before them")
	}
	ch, err := out.set.verify(domain, parts, verify)
	if err != nil {
		return err
	}
	out.set.commit(ch)
	out.previous = map[string][]byte{}
	if ch.update.Full {
		out.previous, out.bodies = out.bodies, map[string][]byte{}
	}
	for _, r := range ch.update.Changed {
		if old, ok := out.bodies[r.Name]; ok {
			out.previous[r.Name] = old
		}
		out.bodies[r.Name] = r.Body
	}
	for _, name := range ch.update.Removed {
		delete(out.bodies, name)
	}
	return nil
}

// reject notes all that was rejected once the last snapshot was installed.
func (out *restored) reject(names []string) {
	held := map[string][]byte{}
	for _, name := range names {
		if _, ok := out.set.hashes[name]; !ok {
			continue
		}
		good, ok := out.held[name]
		if !ok {
			good = out.previous[name] // nil: it never had a good form
		}
		held[name] = good
	}
	out.held = held
}

// updates are the calls of Install that lead to the state: everything at once,
// but that resources which were rejected come in their last good form first.
func (out *restored) updates() []Update {
	first := Update{Index: out.set.index, Full: true}
	second := Update{Index: out.set.index}
	for _, name := range slices.Sorted(maps.Keys(out.bodies)) {
		r := Resource{Name: name, Hash: out.set.hashes[name], Body: out.bodies[name]}
		if good, ok := out.held[name]; ok {
			second.Changed = append(second.Changed, r)
			if good == nil {
				continue
			}
			r.Body = good
		}
		first.Changed = append(first.Changed, r)
	}
	if len(second.Changed) == 0 {
		return []Update{first}
	}
	return []Update{first, second}
}

// restore installs what the cache holds.
func (c *Client) restore() error {
	if c.cfg.Dir == "" {
		return nil
	}
	if c.outgrown() {
		c.cfg.Logger.Warn("cache not used: the cluster may take this place for one that denies until it knows the new staleness bound",
			"bound", c.bound(), "registered", c.promised)
		return nil
	}
	path := filepath.Join(c.cfg.Dir, cacheFile)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open cache: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("open cache: %w", err)
	}
	out := replay(f, info.Size(), c.cfg.Domain, c.envelope, c.cfg.Verify)
	if out.broken != nil {
		c.cfg.Logger.Warn("cache not readable to its end; used up to its last verified state", "version", out.set.index, "error", out.broken)
	}
	if out.outdated {
		// To serve an older version than was acknowledged would be wrong; to serve
		// nothing until a server is reached is only late.
		_ = f.Close()
		return dropCache(c.cfg.Dir)
	}
	if out.set.index == 0 {
		// The file stays until a snapshot replaces it: it may be good under
		// another CA than the one that is trusted now, or another key.
		_ = f.Close()
		return nil
	}
	if err := f.Truncate(out.end); err != nil {
		_ = f.Close()
		return fmt.Errorf("cut cache: %w", err)
	}
	c.cache = &cache{envelope: c.envelope, f: f, size: out.end, base: out.base}
	c.set = out.set
	for _, u := range out.updates() {
		c.use(u)
	}
	return nil
}

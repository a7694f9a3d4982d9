package policy

// pathMask tells rules apart by one byte of the path: of rules for different
// stages, methods and resources it leaves those whose patterns can have that
// byte there, so that few are left to be matched.
type pathMask struct {
	at    int        // the byte's place in the sixth part of the ARN
	class [256]uint8 // by the byte, an index of masks
	masks []uint64
	short uint64 // the rules that can match a path that ends before
}

const (
	// maxPathMasks bytes are looked at; more would cost as much as they spare.
	maxPathMasks = 3
	// maxPathAt is how far into the path they are looked for.
	maxPathAt = 64
	// minPathRules: fewer rules are matched as fast as they are told apart.
	minPathRules = 3
)

func (m *pathMask) possible(path string) uint64 {
	if m.at >= len(path) {
		return m.short
	}
	return m.masks[m.class[path[m.at]]]
}

// byteSet is a set of bytes.
type byteSet [4]uint64

func (s *byteSet) add(b byte)      { s[b/64] |= 1 << (b % 64) }
func (s *byteSet) has(b byte) bool { return s[b/64]>>(b%64)&1 != 0 }

func (s *byteSet) meets(t *byteSet) bool {
	return s[0]&t[0]|s[1]&t[1]|s[2]&t[2]|s[3]&t[3] != 0
}

var anyByte = byteSet{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}

// bytesAt are the bytes that the paths of a set that is alike can have at a
// place; open says that one of them can end before, or have anything there.
func (s *resourceSet) bytesAt(at int) (set byteSet, open bool) {
	for i := range s.paths {
		lead, at := s.lead, at
		if at >= len(lead) {
			lead, at = s.paths[i].leading(), at-len(lead)
		}
		if at >= len(lead) {
			return anyByte, true
		}
		set.add(lead[at])
	}
	return set, false
}

// newPathMasks picks the bytes that tell most pairs of rules apart. headed are
// the rules whose paths are known behind their heads; all others stay.
func newPathMasks(rules []rule, headed uint64) []pathMask {
	var list []int // the rules that are headed
	for i := range rules {
		if headed>>i&1 != 0 {
			list = append(list, i)
		}
	}
	if len(list) < minPathRules {
		return nil
	}
	var sets [maxPathAt][]byteSet
	for at := range sets {
		for _, i := range list {
			set, _ := rules[i].resources.bytesAt(at)
			sets[at] = append(sets[at], set)
		}
	}
	type pair struct{ i, j int }
	var alike []pair
	for i := range list {
		for j := range i {
			alike = append(alike, pair{i, j})
		}
	}
	var out []pathMask
	for len(out) < maxPathMasks {
		best, told := -1, 0
		for at := range sets {
			n := 0
			for _, p := range alike {
				if !sets[at][p.i].meets(&sets[at][p.j]) {
					n++
				}
			}
			if n > told {
				best, told = at, n
			}
		}
		if best < 0 {
			break
		}
		left := alike[:0]
		for _, p := range alike {
			if sets[best][p.i].meets(&sets[best][p.j]) {
				left = append(left, p)
			}
		}
		alike = left
		out = append(out, newPathMask(rules, headed, best))
	}
	return out
}

func newPathMask(rules []rule, headed uint64, at int) pathMask {
	m := pathMask{at: at}
	var byByte [256]uint64
	for i := range rules {
		set, open := anyByte, true
		if headed>>i&1 != 0 {
			set, open = rules[i].resources.bytesAt(at)
		}
		if open {
			m.short |= 1 << i
		}
		for b := range byByte {
			if set.has(byte(b)) {
				byByte[b] |= 1 << i
			}
		}
	}
	classes := make(map[uint64]uint8)
	for b, mask := range byByte {
		c, ok := classes[mask]
		if !ok {
			c = uint8(len(m.masks))
			classes[mask] = c
			m.masks = append(m.masks, mask)
		}
		m.class[b] = c
	}
	return m
}

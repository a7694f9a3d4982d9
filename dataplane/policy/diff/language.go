package diff

import (
	"encoding/binary"
	"slices"
	"strings"
	"unicode"
)

// A language is a set of texts as a deterministic automaton whose states are
// made when they are first reached. It belongs to one comparison.
type language interface {
	start() int32
	step(state int32, r rune) int32
	accepts(state int32) bool
	// dead: no continuation is accepted. full: every one is.
	dead(state int32) bool
	full(state int32) bool
	// runes names the characters that the language tells from their neighbours.
	runes(add func(rune))
}

func contains(l language, text string) bool {
	s := l.start()
	for _, r := range text {
		if s = l.step(s, r); l.dead(s) {
			return false
		}
	}
	return l.accepts(s)
}

// class is a set of characters.
type class func(rune) bool

type itemKind uint8

const (
	itemRune itemKind = iota // this character
	itemFold                 // this character in any case
	itemOne                  // one character of the class
	itemStar                 // any number of them
	itemEnd                  // the end of a glob
)

// item is a part of a glob.
type item struct {
	kind  itemKind
	r     rune
	class class
	any   bool // the class holds everything
}

// globs is the union of globs: its automaton is made by subset construction
// over positions in the globs, laid end to end.
type globs struct {
	items  []item
	starts []int32
	sets   [][]int32 // by state
	byKey  map[string]int32
	next   map[uint64]int32
	end    []bool
	all    []bool
}

func newGlobs(list [][]item) *globs {
	g := &globs{byKey: make(map[string]int32), next: make(map[uint64]int32)}
	for _, items := range list {
		g.starts = append(g.starts, int32(len(g.items)))
		g.items = append(append(g.items, items...), item{kind: itemEnd})
	}
	g.state(nil) // 0 is dead
	return g
}

// state interns the set of positions reached from these without reading.
func (g *globs) state(positions []int32) int32 {
	for i := 0; i < len(positions); i++ {
		if g.items[positions[i]].kind == itemStar {
			positions = append(positions, positions[i]+1)
		}
	}
	slices.Sort(positions)
	positions = slices.Compact(positions)
	end, all := false, false
	for _, p := range positions {
		end = end || g.items[p].kind == itemEnd
		if g.items[p].kind == itemStar && g.items[p].any && g.items[p+1].kind == itemEnd {
			end, all = true, true
			positions = []int32{p, p + 1} // whatever else might match, this does
			break
		}
	}
	key := make([]byte, 0, 4*len(positions))
	if all {
		key = append(key, '*') // no other key has one byte
	} else {
		for _, p := range positions {
			key = binary.LittleEndian.AppendUint32(key, uint32(p))
		}
	}
	if s, ok := g.byKey[string(key)]; ok {
		return s
	}
	s := int32(len(g.sets))
	g.byKey[string(key)] = s
	g.sets = append(g.sets, positions)
	g.end, g.all = append(g.end, end), append(g.all, all)
	return s
}

func (g *globs) start() int32 { return g.state(slices.Clone(g.starts)) }

func (g *globs) step(state int32, r rune) int32 {
	if state == 0 || g.all[state] {
		return state
	}
	key := uint64(state)<<32 | uint64(uint32(r))
	if s, ok := g.next[key]; ok {
		return s
	}
	var to []int32
	for _, p := range g.sets[state] {
		switch it := &g.items[p]; it.kind {
		case itemRune:
			if r == it.r {
				to = append(to, p+1)
			}
		case itemFold:
			if slices.Contains(fold(it.r), r) {
				to = append(to, p+1)
			}
		case itemOne:
			if it.any || it.class(r) {
				to = append(to, p+1)
			}
		case itemStar:
			if it.any || it.class(r) {
				to = append(to, p)
			}
		}
	}
	s := g.state(to)
	g.next[key] = s
	return s
}

func (g *globs) accepts(state int32) bool { return g.end[state] }
func (g *globs) dead(state int32) bool    { return state == 0 }
func (g *globs) full(state int32) bool    { return g.all[state] }

func (g *globs) runes(add func(rune)) {
	for _, it := range g.items {
		switch it.kind {
		case itemRune:
			add(it.r)
		case itemFold:
			for _, r := range fold(it.r) {
				add(r)
			}
		}
	}
}

// fold is a character in all its cases.
func fold(r rune) []rune {
	out := []rune{r}
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		out = append(out, f)
	}
	return out
}

// exactly is the glob of one text.
func exactly(text string) []item {
	var out []item
	for _, r := range text {
		out = append(out, item{kind: itemRune, r: r})
	}
	return out
}

func anyClass(rune) bool   { return true }
func notColon(r rune) bool { return r != ':' }

// projection is the language of texts, made of pieces that separators divide,
// of which some pieces, with text around them, are in the inner language. The
// condition keys that follow from a caller are such projections of him.
type projection struct {
	inner language
	// before[i] stands before piece i, before[len(pieces)] after the last.
	before []string
	keep   []bool // which pieces are part of the text
	states []projected
	ids    map[projected]int32
}

type projected struct {
	piece int
	inner int32
}

const separator = '\x00'

func newProjection(inner language, before []string, keep []bool) *projection {
	return &projection{inner: inner, before: before, keep: keep, ids: make(map[projected]int32)}
}

func (p *projection) id(s projected) int32 {
	if id, ok := p.ids[s]; ok {
		return id
	}
	id := int32(len(p.states))
	p.ids[s] = id
	p.states = append(p.states, s)
	return id
}

func (p *projection) feed(state int32, text string) int32 {
	for _, r := range text {
		state = p.inner.step(state, r)
	}
	return state
}

func (p *projection) start() int32 { return p.id(projected{0, p.feed(p.inner.start(), p.before[0])}) }

func (p *projection) step(state int32, r rune) int32 {
	s := p.states[state]
	switch {
	case r == separator && s.piece+1 < len(p.keep):
		s.piece++
		s.inner = p.feed(s.inner, p.before[s.piece])
	case p.keep[s.piece]:
		s.inner = p.inner.step(s.inner, r)
	}
	return p.id(s)
}

func (p *projection) accepts(state int32) bool {
	s := p.states[state]
	return p.inner.accepts(p.feed(s.inner, p.before[len(p.keep)]))
}

func (p *projection) dead(state int32) bool { return p.inner.dead(p.states[state].inner) }
func (p *projection) full(state int32) bool { return p.inner.full(p.states[state].inner) }
func (p *projection) runes(add func(rune))  { p.inner.runes(add) }

// apply is the text that the projection makes of the pieces.
func (p *projection) apply(pieces []string) string {
	var b strings.Builder
	for i, keep := range p.keep {
		b.WriteString(p.before[i])
		if keep {
			b.WriteString(pieces[i])
		}
	}
	b.WriteString(p.before[len(p.keep)])
	return b.String()
}

// ranges is the language of texts of one form whose order is that of their
// characters, such as times in UTC, between bounds that are included.
type ranges struct {
	low, high []string
	states    []rangeState
	ids       map[string]int32
}

type rangeState struct {
	pos   int
	sides []byte // by range: which bounds the text so far runs along
}

const (
	outside  = 0
	inside   = 1
	alongLow = 2 // and alongHigh, or both
	alongUp  = 4
)

func newRanges(low, high []string) *ranges {
	return &ranges{low: low, high: high, ids: make(map[string]int32)}
}

func (l *ranges) id(s rangeState) int32 {
	key := string(binary.LittleEndian.AppendUint32(slices.Clone(s.sides), uint32(s.pos)))
	if id, ok := l.ids[key]; ok {
		return id
	}
	id := int32(len(l.states))
	l.ids[key] = id
	l.states = append(l.states, s)
	return id
}

func (l *ranges) start() int32 {
	s := rangeState{sides: make([]byte, len(l.low))}
	for i := range s.sides {
		s.sides[i] = alongLow | alongUp
	}
	return l.id(s)
}

func (l *ranges) step(state int32, r rune) int32 {
	s := l.states[state]
	out := rangeState{pos: s.pos + 1, sides: make([]byte, len(s.sides))}
	for i, side := range s.sides {
		if side == outside {
			continue
		}
		low, high := boundAt(l.low[i], s.pos), boundAt(l.high[i], s.pos)
		if side&alongLow != 0 && r < low || side&alongUp != 0 && r > high {
			continue
		}
		next := byte(inside)
		if side&alongLow != 0 && r == low {
			next |= alongLow
		}
		if side&alongUp != 0 && r == high {
			next |= alongUp
		}
		out.sides[i] = next
	}
	return l.id(out)
}

func boundAt(s string, i int) rune {
	if i < len(s) {
		return rune(s[i])
	}
	return -1
}

func (l *ranges) accepts(state int32) bool {
	return slices.ContainsFunc(l.states[state].sides, func(b byte) bool { return b != outside })
}

func (l *ranges) dead(state int32) bool { return !l.accepts(state) }
func (l *ranges) full(int32) bool       { return false }
func (l *ranges) runes(func(rune))      {}

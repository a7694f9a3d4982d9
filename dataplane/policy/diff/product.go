package diff

import (
	"encoding/binary"
	"slices"
	"unicode"
)

// budget is what a comparison may still spend, in steps of automata. It counts
// work, not time, so that equal questions have equal answers.
type budget struct {
	left int
}

func (b *budget) spend(n int) bool {
	b.left -= n
	return b.left > 0
}

func (b *budget) spent() bool { return b.left <= 0 }

// fresh are characters to stand for all that no policy mentions, one of each
// sort that a shape may ask for.
var fresh = [][]rune{
	[]rune("xyzwvutsrqponmlkjihgabcdef"),
	[]rune("0123456789"),
	[]rune("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
	[]rune("~!$&'()+,;=@%#^éøþßæœđħłŋ"),
}

// shapely are characters that shapes mention.
const shapely = "-_./:"

// alphabet is enough characters to tell apart all that languages tell apart:
// those that they name, and of each sort one that they don't. Control
// characters are in no request.
func alphabet(languages []language) []rune {
	named := map[rune]bool{}
	for _, l := range languages {
		l.runes(func(r rune) { named[r] = true })
	}
	for _, r := range shapely {
		named[r] = true
	}
	var out []rune
	for _, sort := range fresh {
		if i := slices.IndexFunc(sort, func(r rune) bool { return !named[r] }); i >= 0 {
			out = append(out, sort[i])
		}
	}
	var rest []rune
	for r := range named {
		if r >= ' ' && r != 0x7f || r == separator {
			rest = append(rest, r)
		}
	}
	slices.SortFunc(rest, func(a, b rune) int {
		if la, lb := plain(a), plain(b); la != lb {
			return lb - la
		}
		return int(a) - int(b)
	})
	return append(out, rest...)
}

// plain says how likely a character is to look well in a witness.
func plain(r rune) int {
	switch {
	case unicode.IsLower(r) && r < 0x80:
		return 3
	case unicode.IsDigit(r) && r < 0x80:
		return 2
	case unicode.IsUpper(r) && r < 0x80:
		return 1
	}
	return 0
}

// shortest finds a shortest text over letters that is in all languages of in
// and in none of out, by breadth-first search of their product. Found texts
// that accept refuses are passed over; then a miss proves nothing, and refused
// is true.
func shortest(letters []rune, in, out []language, accept func(string) bool, b *budget) (text string, ok, refused bool) {
	all := slices.Concat(in, out)
	n := len(all)
	type node struct {
		states []int32
		parent int32
		letter rune
	}
	var queue []node
	seen := map[string]bool{}
	key := make([]byte, 0, 4*n)
	// visit adds a product state unless nothing good can follow it.
	visit := func(states []int32, parent int32, letter rune) {
		key = key[:0]
		for i, s := range states {
			switch l := all[i]; {
			case i < len(in) && l.dead(s), i >= len(in) && l.full(s):
				return
			case i >= len(in) && l.dead(s):
				s = -1 // it will never speak again: one state for all such
			}
			key = binary.LittleEndian.AppendUint32(key, uint32(s))
		}
		if !seen[string(key)] {
			seen[string(key)] = true
			queue = append(queue, node{slices.Clone(states), parent, letter})
		}
	}
	states := make([]int32, n)
	for i, l := range all {
		states[i] = l.start()
	}
	visit(states, -1, 0)
	for at := 0; at < len(queue); at++ {
		from := queue[at].states
		good := true
		for i, l := range all {
			if l.accepts(from[i]) != (i < len(in)) {
				good = false
				break
			}
		}
		if good {
			var text []rune
			for i := int32(at); queue[i].parent >= 0; i = queue[i].parent {
				text = append(text, queue[i].letter)
			}
			slices.Reverse(text)
			if s := string(text); accept == nil || accept(s) {
				return s, true, refused
			}
			refused = true
		}
		if !b.spend((n + 1) * len(letters)) {
			return "", false, refused
		}
		for _, r := range letters {
			for i, l := range all {
				states[i] = l.step(from[i], r)
			}
			visit(states, int32(at), r)
		}
	}
	return "", false, refused
}

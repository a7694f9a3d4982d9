package sethash

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func content(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }

// Whatever the order of additions and removals, the sum is that of the set.
func TestSumDependsOnTheSetAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h Hash
		set := map[string]string{}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			name := fmt.Sprint("n", rapid.IntRange(0, 8).Draw(t, "name"))
			if old, ok := set[name]; ok {
				h.Remove(ElementOf(name, content(old)))
				delete(set, name)
			}
			if rapid.Bool().Draw(t, "put") {
				set[name] = rapid.StringN(0, 3, 3).Draw(t, "content")
				h.Add(ElementOf(name, content(set[name])))
			}
		}
		names := make([]string, 0, len(set))
		for name := range set {
			names = append(names, name)
		}
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		var again Hash
		for _, name := range names {
			again.Add(ElementOf(name, content(set[name])))
		}
		if h.Sum() != again.Sum() {
			t.Fatalf("sum of %v depends on how it was built", set)
		}
	})
}

func TestSumTellsSetsApart(t *testing.T) {
	sums := map[[Size]byte]string{}
	note := func(what string, h Hash) {
		sum := h.Sum()
		if other, ok := sums[sum]; ok {
			t.Errorf("%s and %s have one sum", what, other)
		}
		sums[sum] = what
	}
	one := func(name, c string) Hash {
		var h Hash
		h.Add(ElementOf(name, content(c)))
		return h
	}
	note("the empty set", Hash{})
	note("a=1", one("a", "1"))
	note("a=2", one("a", "2"))
	note("b=1", one("b", "1"))
	var twice, swapped, straight Hash
	twice = one("a", "1")
	twice.Add(ElementOf("a", content("1")))
	note("a=1 twice", twice) // XOR would cancel
	straight = one("a", "1")
	straight.Add(ElementOf("b", content("2")))
	note("a=1 b=2", straight)
	swapped = one("a", "2")
	swapped.Add(ElementOf("b", content("1")))
	note("a=2 b=1", swapped)
}

func BenchmarkReplaceElement(b *testing.B) {
	var h Hash
	c := content("x")
	b.ReportAllocs()
	for b.Loop() {
		e := ElementOf("api/a1b2c3d4e5/stage/prod", c)
		h.Add(e)
		h.Remove(e)
	}
}

// Package client is the caches that clients bring with them: what a JVM, a
// browser or an operating system goes on believing after it has asked its
// resolver. It is pure; whoever looks names up for a client keeps the answers.
package client

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Forever is how long a cache keeps what it never forgets.
const Forever = time.Duration(math.MaxInt64)

// Cache is how long a client keeps what it was told, in DNS time.
type Cache struct {
	Name string
	// Positive is about answers with records, Negative about NXDOMAIN and NODATA.
	// Failures, such as SERVFAIL, are not kept.
	Positive, Negative Rule
	// Help says whose cache it is, in one line.
	Help string
}

// Rule keeps an answer for its TTL, but not shorter than Min nor longer than
// Max. The zero Rule keeps nothing; with Min = Max the TTL is not looked at.
type Rule struct{ Min, Max time.Duration }

// Keep is how long an answer of this TTL is kept.
func (r Rule) Keep(ttl time.Duration) time.Duration { return min(max(ttl, r.Min), r.Max) }

// Keep is how long the client believes an answer. The TTL of a negative one is
// that of RFC 2308.
func (c Cache) Keep(positive bool, ttl time.Duration) time.Duration {
	if positive {
		return c.Positive.Keep(ttl)
	}
	return c.Negative.Keep(ttl)
}

// presets follow what their owners document as the default.
var presets = []Cache{
	{Name: "none", Help: "keeps nothing"},
	{Name: "glibc", Help: "getaddrinfo without nscd; keeps nothing"},
	{Name: "go", Help: "net.Resolver; keeps nothing"},
	{Name: "node", Help: "dns.lookup; keeps nothing"},
	{Name: "nscd", Positive: Rule{0, Forever}, Negative: fixed(20 * time.Second), Help: "getaddrinfo with nscd: the TTL, 20s negative"},
	{Name: "systemd-resolved", Positive: Rule{0, 2 * time.Hour}, Negative: Rule{0, 2 * time.Hour}, Help: "the TTL, at most 2h"},
	{Name: "windows", Positive: Rule{0, 24 * time.Hour}, Negative: Rule{5 * time.Second, 5 * time.Minute}, Help: "the TTL, at most 1 day, 5s to 5min negative"},
	{Name: "jvm", Positive: fixed(30 * time.Second), Negative: fixed(10 * time.Second), Help: "networkaddress.cache.ttl: 30s, 10s negative"},
	{Name: "jvm-security-manager", Positive: fixed(Forever), Negative: fixed(10 * time.Second), Help: "a JVM with a security manager: for ever, 10s negative"},
	{Name: "browser", Positive: fixed(time.Minute), Negative: fixed(time.Minute), Help: "60s, whatever the TTL"},
}

func fixed(d time.Duration) Rule { return Rule{d, d} }

// Presets are the caches that have a name.
func Presets() []Cache { return slices.Clone(presets) }

// Parse reads the name of a preset, or two durations as in "30s/10s": how long
// answers are kept, and negative ones, whatever their TTL.
func Parse(text string) (Cache, error) {
	for _, c := range presets {
		if c.Name == text {
			return c, nil
		}
	}
	positive, negative, ok := strings.Cut(text, "/")
	p, err := time.ParseDuration(positive)
	n, err2 := time.ParseDuration(negative)
	if !ok || err != nil || err2 != nil || p < 0 || n < 0 {
		var names []string
		for _, c := range presets {
			names = append(names, c.Name)
		}
		return Cache{}, fmt.Errorf("client cache %q is neither one of %s nor two durations such as 30s/10s", text, strings.Join(names, ", "))
	}
	return Cache{Name: text, Positive: fixed(p), Negative: fixed(n), Help: fmt.Sprintf("%v, %v negative", p, n)}, nil
}

// OfProfile is the cache that a propagation profile implies: under those of AWS's
// minutes that of a JVM, none otherwise.
func OfProfile(profile string) Cache {
	name := "none"
	if profile == "aws" || profile == "hostile" {
		name = "jvm"
	}
	c, _ := Parse(name) // a preset
	return c
}

package service

import (
	"encoding/base64"
	"slices"
	"strings"

	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
)

// filters are the filters of one Describe action: for each name the values
// that a thing has under it. Values of a filter are alternatives, filters add up.
type filters[T any] map[string]func(T) []string

// Limits on what one request may ask.
const (
	maxFilterValues = 200
	minPage         = 5
	maxPage         = 1000
)

// compile checks the filters of a request and returns their conjunction.
func (f filters[T]) compile(given []*ec2v1.Filter) (match func(T) bool, err error) {
	type condition struct {
		values   func(T) []string
		patterns []string
	}
	var conditions []condition
	total := 0
	for _, g := range given {
		values := f[g.GetName()]
		if tagKey, ok := strings.CutPrefix(g.GetName(), "tag:"); ok && values == nil {
			if byTag := f["tag:"]; byTag != nil {
				values = func(t T) []string { return tagged(byTag(t), tagKey) }
			}
		}
		if values == nil || g.GetName() == "tag:" {
			return nil, invalidValue("The filter '%s' is invalid", g.GetName())
		}
		if len(g.GetValues()) == 0 {
			return nil, invalidValue("The filter '%s' has no values", g.GetName())
		}
		if total += len(g.GetValues()); total > maxFilterValues {
			return nil, invalidValue("The maximum number of filter values specified on a single call is %d", maxFilterValues)
		}
		conditions = append(conditions, condition{values, g.GetValues()})
	}
	return func(t T) bool {
		for _, c := range conditions {
			has := c.values(t)
			if !slices.ContainsFunc(c.patterns, func(p string) bool {
				return slices.ContainsFunc(has, func(value string) bool { return wildcard(p, value) })
			}) {
				return false
			}
		}
		return true
	}, nil
}

// withTags adds the filters that every tagged thing has. "tag:" stands for the
// family tag:KEY and yields the tags as KEY, VALUE, KEY, VALUE.
func (f filters[T]) withTags(tags func(T) []*ec2v1.Tag) filters[T] {
	f["tag-key"] = func(t T) []string {
		var keys []string
		for _, tag := range tags(t) {
			keys = append(keys, tag.GetKey())
		}
		return keys
	}
	f["tag-value"] = func(t T) []string {
		var values []string
		for _, tag := range tags(t) {
			values = append(values, tag.GetValue())
		}
		return values
	}
	f["tag:"] = func(t T) []string {
		var pairs []string
		for _, tag := range tags(t) {
			pairs = append(pairs, tag.GetKey(), tag.GetValue())
		}
		return pairs
	}
	return f
}

func tagged(pairs []string, key string) []string {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == key {
			return pairs[i+1 : i+2]
		}
	}
	return nil
}

// wildcard matches a filter value: * is any text, ? one character, and a
// backslash takes the meaning from what follows it. It runs in
// O(len(pattern) × len(text)): it only ever goes back to the last star.
func wildcard(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	i, j := 0, 0
	star, resume := -1, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, resume = i, j
			i++
			continue
		case i < len(p) && p[i] == '\\' && i+1 < len(p) && p[i+1] == t[j]:
			i += 2
			j++
			continue
		case i < len(p) && (p[i] == '?' || p[i] == t[j] && !(p[i] == '\\' && i+1 < len(p))):
			i++
			j++
			continue
		case star < 0:
			return false
		}
		resume++
		i, j = star+1, resume
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// boolText is how filters see a boolean.
func boolText(b bool) []string {
	if b {
		return []string{"true"}
	}
	return []string{"false"}
}

// page is the part of a listing that a request asks for.
type page struct {
	after string
	size  int // 0: all
}

// pageOf checks a request's MaxResults and NextToken. A caller that names ids
// gets all of them at once, which MaxResults would contradict.
func pageOf(maxResults *int32, nextToken *string, idsParameter string, ids []string) (page, error) {
	var p page
	if maxResults != nil {
		if len(ids) > 0 {
			return p, invalidCombination("The parameter %s cannot be used with the parameter maxResults", idsParameter)
		}
		switch n := *maxResults; {
		case n < minPage:
			return p, invalidValue("Value ( %d ) for parameter maxResults is invalid. Expecting a value greater than or equal to %d.", n, minPage)
		case n > maxPage:
			return p, invalidValue("Value ( %d ) for parameter maxResults is invalid. Expecting a value less than or equal to %d.", n, maxPage)
		default:
			p.size = int(n)
		}
	}
	if token := deref(nextToken); token != "" {
		text, err := base64.RawURLEncoding.DecodeString(token)
		after, ok := strings.CutPrefix(string(text), pageTokenPrefix)
		if err != nil || !ok {
			return p, invalidValue("Invalid value '%s' for parameter nextToken", token)
		}
		p.after = after
	}
	return p, nil
}

const pageTokenPrefix = "after:"

// cut returns the page of things, which it sorts by id, and the token of the
// next one. The token holds the last id shown, so a page never repeats or skips
// anything that was there all the time.
func cut[T any](p page, things []T, id func(T) string) ([]T, *string) {
	slices.SortFunc(things, func(a, b T) int { return strings.Compare(id(a), id(b)) })
	if p.after != "" {
		i, found := slices.BinarySearchFunc(things, p.after, func(t T, after string) int { return strings.Compare(id(t), after) })
		if found {
			i++
		}
		things = things[i:]
	}
	if p.size == 0 || len(things) <= p.size {
		return things, nil
	}
	things = things[:p.size]
	token := base64.RawURLEncoding.EncodeToString([]byte(pageTokenPrefix + id(things[len(things)-1])))
	return things, &token
}

// pick returns the things with the given ids, or all if none is given. It
// complains about ids that no thing has.
func pick[T any](k idKind, things []T, ids []string, id func(T) string) ([]T, error) {
	if len(ids) == 0 {
		return things, nil
	}
	for _, want := range ids {
		if err := k.check(want); err != nil {
			return nil, err
		}
	}
	var picked []T
	found := make(map[string]bool, len(ids))
	for _, t := range things {
		if slices.Contains(ids, id(t)) {
			picked = append(picked, t)
			found[id(t)] = true
		}
	}
	var lost []string
	for _, want := range ids {
		if !found[want] && !slices.Contains(lost, want) {
			lost = append(lost, want)
		}
	}
	if len(lost) > 0 {
		return nil, k.missing(lost...)
	}
	return picked, nil
}

func keep[T any](things []T, match func(T) bool) []T {
	return slices.DeleteFunc(things, func(t T) bool { return !match(t) })
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

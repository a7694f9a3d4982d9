package resolver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Options are what operators of resolvers set against the TTLs of the zones.
// Durations are DNS time; the zero Options keep every answer for its TTL.
type Options struct {
	// TTL and NegativeTTL bound how long answers are kept.
	TTL, NegativeTTL Bounds
	// ServeStale is how long after its end an answer may still be given while
	// every authority fails (RFC 8767); 0: not at all.
	ServeStale time.Duration
	// Prefetch: an answer that is asked for in the last tenth of its time is
	// asked for again, for those who come next.
	Prefetch bool
	// Capacity is the number of names that each cache holds, of which the least
	// recently used leave first; 0: DefaultCapacity.
	Capacity int
}

// DefaultCapacity is how many names a cache holds unless Options say otherwise.
const DefaultCapacity = 10_000

// Bounds are a floor and a ceiling, Min <= Max unless there is no ceiling.
type Bounds struct {
	Min time.Duration
	Max time.Duration // 0: no ceiling; Nothing: none is kept at all
}

// Nothing is the ceiling of a cache that keeps no answers.
const Nothing time.Duration = -1

// Apply returns a TTL within the bounds.
func (b Bounds) Apply(ttl time.Duration) time.Duration {
	ttl = max(ttl, b.Min)
	if b.Max != 0 {
		ttl = min(ttl, max(b.Max, 0))
	}
	return ttl
}

// Limits of ParseOptions.
const (
	maxOptions  = 512 // bytes
	maxDuration = 365 * 24 * time.Hour
	maxCapacity = 10_000_000
)

const optionNames = "ttl, ttl-min, ttl-max, negative-ttl, negative-ttl-min, negative-ttl-max, serve-stale, prefetch, capacity"

// ParseOptions reads options separated by commas, each at most once:
//
//	ttl-min=D  ttl-max=D  negative-ttl-min=D  negative-ttl-max=D
//	ttl=D  negative-ttl=D    both bounds
//	serve-stale=D  prefetch  capacity=N
//
// A duration D is a number of seconds, as in DNS, or has units: 300, 90s, 1h30m,
// 1d, 1w, up to 365 days. A ceiling of 0 keeps nothing. The empty text is the
// zero Options. String gives the text of Options again.
func ParseOptions(text string) (Options, error) {
	var o Options
	if len(text) > maxOptions {
		return o, fmt.Errorf("resolver options have %d bytes: want at most %d", len(text), maxOptions)
	}
	if text == "" {
		return o, nil
	}
	seen := map[string]bool{}
	for option := range strings.SplitSeq(text, ",") {
		name, value, given := strings.Cut(option, "=")
		sets := []string{name} // the options of which a shorthand is one
		if name == "ttl" || name == "negative-ttl" {
			sets = []string{name + "-min", name + "-max"}
		}
		for _, name := range sets {
			if seen[name] {
				return Options{}, fmt.Errorf("resolver option %s is given twice", name)
			}
			seen[name] = true
			if err := o.set(name, value, given); err != nil {
				return Options{}, fmt.Errorf("resolver option %q: %w", option, err)
			}
		}
	}
	return o, errors.Join(o.TTL.check("ttl"), o.NegativeTTL.check("negative-ttl"))
}

func (o *Options) set(name, value string, given bool) (err error) {
	switch name {
	case "ttl-min":
		o.TTL.Min, err = duration(value)
	case "ttl-max":
		o.TTL.Max, err = ceiling(value)
	case "negative-ttl-min":
		o.NegativeTTL.Min, err = duration(value)
	case "negative-ttl-max":
		o.NegativeTTL.Max, err = ceiling(value)
	case "serve-stale":
		o.ServeStale, err = duration(value)
	case "prefetch":
		if o.Prefetch = true; given {
			err = errors.New("it takes no value")
		}
	case "capacity":
		o.Capacity, err = strconv.Atoi(value)
		if err != nil || o.Capacity < 1 || o.Capacity > maxCapacity {
			err = fmt.Errorf("want 1 to %d names", maxCapacity)
		}
	default:
		err = errors.New("want one of " + optionNames)
	}
	return err
}

func (b Bounds) check(name string) error {
	if b.Max != 0 && b.Min > max(b.Max, 0) {
		return fmt.Errorf("resolver options: %s-min=%s is above %s-max=%s", name, durationText(b.Min), name, durationText(b.Max))
	}
	return nil
}

func ceiling(text string) (time.Duration, error) {
	d, err := duration(text)
	if err == nil && d == 0 {
		d = Nothing
	}
	return d, err
}

var errDuration = errors.New("want seconds or a duration up to 365d, for example 300, 5m or 1d")

func duration(text string) (time.Duration, error) {
	var whole time.Duration
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		number, rest, found := strings.Cut(text, unit.letter)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 9)
		if err != nil {
			return 0, errDuration
		}
		whole += time.Duration(n) * unit.length
		text = rest
	}
	part, err := time.Duration(0), error(nil)
	if n, notSeconds := strconv.ParseUint(text, 10, 32); notSeconds == nil {
		part = time.Duration(n) * time.Second
	} else if text != "" || whole == 0 {
		part, err = time.ParseDuration(text)
	}
	if err != nil || strings.ContainsAny(text, "+-") || part > maxDuration || whole+part > maxDuration {
		return 0, errDuration
	}
	return whole + part, nil
}

// String is the text that ParseOptions reads the same Options from.
func (o Options) String() string {
	var out []string
	bounds := func(name string, b Bounds) {
		if b.Min != 0 && b.Min == b.Max {
			out = append(out, name+"="+durationText(b.Min))
			return
		}
		if b.Min != 0 {
			out = append(out, name+"-min="+durationText(b.Min))
		}
		if b.Max != 0 {
			out = append(out, name+"-max="+durationText(b.Max))
		}
	}
	bounds("ttl", o.TTL)
	bounds("negative-ttl", o.NegativeTTL)
	if o.ServeStale != 0 {
		out = append(out, "serve-stale="+durationText(o.ServeStale))
	}
	if o.Prefetch {
		out = append(out, "prefetch")
	}
	if o.Capacity != 0 {
		out = append(out, "capacity="+strconv.Itoa(o.Capacity))
	}
	return strings.Join(out, ",")
}

func durationText(d time.Duration) string {
	if d = max(d, 0); d%time.Second == 0 {
		return strconv.FormatInt(int64(d/time.Second), 10)
	}
	return d.String()
}

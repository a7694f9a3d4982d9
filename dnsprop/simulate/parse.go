package simulate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posternhq/postern/dnsprop/client"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const maxWeight = 1_000_000

// ParseRate reads how often a client asks, as the time between two queries: "2/m",
// "0.5/s", "1/30s", or that time itself, "30s".
func ParseRate(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is no rate: want queries a time, such as 2/m or 1/30s, or the time between two, such as 30s", text)
	count, unit, isRate := strings.Cut(text, "/")
	if !isRate {
		count, unit = "1", text
	} else if unit == "s" || unit == "m" || unit == "h" {
		unit = "1" + unit
	}
	n, err := strconv.ParseFloat(count, 64)
	if err != nil {
		return 0, wrong
	}
	d, err := time.ParseDuration(unit)
	if err != nil {
		return 0, wrong
	}
	every := float64(d) / n
	if !(n > 0 && every >= float64(time.Microsecond) && every <= float64(maxTime)) {
		return 0, fmt.Errorf("%q: the time between two queries is not from %v to %v", text, time.Microsecond, maxTime)
	}
	return time.Duration(every), nil
}

// ParseMix reads which caches clients have: client.Parse's names, each with its
// weight if there are several, as in "jvm=3,browser=1".
func ParseMix(text string) ([]Share, error) {
	var mix []Share
	for part := range strings.SplitSeq(text, ",") {
		name, weight, weighted := strings.Cut(part, "=")
		cache, err := client.Parse(name)
		if err != nil {
			return nil, err
		}
		w := 1
		if weighted {
			if w, err = strconv.Atoi(weight); err != nil || w < 1 || w > maxWeight {
				return nil, fmt.Errorf("%q: want a weight from 1 to %d", part, maxWeight)
			}
		}
		if len(mix) == maxShares {
			return nil, fmt.Errorf("more than %d kinds of clients", maxShares)
		}
		mix = append(mix, Share{cache, w})
	}
	return mix, nil
}

// ParseFault reads a fault: its kind, a place if it is at one only, and times of
// the DNS clock from the commit on: "dns-lost", "dns-lag@ns3:lag=5m",
// "dns-down:from=1m,for=10m". Without from it is in force from the commit on, without
// for to the end.
func ParseFault(text string) (Fault, error) {
	target, options, any := strings.Cut(text, ":")
	f := Fault{DnsFault: &statev1.DnsFault{}}
	var at bool
	f.Kind, f.Place, at = strings.Cut(target, "@")
	if at && f.Place == "" {
		return Fault{}, fmt.Errorf("%q: want a place after @", text)
	}
	if any {
		seen := map[string]bool{}
		for option := range strings.SplitSeq(options, ",") {
			name, value, _ := strings.Cut(option, "=")
			d, err := time.ParseDuration(value)
			if err != nil {
				err = errors.New("want a duration, such as 5m")
			}
			switch {
			case seen[name]:
				err = errors.New("it is given twice")
			case name == "lag":
				f.Lag = int64(d)
			case name == "from":
				f.From = d
			case name == "for":
				if f.For = d; err == nil && d <= 0 {
					err = errors.New("want more than 0")
				}
			default:
				err = errors.New("want lag, from or for")
			}
			if err != nil {
				return Fault{}, fmt.Errorf("%q: option %q: %w", text, option, err)
			}
			seen[name] = true
		}
	}
	if err := f.check(); err != nil {
		return Fault{}, fmt.Errorf("%q: %w", text, err)
	}
	return f, nil
}

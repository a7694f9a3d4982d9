package profilefile

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/posternhq/postern/dnsprop/propagation"
)

// Limits of a file of measured delays.
const (
	maxMeasured      = 100_000
	maxMeasuredBytes = 4 << 20
	maxLine          = 256
	maxSeconds       = 1e9 // that a Duration holds; what a profile may hold is less
)

// measured reads a file of seconds, one a line; empty lines and those that
// begin with # do not count.
func (p *profile) measured(name string) (propagation.Empirical, error) {
	f, err := p.files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var delays []time.Duration
	lines := bufio.NewScanner(io.LimitReader(f, maxMeasuredBytes+1))
	lines.Buffer(make([]byte, maxLine), maxLine)
	number, bytes := 0, 0
	for lines.Scan() {
		number++
		bytes += len(lines.Bytes()) + 1
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := strconv.ParseFloat(line, 64)
		if err != nil || !(s >= 0 && s <= maxSeconds) {
			return nil, fmt.Errorf("%s:%d:1: %q is not a number of seconds", name, number, line)
		}
		if len(delays) == maxMeasured {
			return nil, fmt.Errorf("%s:%d:1: more than %d delays", name, number, maxMeasured)
		}
		delays = append(delays, time.Duration(s*float64(time.Second)).Round(time.Millisecond))
	}
	switch {
	case lines.Err() != nil:
		return nil, fmt.Errorf("%s:%d:1: %w", name, number+1, lines.Err())
	case bytes > maxMeasuredBytes:
		return nil, fmt.Errorf("%s: more than %d bytes", name, maxMeasuredBytes)
	case len(delays) == 0:
		return nil, fmt.Errorf("%s: no delays", name)
	}
	return propagation.NewEmpirical(delays), nil
}

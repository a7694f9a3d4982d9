package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestDrawingIsXML(t *testing.T) {
	d := New(100, 50, "a < b & c")
	d.Text(1, 2, Start, 11, "x <y> & z")
	d.Upward(1, 2, 11, "<")
	d.Line(0, 0, 1, 1, Ink)
	d.Bar(0, 0, 1, 1, Series(0))
	d.Curve([]Point{{0, 0}, {1, 0}, {2, 0}, {3, 0}, {4, 5}, {5, 5}}, Series(9)+" "+Dashed)
	text := d.String()
	for dec := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{`d="M0.0 0.0L3.0 0.0L4.0 5.0L5.0 5.0"`, `class="s1 dashed"`, "x &lt;y&gt; &amp; z", "prefers-color-scheme:dark"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestTimeTicks(t *testing.T) {
	for _, c := range []struct {
		high  time.Duration
		unit  string
		step  time.Duration
		ticks int
	}{
		{1500 * time.Millisecond, "milliseconds", 200 * time.Millisecond, 8},
		{50 * time.Second, "seconds", 5 * time.Second, 11},
		{20 * time.Minute, "minutes", 2 * time.Minute, 11},
		{time.Hour, "minutes", 5 * time.Minute, 13},
		{24 * time.Hour, "hours", 2 * time.Hour, 13},
		{300 * 24 * time.Hour, "days", 30 * 24 * time.Hour, 11},
	} {
		ticks, unit, name := TimeTicks(c.high)
		if name != c.unit || len(ticks) != c.ticks || ticks[1] != c.step || c.step%unit != 0 && unit > time.Second {
			t.Errorf("%v: %v in %s", c.high, ticks, name)
		}
	}
}

func TestLogTicks(t *testing.T) {
	for _, c := range [][2]float64{{1, 2}, {3, 9}, {10, 1e6}, {0.5, 700}} {
		ticks := LogTicks(c[0], c[1])
		if len(ticks) < 2 || ticks[0] < c[0] || ticks[len(ticks)-1] > c[1] {
			t.Errorf("from %v to %v: %v", c[0], c[1], ticks)
		}
	}
}

// Package chart draws figures as SVG: the paper, lines, text, bars and curves
// that the charts of all commands are made of, readable on light and dark pages.
//
// What a chart shows, and where, is its command's to decide. The same calls give
// the same bytes. A Drawing belongs to one goroutine.
package chart

import (
	"fmt"
	"math"
	"strings"
)

// Drawing is an SVG that is being drawn. Coordinates are pixels from the left and
// from the top.
type Drawing struct {
	b strings.Builder
}

// Style is how a line, bar or curve looks.
type Style string

// Styles besides those of Series.
const (
	Ink    Style = "ink"    // axes
	Grid   Style = "grid"   // lines behind the figures
	Dashed Style = "dashed" // added to another: Series(1) + " " + Dashed
	Key    Style = "key"    // likewise, for a line of a legend: as thick as a curve
)

// colors tell series apart, on light and on dark paper.
var colors = []string{"#3b7dd8", "#d8573b", "#4a9d6e", "#a05bc0", "#c18a1c", "#2f9fb3", "#c2528b", "#7d8590"}

// Series is the style of the n-th thing of a kind, from 0.
func Series(n int) Style { return Style(fmt.Sprintf("s%d", n%len(colors))) }

// New begins a drawing. The title is for those who cannot see it.
func New(width, height int, title string) *Drawing {
	d := &Drawing{}
	fmt.Fprintf(&d.b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(&d.b, "<title>%s</title>\n<style>\n", escaped.Replace(title))
	d.b.WriteString(".paper{fill:#fff} text{fill:#333} .ink{stroke:#333} .grid{stroke:#e4e7eb} path{fill:none;stroke-linejoin:round} path,.key{stroke-width:2} .dashed{stroke-dasharray:5 4}\n")
	for i, color := range colors {
		fmt.Fprintf(&d.b, "rect.s%d{fill:%s} path.s%d,line.s%d{stroke:%s}\n", i, color, i, i, color)
	}
	d.b.WriteString("@media (prefers-color-scheme:dark){.paper{fill:#16191d} text{fill:#dde1e6} .ink{stroke:#dde1e6} .grid{stroke:#31363d}}\n</style>\n")
	fmt.Fprintf(&d.b, `<rect class="paper" width="%d" height="%d"/>`+"\n", width, height)
	return d
}

// Anchor says which part of a text is at its place.
type Anchor string

// The anchors.
const (
	Start  Anchor = "start"
	Middle Anchor = "middle"
	End    Anchor = "end"
)

var escaped = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// Text writes one line; y is that of its feet.
func (d *Drawing) Text(x, y float64, anchor Anchor, size int, text string) {
	fmt.Fprintf(&d.b, `<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d">%s</text>`+"\n", x, y, anchor, size, escaped.Replace(text))
}

// Upward writes a line from bottom to top, with its middle at a place.
func (d *Drawing) Upward(x, y float64, size int, text string) {
	fmt.Fprintf(&d.b, `<text transform="translate(%.1f %.1f) rotate(-90)" text-anchor="middle" font-size="%d">%s</text>`+"\n", x, y, size, escaped.Replace(text))
}

// Line draws one from a point to another.
func (d *Drawing) Line(x1, y1, x2, y2 float64, style Style) {
	fmt.Fprintf(&d.b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`+"\n", x1, y1, x2, y2, style)
}

// Bar fills a rectangle, whose top left corner is given.
func (d *Drawing) Bar(x, y, width, height float64, style Style) {
	fmt.Fprintf(&d.b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" class="%s"/>`+"\n", x, y, width, height, style)
}

// Point is one of a curve.
type Point struct{ X, Y float64 }

// Curve joins points by straight lines. Points on the way from the one before to
// the next are left out.
func (d *Drawing) Curve(points []Point, style Style) {
	d.b.WriteString(`<path class="` + string(style) + `" d="`)
	for i, p := range points {
		if i == 0 {
			fmt.Fprintf(&d.b, "M%.1f %.1f", p.X, p.Y)
			continue
		}
		if i+1 < len(points) && level(points[i-1], p) && level(p, points[i+1]) {
			continue
		}
		fmt.Fprintf(&d.b, "L%.1f %.1f", p.X, p.Y)
	}
	d.b.WriteString("\"/>\n")
}

func level(a, b Point) bool { return math.Abs(a.Y-b.Y) < 0.01 }

// String ends the drawing and returns it.
func (d *Drawing) String() string { return d.b.String() + "</svg>\n" }

// LogTicks are round numbers from low to high, dense enough for a logarithmic
// axis of any range; 0 < low.
func LogTicks(low, high float64) []float64 {
	var out []float64
	for decade := math.Pow(10, math.Floor(math.Log10(low))); decade <= high; decade *= 10 {
		steps := []float64{1, 2, 5}
		if high/low < 4 {
			steps = []float64{1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9}
		}
		for _, s := range steps {
			if v := decade * s; v >= low && v <= high {
				out = append(out, v)
			}
		}
	}
	return out
}

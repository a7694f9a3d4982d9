package diff

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/dataplane/policy"
)

// keyShape is what edges put under a condition key.
type keyShape struct {
	forms []string
	test  func(string) bool
	first []string
	// presence in the calls of private and of public APIs: - never, + always, ? perhaps.
	private, public byte
	// authenticated: only known callers have it.
	authenticated bool
	empty         bool // the empty text is possible
}

// Resource-policies page §5. What is not listed no edge knows.
var keyShapes = map[string]keyShape{
	"aws:sourcevpc":              {forms: []string{"vpc-{k+}"}, private: '+', public: '-'},
	"aws:sourcevpce":             {forms: []string{"vpce-{k+}"}, private: '+', public: '-'},
	"aws:sourcevpcarn":           {forms: []string{"arn:aws:ec2:{r+}:{d12}:vpc/vpc-{k+}"}, private: '?', public: '-'},
	"aws:vpcsourceip":            {forms: []string{"{h+}"}, test: isAddress, first: []string{"10.0.0.1"}, private: '+', public: '-'},
	"aws:sourceip":               {forms: []string{"{h+}"}, test: isAddress, first: []string{"203.0.113.1"}, private: '-', public: '+'},
	"aws:referer":                {forms: []string{"{v+}"}, private: '?', public: '?'},
	"aws:useragent":              {forms: []string{"{v+}"}, private: '?', public: '?'},
	"aws:securetransport":        {forms: []string{"true"}, private: '+', public: '+'},
	"aws:tokenissuetime":         {forms: timesOfCentury, test: isTime, private: '?', public: '?', authenticated: true},
	"aws:multifactorauthpresent": {forms: []string{"true", "false"}, private: '?', public: '?', authenticated: true},
	"aws:multifactorauthage":     {forms: []string{"{d}", "{1}{d+}"}, private: '?', public: '?', authenticated: true},
	"aws:principalorgid":         {forms: []string{"o-{k+}"}, private: '?', public: '?', authenticated: true},
	"aws:principalorgpaths":      {forms: []string{"o-{k+}/r-{k+}/", "o-{k+}/r-{k+}/ou-{r+}/"}, private: '?', public: '?', authenticated: true},
}

var tagShape = keyShape{forms: []string{"{t+}"}, private: '?', public: '?', authenticated: true, empty: true}

const tagPrefix = "aws:principaltag/"

func shapeOf(key string) keyShape {
	if strings.HasPrefix(key, tagPrefix) {
		return tagShape
	}
	if s, ok := keyShapes[key]; ok {
		return s
	}
	return keyShape{private: '-', public: '-'}
}

func isAddress(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == "" && !a.Is4In6() && a.String() == s
}

// The roles of the spaces of a key.
const (
	spaceAbsent = iota
	spaceText
	spaceEmpty // one empty text: to set operators the same as none
)

// newKey makes the dimension of a condition key that depends on no other.
func newKey(key string, shape func(...string) language) *dimension {
	s := shapeOf(key)
	_, known := policy.LookupKey(key)
	single := known || strings.HasPrefix(key, tagPrefix)
	text := &space{name: "text", texts: true, list: !single,
		in:     [numModes]bool{s.private != '-', s.public != '-', true},
		stated: &base{languages: []language{shape("{t+}")}, all: true}}
	if s.forms != nil {
		text.edge = &base{languages: []language{shape(s.forms...)}, test: s.test, first: s.first}
	}
	header := key == "aws:referer" || key == "aws:useragent" // an empty one counts as absent
	return &dimension{name: key, memo: map[string]*value{}, spaces: []*space{
		spaceAbsent: {name: "absent", in: [numModes]bool{s.private != '+', s.public != '+', true}},
		spaceText:   text,
		spaceEmpty:  {name: "empty", fixed: []string{""}, in: [numModes]bool{s.empty, s.empty, !header}},
	}}
}

// newFixedKey makes the dimension of a key whose value is given.
func newFixedKey(key string, values []string) *dimension {
	s := &space{name: "given", fixed: values, in: [numModes]bool{true, true, true}}
	return &dimension{name: key, memo: map[string]*value{}, spaces: []*space{s}}
}

// Times are written as aws:CurrentTime is, from which aws:EpochTime follows.
const timeLayout = "2006-01-02T15:04:05Z"

// timeForms are the shapes of times with a year of the given form.
func timeForms(year string) []string {
	days := map[string][]string{}
	for m := range 12 {
		month := string([]byte{'0' + byte((m+1)/10), '0' + byte((m+1)%10)})
		days[month] = []string{"0{1}", "1{d}", "2{d}"}
		switch month {
		case "02": // the 29th of a year that has none is left to isTime
		case "04", "06", "09", "11":
			days[month] = append(days[month], "30")
		default:
			days[month] = append(days[month], "30", "31")
		}
	}
	var out []string
	for month, list := range days {
		for _, day := range list {
			for _, hour := range []string{"0{d}", "1{d}", "20", "21", "22", "23"} {
				out = append(out, year+"-"+month+"-"+day+"T"+hour+":{5}{d}:{5}{d}Z")
			}
		}
	}
	slices.Sort(out)
	return out
}

var (
	timesOfCentury   = timeForms("20{d2}")
	timesOfMillennia = timeForms("{2}{d3}")
)

func isTime(s string) bool {
	_, err := time.Parse(timeLayout, s)
	return err == nil
}

// First and last time of the universe. Below it epoch seconds might have four
// digits, which are a year where dates are compared.
var (
	firstTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	lastTime  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
)

const (
	currentTime = "aws:currenttime"
	epochTime   = "aws:epochtime"
)

// newTime makes the dimension of the time of the request.
func newTime(shape func(...string) language) *dimension {
	text := &space{name: "time", texts: true, in: [numModes]bool{true, true, true},
		edge:   &base{languages: []language{shape(timesOfCentury...)}, test: isTime, first: []string{"2030-01-01T00:00:00Z"}},
		stated: &base{languages: []language{shape(timesOfMillennia...)}, test: isTime, first: []string{"2030-01-01T00:00:00Z"}}}
	return &dimension{name: currentTime, memo: map[string]*value{}, spaces: []*space{
		spaceAbsent: {name: "absent", in: [numModes]bool{loose: true}},
		spaceText:   text,
	}}
}

package policy

import "strings"

// family is the type of value that a condition operator compares.
type family uint8

const (
	familyString family = iota
	familyStringFold
	familyStringLike
	familyNumeric
	familyDate
	familyBool
	familyBinary
	familyIP
	familyARN
	familyNull
)

// takesVariables says whether ${...} means something in values of the family.
func (f family) takesVariables() bool {
	switch f {
	case familyString, familyStringFold, familyStringLike, familyARN, familyBool:
		return true
	}
	return false
}

// comparison is how Numeric and Date operators order the request's value
// against the policy's.
type comparison uint8

const (
	equal comparison = iota
	less
	lessOrEqual
	greater
	greaterOrEqual
)

// holds judges the result of a three-way comparison of request and policy value.
func (c comparison) holds(order int) bool {
	switch c {
	case less:
		return order < 0
	case lessOrEqual:
		return order <= 0
	case greater:
		return order > 0
	case greaterOrEqual:
		return order >= 0
	}
	return order == 0
}

// setMode is the ForAllValues or ForAnyValue prefix.
type setMode uint8

const (
	noSet setMode = iota
	forAllValues
	forAnyValue
)

// operator is one condition operator with its prefix and suffix taken apart.
type operator struct {
	family     family
	comparison comparison
	negated    bool
	ifExists   bool
	set        setMode
}

var operators = map[string]operator{
	"StringEquals":              {family: familyString},
	"StringNotEquals":           {family: familyString, negated: true},
	"StringEqualsIgnoreCase":    {family: familyStringFold},
	"StringNotEqualsIgnoreCase": {family: familyStringFold, negated: true},
	"StringLike":                {family: familyStringLike},
	"StringNotLike":             {family: familyStringLike, negated: true},
	"NumericEquals":             {family: familyNumeric},
	"NumericNotEquals":          {family: familyNumeric, negated: true},
	"NumericLessThan":           {family: familyNumeric, comparison: less},
	"NumericLessThanEquals":     {family: familyNumeric, comparison: lessOrEqual},
	"NumericGreaterThan":        {family: familyNumeric, comparison: greater},
	"NumericGreaterThanEquals":  {family: familyNumeric, comparison: greaterOrEqual},
	"DateEquals":                {family: familyDate},
	"DateNotEquals":             {family: familyDate, negated: true},
	"DateLessThan":              {family: familyDate, comparison: less},
	"DateLessThanEquals":        {family: familyDate, comparison: lessOrEqual},
	"DateGreaterThan":           {family: familyDate, comparison: greater},
	"DateGreaterThanEquals":     {family: familyDate, comparison: greaterOrEqual},
	"Bool":                      {family: familyBool},
	"BinaryEquals":              {family: familyBinary},
	"IpAddress":                 {family: familyIP},
	"NotIpAddress":              {family: familyIP, negated: true},
	"ArnEquals":                 {family: familyARN},
	"ArnLike":                   {family: familyARN},
	"ArnNotEquals":              {family: familyARN, negated: true},
	"ArnNotLike":                {family: familyARN, negated: true},
	"Null":                      {family: familyNull},
}

// parseOperator reads an operator as spelt in a Condition block. Names are
// case-sensitive: a misspelt one must invalidate the document, because a
// condition that is skipped grants more than was written.
func parseOperator(name string) (operator, bool) {
	var set setMode
	if rest, ok := strings.CutPrefix(name, "ForAllValues:"); ok {
		name, set = rest, forAllValues
	} else if rest, ok := strings.CutPrefix(name, "ForAnyValue:"); ok {
		name, set = rest, forAnyValue
	}
	name, ifExists := strings.CutSuffix(name, "IfExists")
	op, ok := operators[name]
	if !ok || ifExists && op.family == familyNull {
		return operator{}, false
	}
	op.set, op.ifExists = set, ifExists
	return op, true
}

// suggestOperator finds the documented name that differs only in case or by one
// small slip, for the message about an unknown one; empty if none is near.
func suggestOperator(name string) string {
	prefix := ""
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		prefix, name = name[:i+1], name[i+1:]
	}
	name, suffix := strings.CutSuffix(name, "IfExists")
	best, bestCost := "", 3
	for known := range operators {
		cost := editDistance(strings.ToLower(name), strings.ToLower(known))
		if cost < bestCost || cost == bestCost && best != "" && known < best {
			best, bestCost = known, cost
		}
	}
	if best == "" {
		return ""
	}
	if suffix && operators[best].family != familyNull {
		best += "IfExists"
	}
	return prefix + best
}

// editDistance is Levenshtein's, given up (as a large number) for long names.
func editDistance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

package reference

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhq/postern/dataplane/policy"
)

// caller is who asks; the zero value is anonymous.
type caller struct {
	arn     string
	account string
	name    string // what follows the account in the ARN
	root    string // ARN of the account itself
	role    string // ARN of the role behind a session, without its path
}

var callerARN = regexp.MustCompile(`^arn:([^:]+):(?:iam|sts)::([0-9]+):(root|user/.+|role/.+|assumed-role/[^/]+/.+|federated-user/.+)$`)

func readCaller(arn string) (caller, error) {
	if arn == "" {
		return caller{}, nil
	}
	m := callerARN.FindStringSubmatch(arn)
	if m == nil {
		return caller{}, fmt.Errorf("the principal %q of the query is no caller", arn)
	}
	c := caller{arn: arn, account: m[2], name: m[3], root: "arn:" + m[1] + ":iam::" + m[2] + ":root"}
	if c.session() {
		c.role = "arn:" + m[1] + ":iam::" + m[2] + ":role/" + strings.Split(c.name, "/")[1]
	}
	return c, nil
}

func (c caller) session() bool { return strings.HasPrefix(c.name, "assumed-role/") }

// readContext is what the request says about itself (§1, §8): the keys that
// follow from the caller, overridden by those that are given.
func readContext(c caller, given map[string]policy.Values) (map[string][]string, error) {
	context := map[string][]string{}
	if c.arn != "" {
		context["aws:principalaccount"] = []string{c.account}
		context["aws:principalarn"] = []string{c.arn}
		kind, rest, _ := strings.Cut(c.name, "/")
		switch kind {
		case "root":
			context["aws:principaltype"] = []string{"Account"}
			context["aws:userid"] = []string{c.account}
		case "user":
			context["aws:principaltype"] = []string{"User"}
			context["aws:username"] = []string{rest[strings.LastIndex(rest, "/")+1:]}
		case "role":
			context["aws:principaltype"] = []string{"AssumedRole"}
		case "assumed-role":
			context["aws:principaltype"] = []string{"AssumedRole"}
			context["aws:principalarn"] = []string{c.role}
		case "federated-user":
			context["aws:principaltype"] = []string{"FederatedUser"}
			context["aws:userid"] = []string{c.account + ":" + rest}
		}
	}

	seen := map[string]bool{}
	for key, values := range given {
		key = strings.ToLower(key)
		if seen[key] {
			return nil, fmt.Errorf("the query gives the key %s twice", key)
		}
		seen[key] = true
		if key == "aws:referer" || key == "aws:useragent" { // headers (§6.3, case 110)
			joined := strings.Join(values, ",")
			if values = nil; joined != "" {
				values = policy.Values{joined}
			}
		}
		context[key] = values // an empty list: absent
	}

	// The time of the request, given once, is the value of two keys.
	if now := context["aws:currenttime"]; len(now) == 1 && fullTime.MatchString(now[0]) {
		if t, ok := date(now[0]); ok && t.Nanosecond() == 0 {
			context["aws:currenttime"] = []string{t.UTC().Format("2006-01-02T15:04:05Z")}
			if !seen["aws:epochtime"] {
				context["aws:epochtime"] = []string{strconv.FormatInt(t.Unix(), 10)}
			}
		}
	}
	return context, nil
}

var fullTime = regexp.MustCompile(`T\d\d:\d\d:\d\d`)

// principal is §3: how the statement speaks for the caller.
func (e *evaluation) principal(s statement) string {
	switch {
	case s.NotPrincipal == nil:
		return e.caller.named(s.Principal)
	case s.Effect == "Allow":
		// Everyone who is not listed in any way, anonymous callers too.
		if e.caller.named(s.NotPrincipal) == "" {
			return direct
		}
		return ""
	}
	// Deny checks each level of the caller; any unlisted one is denied.
	if slices.ContainsFunc(e.caller.levels(), func(level string) bool { return !e.caller.listed(s.NotPrincipal, level) }) {
		return direct
	}
	return ""
}

// named says how a Principal element names the caller.
func (c caller) named(element any) string {
	best := ""
	for _, entry := range awsEntries(element) {
		switch {
		case entry == "*":
			return direct
		case c.arn == "":
			// Anonymous callers have no name.
		case entry == c.account, rootOf(entry) == c.account:
			if best == "" {
				best = delegated
			}
		case entry == c.arn, c.role != "" && roleWithoutPath(entry) == c.role:
			best = direct
		}
	}
	return best
}

// levels are the identities at which NotPrincipal looks at a caller: for a
// session its account, role and itself; for a user the account and himself.
func (c caller) levels() []string {
	switch {
	case c.arn == "":
		return []string{""}
	case c.arn == c.root || c.name == "root":
		return []string{c.root}
	case c.session():
		return []string{c.root, c.role, c.arn}
	}
	return []string{c.root, c.arn}
}

// listed says whether one of the caller's levels is among the entries of a
// NotPrincipal.
func (c caller) listed(element any, level string) bool {
	account := rootOf(level)
	return slices.ContainsFunc(awsEntries(element), func(entry string) bool {
		switch {
		case entry == "*":
			return true
		case level == "":
			return false
		case account != "":
			return entry == account || rootOf(entry) == account
		}
		return entry == level || level == c.role && roleWithoutPath(entry) == c.role
	})
}

// awsEntries are the entries of an element that may name a caller of an API;
// services and federated principals never call.
func awsEntries(element any) []string {
	if element == "*" {
		return []string{"*"}
	}
	entries, ok := element.(map[string]any)["AWS"]
	if !ok {
		return nil
	}
	return texts(entries)
}

var (
	rootARN = regexp.MustCompile(`^arn:[^:]+:iam::([0-9]+):root$`)
	roleARN = regexp.MustCompile(`^(arn:[^:]+:iam::[0-9]+:role/)(?:.*/)?([^/]+)$`)
)

// rootOf is the account of an account root's ARN, empty for anything else.
func rootOf(arn string) string {
	if m := rootARN.FindStringSubmatch(arn); m != nil {
		return m[1]
	}
	return ""
}

// roleWithoutPath is a role's ARN without its path, empty for anything else. A
// role's name is unique in its account whatever its path.
func roleWithoutPath(arn string) string {
	if m := roleARN.FindStringSubmatch(arn); m != nil {
		return m[1] + m[2]
	}
	return ""
}

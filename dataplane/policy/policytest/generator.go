// Package policytest makes random but meaningful policies and requests for
// tests: both draw from the same small worlds of endpoints, addresses, paths
// and names, so that conditions are met about as often as missed. All that it
// makes follows from a seed.
package policytest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/posternhq/postern/dataplane/policy"
)

// Generator makes documents and queries. It belongs to one goroutine.
type Generator struct {
	*rand.Rand
}

// New makes a Generator; equal seeds make equal documents and queries.
func New(seed uint64) *Generator {
	return &Generator{rand.New(rand.NewPCG(seed, 0x706f7374))}
}

func (g *Generator) one(list ...string) string { return list[g.IntN(len(list))] }

func (g *Generator) chance(percent int) bool { return g.IntN(100) < percent }

// some draws one to max values, as a string or as a list.
func (g *Generator) some(maximum int, draw func() string) any {
	n := 1 + g.IntN(maximum)
	if n == 1 && g.chance(60) {
		return draw()
	}
	list := make([]string, n)
	for i := range list {
		list[i] = draw()
	}
	return list
}

// Document is a resource policy that policy.Parse accepts, of one to four statements.
func (g *Generator) Document() []byte { return g.document(1+g.IntN(4), true) }

// LargeDocument is a resource policy of many statements.
func (g *Generator) LargeDocument(statements int) []byte { return g.document(statements, true) }

// CrowdDocument is a resource policy of many statements whose conditions are
// mostly exact values of few keys, so that statements crowd under some of them.
func (g *Generator) CrowdDocument(statements int) []byte {
	list := make([]any, statements)
	for i := range list {
		s := map[string]any{
			"Effect": g.one("Allow", "Allow", "Deny"), "Principal": "*", "Action": g.one("execute-api:Invoke", "execute-api:Invoke", "*"),
			"Resource": g.some(3, g.resourcePattern),
		}
		if g.chance(25) {
			s["Principal"] = g.principal()
		}
		wanted := map[string]any{}
		for range 1 + g.IntN(3) {
			switch g.IntN(5) {
			case 0:
				wanted["aws:SourceVpc"] = g.some(2, func() string { return g.one("vpc-1", "vpc-2") })
			case 1:
				wanted["custom:Place"] = g.some(3, func() string { return "place-" + strconv.Itoa(g.IntN(statements)) })
			case 2:
				wanted["aws:username"] = g.some(2, func() string { return g.one("bob", "amy", "guest") })
			default:
				wanted["aws:SourceVpce"] = g.some(4, func() string { return "vpce-" + strconv.Itoa(g.IntN(statements/4)) })
			}
		}
		c := map[string]any{g.one("StringEquals", "StringEquals", "StringEquals", "StringLike", "StringEqualsIfExists", "StringNotEquals"): wanted}
		if g.chance(20) {
			c["Bool"] = map[string]any{"aws:SecureTransport": g.one("true", "false")}
		}
		s["Condition"] = c
		list[i] = s
	}
	out, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": list})
	if err != nil {
		panic(err)
	}
	return out
}

// CrowdQuery is a query with values that a CrowdDocument of so many statements names.
func (g *Generator) CrowdQuery(statements int) *policy.Query {
	q := g.Query()
	q.Context = map[string]policy.Values{
		"aws:SourceVpce": {"vpce-" + strconv.Itoa(g.IntN(statements/4))}, "aws:SourceVpc": {g.one("vpc-1", "vpc-2", "vpc-3")},
		"custom:Place": {"place-" + strconv.Itoa(g.IntN(statements)), "place-" + strconv.Itoa(g.IntN(statements))}, "aws:SecureTransport": {"true"},
	}
	for _, key := range []string{"aws:SourceVpce", "custom:Place"} {
		if g.chance(20) {
			delete(q.Context, key)
		}
	}
	return q
}

// IdentityDocument is a policy without principal elements.
func (g *Generator) IdentityDocument() []byte { return g.document(1+g.IntN(4), false) }

func (g *Generator) document(statements int, principals bool) []byte {
	doc := map[string]any{}
	if g.chance(80) {
		doc["Version"] = "2012-10-17"
	} else if g.chance(50) {
		doc["Version"] = "2008-10-17"
	}
	if g.chance(20) {
		doc["Id"] = "id"
	}
	list := make([]any, statements)
	for i := range list {
		list[i] = g.statement(principals)
	}
	if statements == 1 && g.chance(40) {
		doc["Statement"] = list[0]
	} else {
		doc["Statement"] = list
	}
	out, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return out
}

func (g *Generator) statement(principals bool) map[string]any {
	s := map[string]any{"Effect": g.one("Allow", "Allow", "Deny")}
	if g.chance(15) {
		s["Sid"] = g.one("s", "s", "other", "", "\u00fc/\"")
	}
	switch {
	case !principals:
	case g.chance(20):
		s["NotPrincipal"] = g.notPrincipal()
	default:
		s["Principal"] = g.principal()
	}
	s[g.one("Action", "Action", "Action", "Action", "NotAction")] = g.some(2, g.actionPattern)
	s[g.one("Resource", "Resource", "Resource", "NotResource")] = g.some(3, g.resourcePattern)
	if g.chance(75) {
		c := map[string]any{}
		for range g.IntN(3) {
			name, key, draw := g.operator()
			block, ok := c[name].(map[string]any)
			if !ok {
				block = map[string]any{}
				c[name] = block
			}
			block[key] = typed(g, g.some(3, draw))
		}
		s["Condition"] = c
	}
	return s
}

// typed writes some numbers and booleans as such instead of as strings.
func typed(g *Generator, values any) any {
	one := func(v string) any {
		switch {
		case v == "true" || v == "false":
			return v == "true"
		case v != "" && (v[0] == '-' || v[0] >= '1' && v[0] <= '9') && json.Valid([]byte(v)):
			return json.Number(v)
		}
		return v
	}
	if !g.chance(30) {
		return values
	}
	if v, ok := values.(string); ok {
		return one(v)
	}
	var out []any
	for _, v := range values.([]string) {
		out = append(out, one(v))
	}
	return out
}

// notPrincipal is a principal, or all levels of some caller, but for one of
// them at times.
func (g *Generator) notPrincipal() any {
	if g.chance(40) {
		return g.principal()
	}
	var levels []string
	switch g.IntN(4) {
	case 0:
		levels = []string{"111122223333", "arn:aws:iam::111122223333:user/bob"}
	case 1:
		levels = []string{"arn:aws:sts::111122223333:assumed-role/dev/s1", g.one("arn:aws:iam::111122223333:role/dev", "arn:aws:iam::111122223333:role/service/dev"), "arn:aws:iam::111122223333:root"}
	case 2:
		levels = []string{"arn:aws:sts::111122223333:federated-user/fay", "111122223333", "444455556666"}
	case 3:
		levels = []string{"arn:aws:iam::111122223333:role/service/dev", "111122223333"}
	}
	if g.chance(30) {
		drop := g.IntN(len(levels))
		levels = append(levels[:drop], levels[drop+1:]...)
	}
	return map[string]any{"AWS": levels}
}

func (g *Generator) principal() any {
	if g.chance(50) {
		return "*"
	}
	p := map[string]any{"AWS": g.some(3, func() string {
		return g.one("*", "111122223333", "444455556666", "arn:aws:iam::111122223333:root", "AIDA1234567890ABCDEF",
			"arn:aws:iam::111122223333:user/bob", "arn:aws:iam::111122223333:user/team/amy",
			"arn:aws:iam::111122223333:role/dev", "arn:aws:iam::111122223333:role/service/dev", "arn:aws:iam::444455556666:role/dev",
			"arn:aws:sts::111122223333:assumed-role/dev/s1", "arn:aws:sts::111122223333:federated-user/fay",
			"arn:aws-cn:iam::111122223333:root", "arn:aws-cn:iam::111122223333:user/bob", "AROA1234567890ABCDEF")
	})}
	switch {
	case g.chance(10):
		p["Service"] = "apigateway.amazonaws.com"
	case g.chance(5):
		return map[string]any{g.one("Federated", "Service"): g.some(2, func() string {
			return g.one("cognito-identity.amazonaws.com", "arn:aws:iam::111122223333:saml-provider/x", "apigateway.amazonaws.com")
		})}
	}
	return p
}

func (g *Generator) actionPattern() string {
	return g.one("execute-api:Invoke", "execute-api:Invoke", "*", "execute-api:*", "EXECUTE-API:inv*", "execute-api:Inv?ke",
		"execute-api:InvalidateCache", "s3:GetObject", "*:*")
}

// resourcePattern is a path pattern behind some form of the API's ARN. Wildcards,
// variables and near misses are spread over all of it.
func (g *Generator) resourcePattern() string {
	switch g.IntN(12) {
	case 0, 1:
		return "*"
	case 2:
		return g.one("arn:*", "arn:aws:execute-api:us-east-1:*", "arn:aws:execute-api:us-*", "arn:aws:execute-api:us-east-1:111122223333",
			"arn:aws:execute-api:us-east-1:1111*", "arn:aws:execute-api:*abcde12345/*", "*:*", "nonsense", "arn:aws:s3:::bucket/*",
			"arn:aws:execute-api:*:${aws:PrincipalAccount}:*/*")
	}
	path := g.pathPattern()
	if g.chance(30) {
		return "execute-api:/" + path
	}
	return g.one("arn:aws:", "arn:aws:", "arn:*:") +
		g.one("execute-api:", "execute-api:", "execute-api:", "*:") +
		g.one("us-east-1:", "*:", "us-*:", "u?-east-1:", "eu-west-1:") +
		g.one("111122223333:", "111122223333:", "*:", "1*3:") +
		g.one("abcde12345", "abcde12345", "*", "abc*", "fghij67890") +
		g.one("/", "/", "/", "", "*") + path
}

func (g *Generator) pathPattern() string {
	parts := []string{"prod", "dev", "GET", "POST", "pets", "a%20b", ":111122223333:abcde12345", "bob", "*", "*", "*", "?", "p*s", "pet?", "",
		"${aws:username}", "${aws:username, 'guest'}", "${aws:PrincipalTag/team}", "${*}", "x${?}y", "${aws:TagKeys}", "${aws:SourceVpce}",
		"${$}{x}", "${ aws:username}", "${aws:username,'bob'}", "${aws:username, 'a}b'}", "${aws:NoSuchKey, ''}", "pet${?}", "\u00fc", "p\u00e9t"}
	var b strings.Builder
	for i := range g.IntN(5) {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(g.one(parts...))
	}
	return b.String()
}

// operator draws a condition operator, a key that suits it (mostly), and a
// source of values for both.
func (g *Generator) operator() (name, key string, draw func() string) {
	switch g.IntN(10) {
	case 0, 1, 2:
		name = g.one("StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike")
		key, draw = g.stringKey(), g.stringValue
	case 3:
		name = g.one("NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals")
		key, draw = g.one("aws:MultiFactorAuthAge", "aws:MultiFactorAuthAge", "aws:EpochTime", "aws:UserAgent"), g.number
	case 4:
		name = g.one("DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals")
		key, draw = g.one("aws:CurrentTime", "aws:CurrentTime", "aws:EpochTime", "aws:TokenIssueTime"), g.date
	case 5:
		name = "Bool"
		key = g.one("aws:SecureTransport", "aws:MultiFactorAuthPresent")
		draw = func() string { return g.one("true", "false", "TRUE", "yes", "${aws:MultiFactorAuthPresent}") }
	case 6:
		name = "BinaryEquals"
		key = g.one("aws:UserAgent", "aws:Referer")
		draw = func() string { return g.one("Y3VybA==", "eA==", "not base64", "") }
	case 7:
		name = g.one("IpAddress", "NotIpAddress")
		key = g.one("aws:SourceIp", "aws:VpcSourceIp", "aws:VpcSourceIp", "custom:Address", "aws:UserAgent", "custom:Words")
		draw = g.network
	case 8:
		name = g.one("ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike")
		key = g.one("aws:PrincipalArn", "aws:PrincipalArn", "aws:SourceArn", "aws:SourceVpcArn")
		draw = g.arnPattern
	default:
		name = g.one("Null", "Null", "Null", "ForAnyValue:Null", "ForAllValues:Null")
		key = g.one(g.stringKey(), "aws:SourceIp", "aws:CurrentTime", "aws:PrincipalArn")
		return name, g.recase(key), func() string { return g.one("true", "false", "False", "maybe") }
	}
	if g.chance(20) {
		name += "IfExists"
	}
	if g.chance(25) {
		name = g.one("ForAllValues:", "ForAnyValue:") + name
	}
	return name, g.recase(key), draw
}

func (g *Generator) recase(key string) string {
	switch g.IntN(10) {
	case 0:
		return strings.ToLower(key)
	case 1:
		return strings.ToUpper(key)
	}
	return key
}

func (g *Generator) stringKey() string {
	return g.one("aws:SourceVpc", "aws:SourceVpce", "aws:SourceVpce", "aws:UserAgent", "aws:Referer", "aws:username", "aws:userid",
		"aws:PrincipalType", "aws:PrincipalAccount", "aws:PrincipalArn", "aws:PrincipalTag/team", "aws:PrincipalTag/Dept",
		"aws:PrincipalOrgPaths", "aws:TagKeys", "aws:NoSuchKey", "aws:SourceIp", "aws:CurrentTime", "aws:EpochTime", "custom:Word", "custom:Words")
}

func (g *Generator) stringValue() string {
	return g.one("vpce-1", "vpce-2", "VPCE-1", "vpc-1", "vpc*", "vpce-?", "curl", "*curl*", "c?r*", "Ünïcödé", "ÜNÏCÖDÉ", "ü?ï*", "", "*", "?", "bob", "a",
		"User", "111122223333", "o-1/*", "10.1.*", "2020-*", "*Z", "${aws:SourceVpce}", "${aws:username}", "${aws:username, 'bob'}", "x${*}y", "*${$}*",
		"${aws:PrincipalTag/dept}", "${aws:TagKeys}", "v${aws:NoSuchKey, 'pce-1'}", "arn:aws:iam::*:role/dev", "*${custom:Word}*", "${aws:SourceIp}",
		"x${?}y", "${$}{aws:username}", "${aws:username, 'a}b'}", "${aws:username, 'it's'}", "${custom:Word, ''}", "${}", "${,'a'}", "${aws:CurrentTime}", "x*y", "??", "***")
}

func (g *Generator) number() string {
	return g.one("0", "-0.0", "10", "10.0", "010", "9.99", "+10", "-5", "3600", "1577836800", "123456789012345678901234567890.5", "ten", "1e3", "", "-10", "10.000000000000000000000000000001", ".5", "5.", "--1", " 10")
}

func (g *Generator) date() string {
	return g.one("2020", "2020-01", "2020-01-01", "2020-01-01T00:00Z", "2020-01-01T00:00:00Z", "2020-01-01T02:00:00+02:00", "2019-12-31T23:59:59.5Z",
		"1577836800", "1577836799", "2020-02-30", "2020-13", "soon", "2019-06-01T12:00:00-07:30",
		"", "0", "-1", "1577836800.5", "2020-01-01T00:00:00", "2020-01-01T00:00:00.000Z", "2020-01-01T00:00:00-00:00", "2020-01-01T24:00:00Z", "2019-12-31T23:59:60Z", "0000", "9999-12-31", "15778368000")
}

func (g *Generator) network() string {
	return g.one("10.0.0.0/8", "10.1.2.3", "10.1.2.99/24", "0.0.0.0/0", "::/0", "192.168.0.0/16", "2001:DB8::/32", "2001:db8::1", "not-a-cidr", "10.0.0.0/33",
		"172.16.0.0/12", "10.1.2.0/31", "2001:db8:1::/48", "::ffff:10.0.0.0/104", "::ffff:10.1.2.3", "::ffff:0:0/90",
		"", "10.1.2.3/32", "10.1.2.3/", "010.1.2.3", "2001:0db8:0000::0001", "2001:db8:0:0:0:0:0:1/128", "::ffff:0a01:0203", "::/1", "fe80::/10", "fe80::1%eth0", "10.1.2.3:443")
}

func (g *Generator) arnPattern() string {
	return g.one("arn:aws:iam::*:role/*", "arn:aws:iam::111122223333:role/dev", "arn:aws:iam:*:role/dev", "arn:*:*:*:*:*", "*", "arn:aws:iam::1*:user/?ob",
		"arn:aws:iam::${aws:PrincipalAccount}:role/dev", "arn:aws:iam::111122223333:user/${aws:username}", "arn:aws:ec2:us-east-1:111122223333:vpc/vpc-?")
}

// Query is a request that policy.Query.Request accepts. Each key is present
// about half of the time.
func (g *Generator) Query() *policy.Query {
	q := &policy.Query{
		Action: g.one("execute-api:Invoke", "execute-api:Invoke", "execute-api:Invoke", "", "execute-api:invoke", "EXECUTE-API:INVALIDATECACHE"),
		Resource: "arn:aws:execute-api:" + g.one("us-east-1", "us-east-1", "eu-west-1") + ":" +
			g.one("111122223333", "111122223333", "444455556666") + ":" + g.one("abcde12345", "abcde12345", "abcde12345", "fghij67890") + g.path(),
		Context: map[string]policy.Values{},
	}
	if g.chance(60) {
		q.Principal = g.one("arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:user/bob", "arn:aws:iam::111122223333:user/team/amy",
			"arn:aws:sts::111122223333:assumed-role/dev/s1", "arn:aws:sts::111122223333:assumed-role/dev/s2", "arn:aws:sts::444455556666:assumed-role/dev/s1",
			"arn:aws:sts::111122223333:federated-user/fay", "arn:aws:iam::111122223333:role/service/dev", "arn:aws-cn:iam::111122223333:user/bob")
		if g.chance(50) {
			q.Context["aws:PrincipalTag/team"] = policy.Values{g.one("a", "b", "bob", "*")}
			q.Context["aws:PrincipalTag/Dept"] = policy.Values{g.one("a", "b", "")}
		}
	}
	maybe := func(key string, draw func() string) {
		if g.chance(50) {
			q.Context[g.recase(key)] = policy.Values{draw()}
		}
	}
	maybe("aws:SourceVpc", func() string { return g.one("vpc-1", "vpc-2", "VPC-1") })
	maybe("aws:SourceVpce", func() string { return g.one("vpce-1", "vpce-2", "vpce-12", "") })
	maybe("aws:VpcSourceIp", g.address)
	maybe("aws:SourceIp", g.address)
	maybe("aws:UserAgent", func() string {
		return g.one("curl", "libcurl/8", "x", "x*y", "üNÏcöDé", "ü\xffï", "10", "10.1.2.3", "")
	})
	maybe("aws:Referer", func() string { return g.one("x", "https://a/", "") })
	maybe("aws:SecureTransport", func() string { return g.one("true", "false", "True", "1") })
	maybe("aws:MultiFactorAuthPresent", func() string { return g.one("true", "false") })
	maybe("aws:MultiFactorAuthAge", g.number)
	maybe("aws:TokenIssueTime", g.date)
	maybe("custom:Address", g.address)
	maybe("custom:Word", func() string { return g.one("", "a", "c*l", "curl", "vpce") })
	maybe("aws:SourceVpcArn", func() string {
		return g.one("arn:aws:ec2:us-east-1:111122223333:vpc/vpc-1", "arn:aws:ec2", "arn:aws:iam::111122223333:user/bob")
	})
	if g.chance(50) {
		q.Context["aws:CurrentTime"] = policy.Values{g.one("2020-01-01T00:00:00Z", "2019-12-31T23:59:59Z", "2020-07-01T12:30:00Z", "2020-01-01T02:00:00+02:00")}
	}
	for _, key := range []string{"aws:TagKeys", "aws:PrincipalOrgPaths", "custom:Words"} {
		if g.chance(30) {
			var list policy.Values
			for range g.IntN(3) {
				list = append(list, g.one("a", "b", "o-1/r-1/ou-2/", "", "vpce-1", "10.1.2.3", "10"))
			}
			q.Context[key] = list
		}
	}
	return q
}

// AnyQuery is a Query, or one that no call of an API gives rise to: for another
// service, in another partition, with keys that contradict the caller, at a
// time that is none.
func (g *Generator) AnyQuery() *policy.Query {
	q := g.Query()
	if g.chance(20) {
		q.Action = g.one("s3:GetObject", "x", "execute-api:")
	}
	if g.chance(30) {
		q.Account = g.one("", "111122223333", "444455556666")
		part := strings.SplitN(q.Resource, ":", 6)
		part[1], part[2] = g.one("aws", "", "aws-cn"), g.one("execute-api", "execute-api", "", "s3")
		part[4] = g.one("111122223333", "")
		q.Resource = strings.Join(part, ":")
	}
	override := func(key string, values ...string) {
		if g.chance(8) {
			q.Context[key] = policy.Values{g.one(values...)}
		}
	}
	override("aws:username", "bob", "guest", "", "*", "a}b")
	override("aws:PrincipalType", "User", "user", "AssumedRole")
	override("aws:PrincipalArn", "arn:aws:iam::111122223333:role/dev", "x", "")
	override("aws:PrincipalAccount", "111122223333", "444455556666")
	override("aws:EpochTime", "1577836800", "-1", "2020", "soon", "")
	override("aws:CurrentTime", "2020-01-01T00:00:00.5Z", "1577836800", "2020", "")
	return q
}

func (g *Generator) path() string {
	var b strings.Builder
	for range 2 + g.IntN(4) {
		fmt.Fprintf(&b, "/%s", g.one("prod", "dev", "GET", "POST", "pets", "pet", "bob", "guest", "a%20b", ":111122223333:abcde12345", "", "*", "x?y", "puts", "a}b", "p\u00e9t", "p\xe9t", "${x}", "pet?"))
	}
	return b.String()
}

func (g *Generator) address() string {
	return g.one("10.1.2.3", "10.1.2.1", "192.168.7.7", "8.8.8.8", "2001:db8::1", "2001:DB8:1::7", "::ffff:10.1.2.3", "fe80::1", "nonsense", "", "2001:0DB8:0:0::1", "::ffff:a01:203", "010.1.2.3", "10.1.2.3/32", "fe80::1%eth0")
}

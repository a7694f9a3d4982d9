package policy_test

import (
	"fmt"
	"net/netip"

	"github.com/posternhq/postern/dataplane/policy"
)

// A policy that admits one VPC endpoint, asked about a call through another.
func Example() {
	doc, err := policy.Parse([]byte(`{
	  "Version": "2012-10-17",
	  "Statement": [
	    {"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"},
	    {"Sid": "OnlyOurs", "Effect": "Deny", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*",
	     "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-01d622316a7df47f9"}}}
	  ]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	program, err := policy.Compile(doc)
	if err != nil {
		fmt.Println(err)
		return
	}

	var r policy.Request
	r.Action = "execute-api:Invoke"
	r.Resource = []byte("arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/GET/pets")
	r.Set(policy.KeySourceVpce, "vpce-0393a628149c867ee")
	r.SetAddr(policy.KeyVpcSourceIP, netip.MustParseAddr("10.0.1.7"))

	d := program.Eval(&r)
	fmt.Println(d.Effect, doc.Sid(d.Statement))
	// Output: explicit-deny OnlyOurs
}

// Why a call was denied, and what would have let it pass.
func ExampleProgram_Explain() {
	doc, err := policy.Parse([]byte(`{
	  "Version": "2012-10-17",
	  "Statement": [
	    {"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"},
	    {"Sid": "OnlyOurs", "Effect": "Deny", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*",
	     "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-01d622316a7df47f9"}}}
	  ]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	program, err := policy.Compile(doc)
	if err != nil {
		fmt.Println(err)
		return
	}
	q := policy.Query{Resource: "arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/GET/pets"}
	r, err := q.Request()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(program.Explain(r))
	// Output:
	// explicit-deny by statement 1 (OnlyOurs)
	//
	// request
	//   principal       anonymous
	//   action          execute-api:Invoke
	//   resource        arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/GET/pets
	//   aws:SourceVpce  absent
	//
	// statements
	//   0  Allow            4:6  applies
	//   1  Deny   OnlyOurs  5:6  applies, and decides
	//      StringNotEquals aws:SourceVpce: absent, and StringNotEquals holds for an absent key
	//
	// would be allowed
	//   if aws:SourceVpce were "vpce-01d622316a7df47f9"
}

// What all requests of a listener have in common is folded into the program:
// here, that they come through one endpoint, and for which API.
func ExampleProgram_Bind() {
	doc, err := policy.Parse([]byte(`{"Statement": [
	  {"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/prod/*"},
	  {"Effect": "Deny", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*",
	   "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-01d622316a7df47f9"}}}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	program, err := policy.Compile(doc)
	if err != nil {
		fmt.Println(err)
		return
	}
	listener := policy.Known{Action: "execute-api:Invoke", Resource: "arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/GET/"}
	for _, endpoint := range []string{"vpce-01d622316a7df47f9", "vpce-0393a628149c867ee"} {
		listener.Set(policy.KeySourceVpce, endpoint)
		d, constant := program.Bind(&listener).Constant()
		fmt.Println(endpoint, d.Effect, d.Statement, constant)
	}
	// Output:
	// vpce-01d622316a7df47f9 allow 0 true
	// vpce-0393a628149c867ee explicit-deny 1 true
}

// A caller of the API's own account, whose identity policy allows the call while
// the resource policy says nothing: within one account either is enough.
func ExampleCombination() {
	identity, err := policy.Parse([]byte(`{"Statement": {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	program, err := policy.CompileIdentity(identity)
	if err != nil {
		fmt.Println(err)
		return
	}
	q := policy.Query{
		Principal: "arn:aws:iam::123456789012:user/ada",
		Resource:  "arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/GET/pets",
	}
	r, err := q.Request()
	if err != nil {
		fmt.Println(err)
		return
	}
	call := policy.Combination{
		Auth: policy.AuthIAM, SameAccount: true,
		Resource: policy.Verdict{Attached: true, Decision: policy.Decision{Effect: policy.Silent, Statement: -1}},
		Identity: program.Verdict(r),
	}
	own := call.Outcome()
	call.SameAccount = false // across accounts both must allow
	other := call.Outcome()
	fmt.Println(own.Effect, "by the", own.Source)
	fmt.Println(other.Effect, "by the", other.Source)
	// Output:
	// allow by the identity-based policy
	// silent by the resource-based policy
}

// What is wrong with a policy, where, and what to write instead.
func ExampleDocument_Validate() {
	doc, err := policy.Parse([]byte(`{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "/pets",
	  "Condition": {"StringEquals": {"aws:SourceVpc": "vpce-01d622316a7df47f9"}}}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	problems, warnings := doc.Validate(policy.PrivateResourcePolicy)
	fmt.Println(problems[0])
	fmt.Println(warnings[0])
	// Output:
	// 1:97: Statement.Resource: "/pets" is not a resource; write execute-api:/stage/METHOD/path, a full ARN, or "*"
	// 2:52: Statement.Condition.StringEquals.aws:SourceVpc: "vpce-01d622316a7df47f9" is an endpoint id; write it under aws:SourceVpce, or a VPC id here
}

func ExampleDocument_Normalize() {
	doc, err := policy.Parse([]byte(`{"Statement": [{"Principal": "*", "Action": ["execute-api:Invoke"],
		"Effect": "Allow", "Resource": ["execute-api:/*"]}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", doc.Normalize(policy.Target{Region: "us-west-2", Account: "123456789012", APIID: "abcde12345"}))
	// Output: {"Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:us-west-2:123456789012:abcde12345/*"}]}
}

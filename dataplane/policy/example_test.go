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
	r.Action, r.Region, r.Account = "execute-api:Invoke", "us-west-2", "123456789012"
	r.Resource = []byte("abcde12345/prod/GET/pets")
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

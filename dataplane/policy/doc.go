// Package policy reads, checks, prints and evaluates AWS resource-policy
// documents: the policies of API Gateway APIs and of VPC endpoints.
//
//	doc, err := policy.Parse(text)      // the language, positions, duplicate keys
//	problems, warnings := doc.Validate(policy.ResourcePolicy)
//	prog, err := policy.Compile(doc)    // once
//	d := prog.Eval(&request)            // per request; no error, no allocation
//	fmt.Print(prog.Explain(&request))   // why, and what would have been allowed
//
// It owns the language: grammar, literals, wildcards, variables, condition
// operators, the normal form in which a policy is stored, the decision of one
// policy, and the outcome of several. It leaves to its callers where a
// request's values come from, who the caller is (signature verification), and
// every answer that a client sees.
//
// A Document and a Program are immutable once made and may be shared by any
// number of goroutines. A Request belongs to one goroutine at a time.
package policy

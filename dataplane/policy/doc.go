// Package policy reads, checks, prints and evaluates AWS policy documents: the
// resource policies of API Gateway APIs, the policies of VPC endpoints, and
// identity policies. It depends on no network and on nothing else of Postern.
//
//	doc, err := policy.Parse(text)      // the language, positions, duplicate keys
//	problems, warnings := doc.Validate(policy.ResourcePolicy)
//	prog, err := policy.Compile(doc)    // once
//	d := prog.Eval(&request)            // per request; no error, no allocation
//	fmt.Print(prog.Explain(&request))   // why, and what would have been allowed
//
// # Requests
//
// A [Request] says who asks (Principal, nil for an anonymous caller), for what
// (Action and the parts of the resource's ARN), and with which condition keys.
// Keys that an API gateway's edge knows have places of their own, set by
// [Request.Set] and [Request.SetAddr]; any other goes by name through
// [Request.SetContext]. What was not set is absent, and most operators treat an
// absent key in a way of their own. [Query] is a request as text, for files and
// tools; [ParseQuery] reads it from JSON.
//
// # Decisions
//
// A policy says [Allow], [ExplicitDeny], or nothing: [Silent], which denies if
// no other policy allows. The [Decision] names the statement. A statement that
// names an account, not a caller, sets Delegated. [Combination] puts the
// decisions of all policies of one request together: API, endpoint, identity,
// boundary and session.
//
// What is the same for many requests, such as those of one listener, is given
// to [Program.Bind] as [Known]; the bound Program has less to decide, and often
// nothing, as [Program.Constant] says.
//
// # What it leaves to others
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

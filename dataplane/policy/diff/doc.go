// Package diff says what a change of policies means: which requests the new
// policy allows and the old one did not, and the reverse, each shown by one
// small request, or that there are none.
//
//	r, err := diff.Compare(old, new, diff.Options{})
//	fmt.Print(r) // equal; or different, with witnesses; or unknown
//
// A witness was replayed by the reference evaluator, which shares no code with
// this package. Equal was proven for all requests of this universe:
//
//   - The action is any of execute-api, the resource any ARN of execute-api
//     with account and partition.
//   - The caller is anonymous, an account's root user, a user, a role or its
//     session, or a federated user, of any name without * and ?. What his ARN tells of him
//     (aws:PrincipalArn, aws:PrincipalAccount, aws:PrincipalType, aws:username,
//     and aws:userid where it is known) follows from it.
//   - aws:CurrentTime and aws:EpochTime are of one time from the year 2000 on,
//     or both absent.
//   - Any other key is absent or has any text; lists of several texts only
//     where the key is not one of those that have a single value in a call of
//     an API. Texts have no control characters. An empty aws:Referer or
//     aws:UserAgent is absent.
//
// Options narrow it. Witnesses are taken, if possible, from the requests that
// edges make: execute-api:Invoke on api/stage/VERB/path, keys that edges know,
// a VPC only with an endpoint, tags only of known callers. One that is not is
// marked hypothetical.
//
// Equal speaks of what is allowed. That a denial becomes explicit, or ceases to
// be, is reported beside it, since it matters only where another policy allows.
//
// The package leaves to others how policies combine, and what to do about a
// difference. Compare is safe for concurrent use.
package diff

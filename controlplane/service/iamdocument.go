package service

import (
	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/dataplane/policy"
)

// Quotas of AWS on the size of policies, in characters without white space.
const (
	maxUserInline  = 2048  // all inline policies of a user
	maxRoleInline  = 10240 // all of a role
	maxTrustPolicy = 2048
)

func malformedDocument(why string) error {
	return apierr.New(apierr.KindInvalid, "MalformedPolicyDocument", "Syntax errors in policy. %s", why)
}

// checkDocument refuses what is no policy of a user or role. Its size in
// characters is left to the caller: each place has a quota of its own.
func checkDocument(document string) (size int, err error) {
	doc, err := policy.Parse([]byte(document))
	if err != nil {
		return 0, malformedDocument(err.Error())
	}
	problems, _ := doc.Validate(policy.IdentityPolicy)
	for _, p := range problems {
		if p.Path != "" { // without a path it is the size of a managed policy
			return 0, malformedDocument(p.String())
		}
	}
	return doc.Size(), nil
}

// checkTrust refuses what is no trust policy.
func checkTrust(document string) error {
	doc, err := policy.ParseTrust([]byte(document))
	if err != nil {
		return malformedDocument(err.Error())
	}
	if doc.Size() > maxTrustPolicy {
		return iamLimit("Cannot exceed quota for ACLSizePerRole: %d", maxTrustPolicy)
	}
	return nil
}

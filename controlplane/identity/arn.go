package identity

import "strings"

// Names of what IAM and STS have; a path begins and ends with a slash.

// RootARN is the ARN of an account and of its root user.
func RootARN(account string) string { return "arn:aws:iam::" + account + ":root" }

// UserARN is the ARN of a user.
func UserARN(account, path, name string) string {
	return "arn:aws:iam::" + account + ":user" + path + name
}

// RoleARN is the ARN of a role.
func RoleARN(account, path, name string) string {
	return "arn:aws:iam::" + account + ":role" + path + name
}

// PolicyARN is the ARN of a managed policy; the account "aws" has those that
// are there for everyone.
func PolicyARN(account, path, name string) string {
	return "arn:aws:iam::" + account + ":policy" + path + name
}

// SessionARN is the ARN of a role's session, which has not the role's path.
func SessionARN(account, role, session string) string {
	return "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + session
}

// SplitARN takes the ARN of a user, role or policy apart, kind being one of
// these words.
func SplitARN(arn, kind string) (account, path, name string, ok bool) {
	rest, ok := strings.CutPrefix(arn, "arn:aws:iam::")
	if !ok {
		return "", "", "", false
	}
	account, rest, ok = strings.Cut(rest, ":"+kind+"/")
	if !ok || account == "" || strings.Contains(account, ":") {
		return "", "", "", false
	}
	slash := strings.LastIndexByte(rest, '/') + 1
	path, name = "/"+rest[:slash], rest[slash:]
	return account, path, name, name != ""
}

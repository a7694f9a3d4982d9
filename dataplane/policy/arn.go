package policy

import "strings"

const (
	arnParts = 6 // arn:partition:service:region:account:resource
	arnColon = arnParts - 1

	servicePart = 2
	accountPart = 4
)

// splitARN cuts at the first five colons; the sixth part keeps any further
// ones. It returns how many parts there are; only six make an ARN.
func splitARN(s string) (parts [arnParts]string, n int) {
	for n < arnColon {
		i := strings.IndexByte(s, ':')
		if i < 0 {
			break
		}
		parts[n] = s[:i]
		s = s[i+1:]
		n++
	}
	parts[n] = s
	return parts, n + 1
}

// digits says whether s is a non-empty run of ASCII digits.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// PartitionOf is the partition that a region belongs to.
func PartitionOf(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

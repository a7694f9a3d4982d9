package service

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
)

// IAM is global: its records are of an account and of no region, access keys
// and sessions of neither. Errors are in AWS's words where these are known.
type iam struct {
	iamv1.UnimplementedIAMServer
	cfg Config
}

// NewIAM returns the IAM service. Access keys need Config.Keyring.
func NewIAM(cfg Config) iamv1.IAMServer { return &iam{cfg: cfg.withDefaults()} }

// Metadata that says who signed a request, beyond his account: it is written
// where the request comes in, by whoever knows the key.
const (
	metaPrincipal = "x-postern-principal" // ARN
	metaUserID    = "x-postern-user-id"
)

// holder is who asks: whose access key it is, or else the account's root user.
func holder(ctx context.Context, cfg Config, v *state.View) *identity.Holder {
	account := caller(ctx).Account
	if h, _ := identity.Find(v, incoming(ctx, metaAccessKey), cfg.Now()); h != nil && h.Account == account {
		return h
	}
	return identity.Root(account)
}

// idAlphabet is that of unique ids and access key ids.
const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// uniqueID returns an id such as AIDAJQABLZS4A3QDU576Q.
func (cfg Config) uniqueID(prefix string) string { return prefix + cfg.pick(idAlphabet, 17) }

// encoded is a policy document as IAM answers it: in percent-encoding
// (RFC 3986).
func encoded(document string) *string {
	return new(strings.ReplaceAll(url.QueryEscape(document), "+", "%20"))
}

func iamTime(seconds int64) *string { return new(iamTimeText(time.Unix(seconds, 0))) }

func iamTimeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func noSuchEntity(format string, args ...any) error {
	return apierr.New(apierr.KindNotFound, "NoSuchEntity", format, args...)
}

func entityExists(format string, args ...any) error {
	return apierr.New(apierr.KindExists, "EntityAlreadyExists", format, args...)
}

func deleteConflict(format string, args ...any) error {
	return apierr.New(apierr.KindConflict, "DeleteConflict", format, args...)
}

func iamLimit(format string, args ...any) error {
	return apierr.New(apierr.KindLimit, "LimitExceeded", format, args...)
}

// iamInput is a fault of a value that no constraint in the .proto files names.
func iamInput(format string, args ...any) error {
	return apierr.New(apierr.KindInvalid, "InvalidInput", format, args...)
}

const defaultPage = 100

// pageAfter cuts out what follows a marker, which is the key of the last entry of
// the page before. Entries are put in the order of their keys.
func pageAfter[T any](all []T, key func(T) string, marker *string, maxItems *int32) (part []T, truncated *bool, next *string) {
	slices.SortFunc(all, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	if marker != nil {
		all = slices.DeleteFunc(all, func(x T) bool { return key(x) <= *marker })
	}
	n := defaultPage
	if maxItems != nil {
		n = int(*maxItems)
	}
	if len(all) <= n {
		return all, new(false), nil
	}
	return all[:n], new(true), new(key(all[n-1]))
}

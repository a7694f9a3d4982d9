package dev

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posternhq/postern/controlplane"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// MaxAccounts is how many accounts a laboratory makes by itself.
const MaxAccounts = 5

// accountIDs are those that it makes, in this order; the first is the one that
// requests belong to which name none.
var accountIDs = [MaxAccounts]string{"123456789012", "444455556666", "111122223333", "777788889999", "222233334444"}

// Account is one with an access key of its root user.
type Account struct {
	ID string `json:"id"`
	// Empty where the account had a key before: secrets are told once.
	AccessKeyID     string `json:"access_key_id,omitempty"`
	SecretAccessKey string `json:"secret_access_key,omitempty"`
}

// makeAccounts makes the accounts that are wished for, each with a key.
func (c *Cluster) makeAccounts(ctx context.Context, client adminv1.AdminClient) error {
	for _, id := range accountIDs[:c.cfg.Accounts] {
		for {
			made, err := client.CreateAccount(ctx, &adminv1.CreateAccountRequest{Id: id})
			if err == nil || status.Code(err) == codes.AlreadyExists {
				c.addresses.Accounts = append(c.addresses.Accounts, Account{id, made.GetAccessKeyId(), made.GetSecretAccessKey()})
				break
			}
			if ctx.Err() != nil {
				return nil
			}
			if controlplane.Permanent(err) {
				return fmt.Errorf("account %s: %w", id, err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

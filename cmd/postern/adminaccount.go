package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

type accountCmd struct {
	List   accountListCmd   `cmd:"" default:"withargs" help:"List the accounts of whom something is known."`
	Create accountCreateCmd `cmd:"" help:"Make an account and its first access key."`
}

type accountJSON struct {
	ID             string `json:"id"`
	Alias          string `json:"alias,omitempty"`
	Created        string `json:"created,omitempty"`
	RootAccessKeys uint32 `json:"root_access_keys"`
	Users          uint32 `json:"users"`
	Roles          uint32 `json:"roles"`
	Policies       uint32 `json:"policies"`
}

func newAccountJSON(a *adminv1.Account) accountJSON {
	out := accountJSON{
		ID: a.GetId(), Alias: a.GetAlias(), RootAccessKeys: a.GetRootAccessKeys(),
		Users: a.GetUsers(), Roles: a.GetRoles(), Policies: a.GetPolicies(),
	}
	if a.GetCreatedAt() != 0 {
		out.Created = rfc3339(time.Unix(a.GetCreatedAt(), 0))
	}
	return out
}

type accountCreateCmd struct {
	clientFlags
	Name string `arg:"" optional:"" help:"The account's alias: 3 to 63 lower-case letters, digits and hyphens."`
	ID   string `name:"id" help:"The account's 12 digits; random ones by default." placeholder:"ID"`
}

// Help is shown by postern admin account create --help.
func (accountCreateCmd) Help() string {
	return `Makes an account, under a name, an id, or both, and the first access key of its root user. The secret is printed now and
never again: the cluster keeps it sealed. An account that has a root key gets no other one here.

Examples:
  postern admin account create team-a
  eval "$(postern admin account create team-a --id 111122223333 -o json |
    jq -r '"export AWS_ACCESS_KEY_ID=\(.access_key_id) AWS_SECRET_ACCESS_KEY=\(.secret_access_key)"')"`
}

func (c *accountCreateCmd) Run(ctx context.Context, g *globals) error {
	if c.Name == "" && c.ID == "" {
		return usageError{errors.New("an account needs a NAME, an --id, or both")}
	}
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	made, err := client.CreateAccount(ctx, &adminv1.CreateAccountRequest{Id: c.ID, Alias: c.Name})
	if err != nil {
		return err
	}
	if g.Output == "json" {
		writeJSON(g.stdout, struct {
			Account   accountJSON `json:"account"`
			AccessKey string      `json:"access_key_id"`
			Secret    string      `json:"secret_access_key"`
		}{newAccountJSON(made.GetAccount()), made.GetAccessKeyId(), made.GetSecretAccessKey()})
		return nil
	}
	fmt.Fprintf(g.stdout, "account            %s %s\n", made.GetAccount().GetId(), made.GetAccount().GetAlias())
	fmt.Fprintf(g.stdout, "access key id      %s\n", made.GetAccessKeyId())
	fmt.Fprintf(g.stdout, "secret access key  %s\n", made.GetSecretAccessKey())
	fmt.Fprintln(g.stdout, "Keep the secret: it is not shown again.")
	return nil
}

type accountListCmd struct{ clientFlags }

// Help is shown by postern admin account list --help.
func (accountListCmd) Help() string { return "Example:\n  postern admin account list -o json" }

func (c *accountListCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	answer, err := client.ListAccounts(ctx, &adminv1.ListAccountsRequest{})
	if err != nil {
		return err
	}
	if g.Output == "json" {
		out := []accountJSON{}
		for _, a := range answer.GetAccounts() {
			out = append(out, newAccountJSON(a))
		}
		writeJSON(g.stdout, map[string]any{"accounts": out})
		return nil
	}
	number := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	rows := [][]string{{"ACCOUNT", "ALIAS", "CREATED", "ROOT KEYS", "USERS", "ROLES", "POLICIES"}}
	for _, a := range answer.GetAccounts() {
		row := newAccountJSON(a)
		rows = append(rows, []string{row.ID, row.Alias, row.Created, number(row.RootAccessKeys), number(row.Users), number(row.Roles), number(row.Policies)})
	}
	table(g.stdout, rows)
	return nil
}

package procs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/metadata"

	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	stsv1 "github.com/posternhq/postern/proto/postern/sts/v1"
	"github.com/posternhq/postern/test/procs"
)

// TestSecretsStaySealed: secrets of access keys and sessions are made at any
// node, also after the leader was killed, and are in no file of the cluster.
func TestSecretsStaySealed(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 1, NodeArgs: []string{"--log-level", "debug"}, EdgeArgs: []string{"--log-level", "debug"}})
	const account = "111122223333"
	r, err := c.Command(within(t, patience), "admin", "account", "create", "team-a", "--id", account, "-o", "json")
	if err != nil || r.Exit != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	var made struct {
		Key    string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &made); err != nil || len(made.Secret) != 40 {
		t.Fatalf("%s: %v", r.Stdout, err)
	}
	secrets := []string{made.Secret}
	if r, err := c.Command(within(t, patience), "admin", "account", "create", "--id", account); err != nil || r.Exit != 1 {
		t.Errorf("a second root key: %+v, %v", r, err)
	}
	more := func() error {
		for _, p := range c.Nodes {
			if !p.Running() {
				continue
			}
			conn, err := p.Conn()
			if err != nil {
				return err
			}
			defer conn.Close()
			ctx := metadata.AppendToOutgoingContext(within(t, patience), "x-postern-account", account)
			session, err := stsv1.NewSTSClient(conn).GetSessionToken(ctx, &stsv1.GetSessionTokenRequest{})
			if err != nil {
				return err
			}
			secrets = append(secrets, session.GetCredentials().GetSecretAccessKey(), session.GetCredentials().GetSessionToken())
		}
		return nil
	}
	eventually(t, "sessions made at each node", more)
	leader, err := c.Leader(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "sessions made at each node after the leader was killed", more)
	eventually(t, "the second key of the root user", func() error {
		for _, p := range c.Nodes {
			if !p.Running() {
				continue
			}
			conn, err := p.Conn()
			if err != nil {
				return err
			}
			defer conn.Close()
			key, err := iamv1.NewIAMClient(conn).CreateAccessKey(metadata.AppendToOutgoingContext(within(t, patience), "x-postern-account", account), &iamv1.CreateAccessKeyRequest{})
			if err != nil {
				return err
			}
			secrets = append(secrets, key.GetAccessKey().GetSecretAccessKey())
			return nil
		}
		return fmt.Errorf("no node runs")
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	// The ids are found, so the right files are looked at.
	files, named := 0, 0
	for _, root := range []string{c.Dir, filepath.Dir(c.Nodes[0].Log)} {
		err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			files++
			if bytes.Contains(data, []byte(made.Key)) {
				named++
			}
			for _, s := range secrets {
				if bytes.Contains(data, []byte(s)) {
					t.Errorf("a secret is in %s", name)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 10 || named < 3 || len(secrets) < 8 {
		t.Errorf("%d files were looked at, %d of them name the key; %d secrets", files, named, len(secrets))
	}
}

package edge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/internal/sigv4"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

const otherAccount = "444455556666"

// signer is what a client has; it signs as AWS's SDK does.
type signer struct {
	id, secret, token string
	region, service   string // of the scope; empty: as they should be
	ago               time.Duration
}

// sign signs a client's request.
func (s signer) sign(t testing.TB, r *http.Request, body string) {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	payload := hex.EncodeToString(sum[:])
	if said := r.Header.Get("X-Amz-Content-Sha256"); said != "" {
		payload = said
	}
	if err := v4.NewSigner().SignHTTP(t.Context(), s.credentials(), r, payload, or(s.service, service), or(s.region, region), time.Now().Add(-s.ago)); err != nil {
		t.Fatal(err)
	}
}

func (s signer) credentials() aws.Credentials {
	return aws.Credentials{AccessKeyID: s.id, SecretAccessKey: s.secret, SessionToken: s.token}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// received is a client's request as a server reads it.
func received(t testing.TB, r *http.Request) *http.Request {
	t.Helper()
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// request is a signed request as a server reads it.
func (s signer) request(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	s.sign(t, r, body)
	return received(t, r)
}

func today() int32 { return int32(time.Now().Unix() / 86400) }

// signingKeys are those of the day a week ago to the day in a week.
func signingKeys(secret, region string) *edgev1.SigningKeys {
	m := &edgev1.SigningKeys{Region: region}
	for day := today() - 7; day <= today()+7; day++ {
		key := sigv4.DeriveKey(secret, time.Unix(int64(day)*86400, 0).UTC().Format("20060102"), region, service)
		m.Keys = append(m.Keys, key[:]...)
	}
	return m
}

// key adds an access key to the world.
func (w *world) key(m *edgev1.AccessKey) signer {
	s := signer{id: m.Id, secret: "secret of " + m.Id}
	m.FirstDay, m.SigningKeys = today()-7, []*edgev1.SigningKeys{signingKeys(s.secret, region)}
	if m.Session != nil {
		s.token = "token of " + m.Id
		sum := sha256.Sum256([]byte(s.token))
		m.Session.TokenHash = sum[:]
		if m.Session.ExpiresAt == 0 {
			m.Session.ExpiresAt = time.Now().Unix() + 3600
		}
	}
	w.keys = append(w.keys, m)
	return s
}

// user adds a user with policies to the world.
func (w *world) user(account, name string, policies ...string) signer {
	id := "AIDA" + strings.ToUpper(name)
	w.owner(id, policies)
	return w.key(&edgev1.AccessKey{
		Id: "AKIA" + strings.ToUpper(name), Account: account, PrincipalId: id, Type: "User", UserId: id, UserName: name,
		Arn: "arn:aws:iam::" + account + ":user/" + name, Tags: map[string]string{"team": "a"},
	})
}

// role adds a role with policies, and a session of it, to the world.
func (w *world) role(account, name string, session *edgev1.AccessSession, policies ...string) signer {
	id := "AROA" + strings.ToUpper(name)
	w.owner(id, policies)
	return w.key(&edgev1.AccessKey{
		Id: "ASIA" + strings.ToUpper(name), Account: account, PrincipalId: id, Type: "AssumedRole", UserId: id + ":s1",
		Arn: "arn:aws:sts::" + account + ":assumed-role/" + name + "/s1", RoleArn: "arn:aws:iam::" + account + ":role/path/" + name, Session: session,
	})
}

// root adds the root user of an account to the world.
func (w *world) root(account string) signer {
	return w.key(&edgev1.AccessKey{Id: "AKIAROOT" + account, Account: account, Type: "Account", UserId: account, Arn: "arn:aws:iam::" + account + ":root"})
}

func (w *world) owner(id string, policies []string) {
	p := &edgev1.Principal{Id: id}
	for i, document := range policies {
		p.Policies = append(p.Policies, &edgev1.NamedPolicy{Name: fmt.Sprintf("p%d", i), Document: document})
	}
	w.owners = append(w.owners, p)
}

// bound gives the user or role that was added last a permissions boundary.
func (w *world) bound(document string) {
	w.owners[len(w.owners)-1].Boundary = &edgev1.NamedPolicy{Name: "boundary", Document: document}
}

// signedMethods makes all methods of both APIs want a signature.
func (w *world) signedMethods() {
	for _, s := range w.stages {
		for _, r := range s.Routes {
			r.Method.AuthorizationType = proto.String("AWS_IAM")
		}
	}
}

// document is a policy of one statement; principal is empty for one of a caller.
func document(effect, principal string, condition ...string) string {
	return `{"Version":"2012-10-17","Statement":` + clause(effect, principal, condition...) + `}`
}

func clause(effect, principal string, condition ...string) string {
	s := `{"Effect":"` + effect + `",`
	if principal != "" {
		s += `"Principal":` + principal + `,`
	}
	for _, c := range condition {
		s += `"Condition":` + c + `,`
	}
	return s + `"Action":"execute-api:Invoke","Resource":"*"}`
}

const (
	everyone = `"*"`
	nobody   = `{"AWS":"arn:aws:iam::999999999999:user/nobody"}`
)

package procs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	enc "encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/internal/pki"
	"github.com/posternhq/postern/internal/sigv4"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	stsv1 "github.com/posternhq/postern/proto/postern/sts/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
	"github.com/posternhq/postern/test/optional"
	"github.com/posternhq/postern/test/procs"
	"github.com/posternhq/postern/test/tenant"
)

const (
	homeAccount, otherAccount = "123456789012", "444455556666"
	signedPath                = "/test"
)

// credential is what a client signs with.
type credential struct{ id, secret, token string }

type answer struct {
	status int
	body   string
}

// identities makes users, keys and sessions at a node.
type identities struct {
	t       *testing.T
	conn    *grpc.ClientConn
	version uint64 // of the last write
}

func newIdentities(t *testing.T, node *procs.Process) *identities {
	t.Helper()
	conn, err := node.Conn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &identities{t: t, conn: conn}
}

// as is the context of calls by an account's root user, or by whose key it is.
func (i *identities) as(account string) (context.Context, grpc.CallOption, func(error)) {
	i.t.Helper()
	var header metadata.MD
	ctx := metadata.AppendToOutgoingContext(within(i.t, patience), "x-postern-account", account)
	return ctx, grpc.Header(&header), func(err error) {
		i.t.Helper()
		if err != nil {
			i.t.Fatal(err)
		}
		if v := header.Get("x-postern-version"); len(v) > 0 {
			i.version, _ = strconv.ParseUint(v[0], 10, 64)
		}
	}
}

// user makes a user with a key and, if there is a document, a policy.
func (i *identities) user(account, name, document string) credential {
	i.t.Helper()
	iam := iamv1.NewIAMClient(i.conn)
	ctx, header, check := i.as(account)
	_, err := iam.CreateUser(ctx, &iamv1.CreateUserRequest{UserName: new(name)}, header)
	check(err)
	if document != "" {
		_, err = iam.PutUserPolicy(ctx, &iamv1.PutUserPolicyRequest{UserName: new(name), PolicyName: new("own"), PolicyDocument: new(document)}, header)
		check(err)
	}
	made, err := iam.CreateAccessKey(ctx, &iamv1.CreateAccessKeyRequest{UserName: new(name)}, header)
	check(err)
	return credential{id: made.GetAccessKey().GetAccessKeyId(), secret: made.GetAccessKey().GetSecretAccessKey()}
}

// session makes credentials of an account's root user that end.
func (i *identities) session(account string) credential {
	i.t.Helper()
	ctx, header, check := i.as(account)
	made, err := stsv1.NewSTSClient(i.conn).GetSessionToken(ctx, &stsv1.GetSessionTokenRequest{}, header)
	check(err)
	c := made.GetCredentials()
	return credential{c.GetAccessKeyId(), c.GetSecretAccessKey(), c.GetSessionToken()}
}

var credentialXML = regexp.MustCompile(`(?s)<AccessKeyId>(\w+)</AccessKeyId>.*<SecretAccessKey>(\S+)</SecretAccessKey>.*<SessionToken>(\S+)</SessionToken>`)

// role makes a role with a policy that an account may assume, and a session of
// it by a user of that account.
func (i *identities) role(node *procs.Process, account, name, document, trusted string, by credential) credential {
	i.t.Helper()
	iam := iamv1.NewIAMClient(i.conn)
	ctx, header, check := i.as(account)
	trust := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + trusted + `"},"Action":"sts:AssumeRole"}}`
	_, err := iam.CreateRole(ctx, &iamv1.CreateRoleRequest{RoleName: new(name), AssumeRolePolicyDocument: new(trust)}, header)
	check(err)
	_, err = iam.PutRolePolicy(ctx, &iamv1.PutRolePolicyRequest{RoleName: new(name), PolicyName: new("own"), PolicyDocument: new(document)}, header)
	check(err)
	// Whose a key is counts over AWS's own protocol only.
	form := url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {"arn:aws:iam::" + account + ":role/" + name}, "RoleSessionName": {"s1"}}
	r, err := http.NewRequestWithContext(within(i.t, patience), http.MethodPost, "http://"+node.API+"/", strings.NewReader(form.Encode()))
	if err != nil {
		i.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(form.Encode()))
	if err := v4.NewSigner().SignHTTP(r.Context(), sdk.Credentials{AccessKeyID: by.id, SecretAccessKey: by.secret}, r, hex.EncodeToString(sum[:]), "sts", "us-west-2", time.Now()); err != nil {
		i.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		i.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	m := credentialXML.FindSubmatch(body)
	if m == nil {
		i.t.Fatalf("assume role: %s %s", res.Status, body)
	}
	return credential{string(m[1]), string(m[2]), string(m[3])}
}

// set switches a key on or off.
func (i *identities) set(account, name string, c credential, status string) {
	i.t.Helper()
	ctx, header, check := i.as(account)
	_, err := iamv1.NewIAMClient(i.conn).UpdateAccessKey(ctx, &iamv1.UpdateAccessKeyRequest{UserName: new(name), AccessKeyId: new(c.id), Status: new(status)}, header)
	check(err)
}

// byGo signs with AWS's SDK for Go.
func byGo(t *testing.T, c *procs.Cluster, w *tenant.Tenant, edge *procs.Process, credentials []credential) (answers []answer) {
	t.Helper()
	client := w.Client(edge)
	defer client.CloseIdleConnections()
	for _, cred := range credentials {
		r, err := http.NewRequestWithContext(within(t, patience), http.MethodGet, "https://"+w.Name+signedPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		if err := v4.NewSigner().SignHTTP(r.Context(), sdk.Credentials{AccessKeyID: cred.id, SecretAccessKey: cred.secret, SessionToken: cred.token},
			r, empty, "execute-api", "us-west-2", time.Now()); err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer{res.StatusCode, string(body)})
	}
	return answers
}

// byCurl signs with curl --aws-sigv4.
func byCurl(t *testing.T, c *procs.Cluster, w *tenant.Tenant, edge *procs.Process, credentials []credential) (answers []answer) {
	t.Helper()
	for _, cred := range credentials {
		args := []string{
			"--silent", "--show-error", "--max-time", "20", "--cacert", filepath.Join(c.Dir, "ca.pem"), "--interface", w.Bind,
			"--connect-to", fmt.Sprintf("%s:443:%s:%d", w.Name, w.ENI, edge.Port), "--write-out", "\n%{http_code}",
			"--aws-sigv4", "aws:amz:us-west-2:execute-api", "--user", cred.id + ":" + cred.secret,
		}
		if cred.token != "" {
			args = append(args, "--header", "X-Amz-Security-Token: "+cred.token)
		}
		out, err := exec.CommandContext(within(t, patience), "curl", append(args, "https://"+w.Name+signedPath)...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl: %v\n%s", err, out)
		}
		at := bytes.LastIndexByte(out, '\n')
		status, err := strconv.Atoi(string(out[at+1:]))
		if err != nil {
			t.Fatalf("curl printed %s", out)
		}
		answers = append(answers, answer{status, string(out[:at])})
	}
	return answers
}

// byScript has a script beside this file sign and send.
func byScript(program string, args ...string) signer {
	return func(t *testing.T, c *procs.Cluster, w *tenant.Tenant, edge *procs.Process, credentials []credential) (answers []answer) {
		t.Helper()
		list := make([][3]string, len(credentials))
		for i, cred := range credentials {
			list[i] = [3]string{cred.id, cred.secret, cred.token}
		}
		question, err := json.Marshal(map[string]any{
			"ca": filepath.Join(c.Dir, "ca.pem"), "host": w.Name, "path": signedPath, "region": "us-west-2",
			"from": w.Bind, "address": w.ENI, "port": edge.Port, "credentials": list,
		})
		if err != nil {
			t.Fatal(err)
		}
		run := exec.CommandContext(within(t, patience), program, args...)
		var stderr bytes.Buffer
		run.Stdin, run.Stderr = bytes.NewReader(question), &stderr
		out, err := run.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", program, err, stderr.String())
		}
		var got [][2]any
		if err := json.Unmarshal(out, &got); err != nil || len(got) != len(credentials) {
			t.Fatalf("%s printed %s", program, out)
		}
		for _, a := range got {
			status, _ := a[0].(float64)
			body, _ := a[1].(string)
			answers = append(answers, answer{int(status), body})
		}
		return answers
	}
}

// signer asks with each of the credentials at one edge.
type signer func(t *testing.T, c *procs.Cluster, w *tenant.Tenant, edge *procs.Process, credentials []credential) []answer

// signers are the clients whose signatures edges must take, as far as they are here.
func signers(t *testing.T) map[string]signer {
	t.Helper()
	all := map[string]signer{"Go": byGo}
	add := func(name string, there bool, s signer) {
		if there {
			all[name] = s
			return
		}
		t.Run(name, func(t *testing.T) { optional.Missing(t, "the signer is not installed") })
	}
	help, err := exec.CommandContext(within(t, patience), "curl", "--help", "all").Output()
	add("curl", err == nil && bytes.Contains(help, []byte("--aws-sigv4")), byCurl)
	// A system's own interpreter may have what another one in front of it lacks.
	python := "python3"
	for _, python = range []string{"python3", "/usr/bin/python3"} {
		if err = exec.CommandContext(within(t, patience), python, "-c", "import botocore.auth").Run(); err == nil {
			break
		}
	}
	add("Python", err == nil, byScript(python, "testdata/sign.py"))
	clients, err := filepath.Abs("../conformance/clients")
	if err != nil {
		t.Fatal(err)
	}
	err = exec.CommandContext(within(t, patience), "node", "-e", "require('node:module').createRequire(process.argv[1] + '/')('@smithy/signature-v4')", clients).Run()
	add("JavaScript", err == nil, byScript("node", "testdata/sign.js", clients))
	return all
}

func signedMethod(t *testing.T, c *procs.Cluster, w *tenant.Tenant) {
	t.Helper()
	var resources struct {
		Items []struct{ ID, Path string } `json:"item"`
	}
	ctx := within(t, patience)
	if _, err := aws(ctx, c.Nodes[0], "GET", "/restapis/"+w.API+"/resources", nil, &resources); err != nil {
		t.Fatal(err)
	}
	patch := map[string]any{"patchOperations": []any{map[string]string{"op": "replace", "path": "/authorizationType", "value": "AWS_IAM"}}}
	if _, err := aws(ctx, c.Nodes[0], "PATCH", "/restapis/"+w.API+"/resources/"+resources.Items[0].ID+"/methods/GET", patch, nil); err != nil {
		t.Fatal(err)
	}
}

// sealedKeys looks for the signing keys that an edge was sent: they are in its
// cache once that is opened with the edge's own key, and in no file as they are.
func sealedKeys(t *testing.T, c *procs.Cluster, edge *procs.Process, credentials []credential) {
	t.Helper()
	keyring, err := pki.LoadOrCreateKeyring(filepath.Join(c.Dir, "pki", "edge-"+edge.ID+".seal"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(edge.Dir, "snapshot.cache"))
	if err != nil {
		t.Fatal(err)
	}
	const magic, head = 8, 8 // head: length and checksum
	var opened []byte
	for at := magic; at < len(data); {
		end := at + head + int(enc.BigEndian.Uint32(data[at:]))
		var sealed syncv1.SealedFrame
		if err := proto.Unmarshal(data[at+head:end], &sealed); err != nil {
			t.Fatal(err)
		}
		plain, err := keyring.Open(sealed.GetKeyId(), sealed.GetBox(), "cache of "+edge.ID+", DOMAIN_EDGE")
		if err != nil {
			t.Fatal(err)
		}
		opened, at = append(opened, plain...), end
	}
	var files [][]byte
	for _, root := range []string{edge.Dir, edge.Log} {
		err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(name)
			files = append(files, data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, credential := range credentials {
		key := sigv4.DeriveKey(credential.secret, time.Now().UTC().Format("20060102"), "us-west-2", "execute-api")
		if !bytes.Contains(opened, key[:]) {
			t.Errorf("%s was not sent today's signing key of %s", edge.ID, credential.id)
		}
		for _, file := range files {
			if bytes.Contains(file, key[:]) {
				t.Errorf("a signing key of %s lies on the disk of %s", credential.id, edge.ID)
			}
		}
	}
}

func ownPolicy(effect string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"` + effect + `","Action":"execute-api:Invoke","Resource":"*"}}`
}

// TestSignedCalls: all cells of tables A and B (resource-policies.md §6) by
// requests that other programs signed, with keys that IAM made, at each edge.
// Then a key is taken away and given back, each time at the very version; and
// without a control plane signed calls go on, also after a crash of the edges.
func TestSignedCalls(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 2, OwnPorts: true})
	w := settle(t, c)
	signedMethod(t, c, w)
	iam := newIdentities(t, c.Nodes[1])
	const allow, silent, deny = "Allow", "Silent", "Deny"
	documents := map[string]string{allow: ownPolicy(allow), silent: "", deny: ownPolicy(deny)}
	type caller struct{ account, identity string }
	var callers []caller
	var credentials []credential
	for _, account := range []string{homeAccount, otherAccount} {
		for _, identity := range []string{allow, silent, deny} {
			callers = append(callers, caller{account, identity})
			credentials = append(credentials, iam.user(account, "user-"+identity, documents[identity]))
		}
	}
	// Sessions of roles of both accounts, of a user who may assume all.
	assumer := iam.user(homeAccount, "assumer", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}}`)
	for _, account := range []string{homeAccount, otherAccount} {
		for _, identity := range []string{allow, deny} {
			callers = append(callers, caller{account, identity})
			credentials = append(credentials, iam.role(c.Nodes[0], account, "role-"+identity, documents[identity], homeAccount, assumer))
		}
	}
	callers = append(callers, caller{homeAccount, allow}) // root users may do everything
	credentials = append(credentials, iam.session(homeAccount))

	resource := map[string]string{
		allow: `{"Effect":"Allow","Principal":"*"`, deny: `{"Effect":"Deny","Principal":"*"`,
		silent: `{"Effect":"Allow","Principal":{"AWS":"999999999999"}`,
	}
	clients := signers(t)
	for said, head := range resource {
		redeploy(t, c, w, `{"Version":"2012-10-17","Statement":[`+head+`,"Action":"execute-api:Invoke","Resource":"execute-api:/*"}]}`)
		for name, client := range clients {
			for _, edge := range c.Edges {
				for i, got := range client(t, c, w, edge, credentials) {
					who := callers[i]
					// Explicit denies first; then any Allow in one account, both between two.
					want := answer{200, tenant.Body}
					switch both, any := said == allow && who.identity == allow, said == allow || who.identity == allow; {
					case said == deny || who.identity == deny:
						want = answer{403, "with an explicit deny in a"}
					case who.account == homeAccount && !any, who.account != homeAccount && !both:
						want = answer{403, "policy allows the execute-api:Invoke action"}
					}
					if got.status != want.status || !strings.Contains(got.body, want.body) {
						t.Errorf("%s at %s, resource policy %s, %+v: got %d %s", name, edge.ID, said, who, got.status, got.body)
					}
				}
			}
		}
	}

	redeploy(t, c, w, `{"Version":"2012-10-17","Statement":[`+resource[silent]+`,"Action":"execute-api:Invoke","Resource":"execute-api:/*"}]}`)
	at := func(edge *procs.Process) answer { return byGo(t, c, w, edge, credentials[:1])[0] }
	for range 3 {
		for status, want := range map[string]int{"Inactive": 403, "Active": 200} {
			iam.set(homeAccount, "user-"+allow, credentials[0], status)
			mustWait(t, c, iam.version)
			for _, edge := range c.Edges {
				if got := at(edge); got.status != want {
					t.Errorf("key %s since version %d: %s answers %d %s", status, iam.version, edge.ID, got.status, got.body)
				}
			}
		}
	}
	iam.set(homeAccount, "user-"+allow, credentials[0], "Active")
	mustWait(t, c, iam.version)

	if err := procs.KillAll(append(c.Nodes, c.Edges...)...); err != nil {
		t.Fatal(err)
	}
	for _, edge := range c.Edges {
		sealedKeys(t, c, edge, credentials)
	}
	// What was sealed before a renewal of its certificate opens after it.
	renewed := filepath.Join(c.Dir, "pki", "edge-"+c.Edges[0].ID)
	for _, name := range []string{renewed + ".pem", renewed + ".key"} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := procs.StartAll(within(t, patience), c.Edges...); err != nil {
		t.Fatal(err)
	}
	for _, edge := range c.Edges {
		if got := at(edge); got.status != 200 {
			t.Errorf("without a control plane %s answers %d %s", edge.ID, got.status, got.body)
		}
	}
}

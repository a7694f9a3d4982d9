package main

import (
	"bytes"
	"strings"
	"testing"
)

// A laboratory of two accounts tells their keys once, and has them when it is
// started again.
func TestDevMakesAccounts(t *testing.T) {
	data := t.TempDir()
	a, stop := startDev(t, "--data", data, "--accounts", "2")
	stop()
	if len(a.Accounts) != 2 || a.Accounts[0].ID != "123456789012" || a.Accounts[1].ID != "444455556666" {
		t.Fatalf("accounts %+v", a.Accounts)
	}
	for _, account := range a.Accounts {
		if !strings.HasPrefix(account.AccessKeyID, "AKIA") || len(account.SecretAccessKey) != 40 {
			t.Errorf("account %+v", account)
		}
	}
	again, stop := startDev(t, "--data", data, "--accounts", "2")
	stop()
	for _, account := range again.Accounts {
		if account.ID == "" || account.SecretAccessKey != "" {
			t.Errorf("started again: %+v", account)
		}
	}
	if _, err := parse(t, "dev", "--accounts", "6"); err == nil || !strings.Contains(err.Error(), "--accounts 6") {
		t.Errorf("six accounts: %v", err)
	}
}

// TestCrossAccountDemo: the story of a shared API holds in every check.
func TestCrossAccountDemo(t *testing.T) {
	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"demo", "--cross-account", "--dns-profile", "fast", "-o", "json"}, &out, &stderr); code != 0 {
		t.Errorf("exit %d: %s%s", code, out.String(), stderr.String())
	}
	if n := strings.Count(out.String(), `"ok":true`); n != 9 { // eight checks, and all together
		t.Errorf("%d checks hold: %s", n, out.String())
	}
}

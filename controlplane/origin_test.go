package controlplane

import (
	"context"
	"testing"

	"google.golang.org/grpc/metadata"
)

// A client of gRPC can't say who he is: what tells the services whose a request
// is comes from the node alone.
func TestClientsDoNotNameThemselves(t *testing.T) {
	forged := []string{metaRole, metaAccessKey, metaPrincipal, metaUserID, metaSource, metaUserAgent, metaForwarded}
	md := metadata.Pairs(metaAccount, "111122223333")
	for _, key := range forged {
		md.Set(key, "forged")
	}
	called := false
	_, err := origin(metadata.NewIncomingContext(t.Context(), md), nil, nil, func(ctx context.Context, _ any) (any, error) {
		called = true
		seen, _ := metadata.FromIncomingContext(ctx)
		for _, key := range forged {
			if got := seen.Get(key); len(got) > 0 {
				t.Errorf("%s is %v", key, got)
			}
		}
		if got := seen.Get(metaAccount); len(got) != 1 || got[0] != "111122223333" {
			t.Errorf("account %v", got)
		}
		return nil, nil
	})
	if err != nil || !called {
		t.Errorf("called %v, %v", called, err)
	}
}

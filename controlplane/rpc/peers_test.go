package rpc

import (
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// A role's users of one node share a connection: one that is done with it must
// not be able to close it, or the others, and itself later, never reach the node again.
func TestPeersConnectionIsNotTheUsersToClose(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(AllowPings())
	healthv1.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(server.Stop)
	peers := NewPeers(insecure.NewCredentials())
	t.Cleanup(func() { _ = peers.Close() })
	for range 2 {
		conn, err := peers.Conn(ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
		if closer, ok := conn.(io.Closer); ok {
			_ = closer.Close()
		}
	}
}

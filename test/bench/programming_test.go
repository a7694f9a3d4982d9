package bench

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	"github.com/posternhq/postern/test/tenant"
)

// BenchmarkProgramming: one change at a time, from the request to the moment at
// which the barrier says that both edges decide by it; beside that, from the
// request to its acknowledgement alone.
func BenchmarkProgramming(b *testing.B) {
	c := cluster(b, 3, 2)
	t, err := tenant.New(soon(b), c)
	if err != nil {
		b.Fatal(err)
	}
	leader, err := c.Leader(soon(b))
	if err != nil {
		b.Fatal(err)
	}
	conn, err := leader.Conn()
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	admin := adminv1.NewAdminClient(conn)
	var written, programmed []time.Duration
	for n := 0; b.Loop(); n++ {
		began := time.Now()
		version, err := t.Touch(b.Context(), leader, fmt.Sprint(n))
		if err != nil {
			b.Fatal(err)
		}
		written = append(written, time.Since(began))
		stream, err := admin.Wait(b.Context(), &adminv1.WaitRequest{Index: version, Kinds: []string{"edges"}})
		if err != nil {
			b.Fatal(err)
		}
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			if m.GetDone() && !m.GetReached() {
				b.Fatalf("version %d was not reached", version)
			}
		}
		programmed = append(programmed, time.Since(began))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(percentile(written, 0.5)), "ms-write-p50")
	b.ReportMetric(ms(percentile(written, 0.99)), "ms-write-p99")
	b.ReportMetric(ms(percentile(programmed, 0.5)), "ms-edges-p50")
	b.ReportMetric(ms(percentile(programmed, 0.99)), "ms-edges-p99")
}

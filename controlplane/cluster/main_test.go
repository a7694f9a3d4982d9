package cluster_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Run returns after the goroutines that it started.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

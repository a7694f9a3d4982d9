//go:build !linux

package syncclient

import "time"

func sinceBoot() time.Duration { return sinceStart() }

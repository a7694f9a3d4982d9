//go:build !linux

package procs

import "syscall"

// bound keeps an interrupt typed at the terminal from the processes: whoever
// started them stops them.
func bound() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

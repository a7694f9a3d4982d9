package procs

import "syscall"

// bound has the system end a process when the one that started it dies, so that
// a test that panics leaves nothing behind.
func bound() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// threadTime returns the CPU time of this thread: what a clock on the wall says
// when nobody else wants the CPU, and the same when somebody does.
func threadTime() (time.Duration, error) {
	const threadCPUTime = 3 // CLOCK_THREAD_CPUTIME_ID, clock_gettime(2)
	var t syscall.Timespec
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, threadCPUTime, uintptr(unsafe.Pointer(&t)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("reading the CPU time of a thread: %w", errno)
	}
	return time.Duration(t.Nano()), nil
}

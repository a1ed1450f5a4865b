// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of CPU times in /proc, on every architecture that Go knows.
const tick = 10 * time.Millisecond

// usage is CPU time since the processes and the machine were started.
type usage struct {
	of          map[string]time.Duration // by group of processes
	busy, total time.Duration            // of all CPUs
}

// cpuTimes asks for groups of processes, and is empty for none.
func cpuTimes(groups map[string][]int) (usage, error) {
	u := usage{of: map[string]time.Duration{}}
	if len(groups) == 0 {
		return u, nil
	}
	for name, pids := range groups {
		for _, pid := range pids {
			used, err := processTime(pid)
			if err != nil {
				return usage{}, fmt.Errorf("reading the CPU time of %s: %w", name, err)
			}
			u.of[name] += used
		}
	}
	var err error
	if u.busy, u.total, err = machineTime(); err != nil {
		return usage{}, fmt.Errorf("reading the CPU time of the machine: %w", err)
	}
	return u, nil
}

func processTime(pid int) (time.Duration, error) {
	file := fmt.Sprintf("/proc/%d/stat", pid)
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	// "PID (NAME) STATE PPID …", and NAME may hold anything.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	const user, system = 11, 12
	if len(fields) <= system {
		return 0, fmt.Errorf("%s has too few fields", file)
	}
	return ticks(fields[user], fields[system])
}

func machineTime() (busy, total time.Duration, err error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	// "cpu USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ STEAL …": what follows is
	// in USER and NICE already.
	line, _, _ := bytes.Cut(data, []byte("\n"))
	fields := bytes.Fields(line)
	const first, idle, iowait, last = 1, 4, 5, 8
	if len(fields) <= last {
		return 0, 0, fmt.Errorf("/proc/stat has too few fields")
	}
	if total, err = ticks(fields[first : last+1]...); err != nil {
		return 0, 0, err
	}
	unused, err := ticks(fields[idle], fields[iowait])
	return total - unused, total, err
}

func ticks(fields ...[]byte) (time.Duration, error) {
	var sum time.Duration
	for _, field := range fields {
		n, err := strconv.ParseUint(string(field), 10, 32)
		if err != nil {
			return 0, fmt.Errorf("CPU time: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// procInfo is what /proc/PID/stat says about a process.
type procInfo struct {
	pid, parent, group int
	zombie             bool
	started            uint64 // clock ticks since boot
}

// processes lists the processes of this machine. Where there is no /proc, the
// error is errors.ErrUnsupported.
func processes() ([]procInfo, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("listing processes on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var all []procInfo
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		info, err := readStat(pid)
		if gone(err) {
			continue // it ended since the folder was read
		}
		if err != nil {
			return nil, err
		}
		all = append(all, info)
	}
	return all, nil
}

// gone tells whether a file of /proc could not be read because its process has
// ended.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

func readStat(pid int) (procInfo, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procInfo{}, err
	}
	// "PID (NAME) STATE PPID PGRP …", and NAME may hold anything.
	end := bytes.LastIndexByte(data, ')')
	fields := bytes.Fields(data[end+1:])
	const state, parent, group, started = 0, 1, 2, 19
	if end < 0 || len(fields) <= started {
		return procInfo{}, fmt.Errorf("reading /proc/%d/stat: too few fields", pid)
	}
	info := procInfo{pid: pid, zombie: fields[state][0] == 'Z' || fields[state][0] == 'X'}
	var errs [3]error
	info.parent, errs[0] = strconv.Atoi(string(fields[parent]))
	info.group, errs[1] = strconv.Atoi(string(fields[group]))
	info.started, errs[2] = strconv.ParseUint(string(fields[started]), 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return procInfo{}, fmt.Errorf("reading /proc/%d/stat: %w", pid, err)
	}
	return info, nil
}

// groupMembers lists the living processes of a process group.
func groupMembers(group int) ([]int, error) {
	return selectPIDs(func(p procInfo) bool { return p.group == group })
}

// children lists the living children of a process, oldest first.
func children(parent int) ([]int, error) {
	return selectPIDs(func(p procInfo) bool { return p.parent == parent })
}

func selectPIDs(wanted func(procInfo) bool) ([]int, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(p procInfo) bool { return p.zombie || !wanted(p) })
	slices.SortFunc(all, func(a, b procInfo) int {
		return cmp.Or(cmp.Compare(a.started, b.started), cmp.Compare(a.pid, b.pid))
	})
	pids := make([]int, len(all))
	for i, p := range all {
		pids[i] = p.pid
	}
	return pids, nil
}

// listensOn tells whether a process itself, and not somebody who was faster,
// listens on a loopback TCP port. Where there is no /proc, the error is
// errors.ErrUnsupported.
func listensOn(pid, port int) (bool, error) {
	if runtime.GOOS != "linux" {
		return false, fmt.Errorf("looking for listeners on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	inode, err := listenerInode(port)
	if err != nil || inode == "" {
		return false, err
	}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("listing open files of process %d: %w", pid, err)
	}
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if err == nil && target == "socket:["+inode+"]" {
			return true, nil
		}
	}
	return false, nil
}

// listenerInode names the socket that listens on 127.0.0.1:port; empty when
// none does.
func listenerInode(port int) (string, error) {
	data, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return "", fmt.Errorf("listing sockets: %w", err)
	}
	const local, state, inode = 1, 3, 9
	const listen = "0A"
	suffix := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) > inode && fields[state] == listen && strings.HasSuffix(fields[local], suffix) {
			return fields[inode], nil
		}
	}
	return "", nil
}

// ResidentSize returns how much physical memory a process holds, in bytes.
func ResidentSize(pid int) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading resident size: %w", err)
	}
	defer f.Close() // read only: nothing to lose
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		value, ok := strings.CutPrefix(lines.Text(), "VmRSS:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading resident size of process %d: %w", pid, err)
		}
		return kib << 10, nil
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("reading resident size of process %d: %w", pid, err)
	}
	return 0, fmt.Errorf("reading resident size of process %d: no VmRSS", pid)
}

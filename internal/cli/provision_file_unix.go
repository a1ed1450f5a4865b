// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !solaris && !aix

package cli

import (
	"errors"
	"os"
	"syscall"
)

// lockFile keeps other runs from using a report. The lock ends with the process,
// however that ends.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errReportLocked
	}
	return err
}

// syncDir makes a new file's name survive the machine.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

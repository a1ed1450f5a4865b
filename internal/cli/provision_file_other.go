// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

//go:build !unix || solaris || aix

package cli

import "os"

// lockFile does nothing here: two runs must not use one report at a time.
func lockFile(*os.File) error { return nil }

// syncDir does nothing here: a folder cannot be synced.
func syncDir(string) error { return nil }

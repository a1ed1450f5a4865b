// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package tpmtest

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }

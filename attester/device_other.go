// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package attester

import (
	"errors"

	"github.com/google/go-tpm/tpm2/transport"
)

func openDevice(string) (transport.TPMCloser, error) {
	return nil, errors.New("TPM devices are opened on Linux only: open the transport yourself and use New")
}

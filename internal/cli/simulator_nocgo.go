// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

//go:build !cgo

package cli

import (
	"errors"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/veraison/attested-tls/attester"
)

// simulators says why there is no "simulator:": it is C.
func simulators() []attester.Opener {
	return []attester.Opener{{
		Scheme: "simulator",
		Open: func(string) (transport.TPMCloser, error) {
			return nil, errors.New("this program was built without cgo, and so without the simulator")
		},
	}}
}

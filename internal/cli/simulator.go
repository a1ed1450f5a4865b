// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package cli

import (
	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
)

// simulators opens "simulator:".
func simulators() []attester.Opener { return []attester.Opener{simulator.Opener()} }

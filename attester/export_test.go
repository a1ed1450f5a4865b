// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import "time"

// SetGrace shortens, for tests, how long a command that nobody waits for may
// take on a socket.
func SetGrace(t *TPM, d time.Duration) { t.link.(*socketLink).grace = d }

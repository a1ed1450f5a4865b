// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"crypto"
	_ "crypto/sha256" // the hashes that this package knows
	_ "crypto/sha512"
	"fmt"
)

// hashes are the hashes that are accepted, by tpm2-tools' name. It is not
// modified.
var hashes = map[string]crypto.Hash{
	"sha256": crypto.SHA256,
	"sha384": crypto.SHA384,
	"sha512": crypto.SHA512,
}

// hashName is tpm2-tools' name of a hash.
func hashName(h crypto.Hash) string {
	if h == crypto.SHA1 {
		return "sha1"
	}
	for name, other := range hashes {
		if h == other {
			return name
		}
	}
	return fmt.Sprintf("hash%d", uint(h))
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/tls"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// SetGrace shortens, for tests, how long a command that nobody waits for may
// take on a socket.
func SetGrace(t *TPM, d time.Duration) { t.link.(*socketLink).grace = d }

// VerifyPSS is how a TPM's RSA-PSS with SHA-256 is looked at.
func VerifyPSS(key *rsa.PublicKey, digest, signature []byte) error {
	return signatureAlg{tls.PSSWithSHA256, tpm2.TPMAlgRSAPSS, crypto.SHA256}.verify(key, digest, signature)
}

// ParseKeyFile is what is read of a key file before a TPM sees it.
func ParseKeyFile(data []byte) (parent tpm2.TPMHandle, public, private []byte, err error) {
	f, err := parseKeyFile(data)
	return f.parent, f.public, f.private, err
}

// Forget has keys loaded from their blobs when they are used next, as if the
// TPM had been reset.
func Forget(ctx context.Context, t *TPM, keys ...*Key) error {
	_, err := run(ctx, t, func(o *operation) (struct{}, error) {
		for _, k := range keys {
			if o.findResident(k) >= 0 {
				if err := o.evict(k); err != nil {
					return struct{}{}, err
				}
			}
			k.saved, k.qualified = nil, nil
		}
		return struct{}{}, nil
	})
	return err
}

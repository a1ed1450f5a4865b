// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"crypto"
	"testing"

	"github.com/stretchr/testify/require"
)

func benchmarkKeys(b *testing.B, run func(b *testing.B, c *Connection, request []byte, credential *Credential)) {
	for name, key := range map[string]crypto.Signer{"P-256": p256(), "P-384": p384(), "Ed25519": edKey(), "RSA-2048": rsaKey()} {
		b.Run(name, func(b *testing.B) {
			_, server := pair(b)
			credential := credentialFor(b, key)
			credential.Extensions = []Extension{{cmw, make([]byte, 2000)}}
			b.ReportAllocs()
			run(b, server, marshal(b, requestFrom(Client)), credential)
		})
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	benchmarkKeys(b, func(b *testing.B, c *Connection, request []byte, credential *Credential) {
		for b.Loop() {
			_, err := c.Authenticate(b.Context(), Server, request, credential)
			require.NoError(b, err)
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	benchmarkKeys(b, func(b *testing.B, c *Connection, request []byte, credential *Credential) {
		out, err := c.Authenticate(b.Context(), Server, request, credential)
		require.NoError(b, err)
		for b.Loop() {
			_, err := c.Validate(Server, request, out)
			require.NoError(b, err)
		}
	})
}

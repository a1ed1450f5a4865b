// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// attester.Signer has the method that Authenticate looks for.
var _ interface {
	crypto.Signer
	contextual
} = (*attester.Signer)(nil)

// The key is in a TPM, and a CA with a key in software certifies it.
func TestTPMKey(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	for name, c := range map[string]struct {
		alg    attester.KeyAlg
		scheme tls.SignatureScheme
	}{
		"ECDSA":  {attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256}, tls.ECDSAWithP256AndSHA256},
		"RSAPSS": {attester.KeyAlg{Scheme: attester.RSAPSS, Bits: 2048, Hash: crypto.SHA256}, tls.PSSWithSHA256},
	} {
		t.Run(name, func(t *testing.T) {
			tik, err := tpm.CreateTIK(t.Context(), c.alg)
			require.NoError(t, err)
			ca := must(x509.ParseCertificate(issued(t, p256(), p384(), "CA")[1]))
			leaf, err := x509.CreateCertificate(rand.Reader, template(), ca, tik.Public(), p384())
			require.NoError(t, err)
			credential := &Credential{
				Chain: [][]byte{leaf, ca.Raw}, Signer: tik.Signer(), SignatureSchemes: tik.SignatureSchemes(),
				Extensions: []Extension{{cmw, evidence}},
			}
			client, server := pair(t)
			request := marshal(t, requestFrom(Client))
			out, err := server.Authenticate(t.Context(), Server, request, credential)
			require.NoError(t, err)
			got, err := client.Validate(Server, request, out)
			require.NoError(t, err)
			require.Equal(t, c.scheme, got.SignatureScheme)
			require.Equal(t, tik.Public(), got.Certificates[0].PublicKey)
			require.Len(t, got.Certificates, 2)

			// A TPM's key often makes one scheme only; a request without it
			// never reaches the TPM.
			r := requestFrom(Client)
			r.SignatureSchemes = []tls.SignatureScheme{tls.PSSWithSHA512, tls.Ed25519}
			_, err = server.Authenticate(t.Context(), Server, marshal(t, r), credential)
			requireFault(t, err, "CertificateVerify", "handshake_failure", ErrScheme)
		})
	}
}

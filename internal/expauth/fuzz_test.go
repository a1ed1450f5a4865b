// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzParseRequest: any bytes give a request or an error, and a request says
// the same when it is written and read again.
func FuzzParseRequest(f *testing.F) {
	minimal := &Request{From: Server, Context: []byte{1}, SignatureSchemes: []tls.SignatureScheme{tls.Ed25519}}
	for _, r := range []*Request{minimal, requestFrom(Client), fullRequest(f)} {
		data := marshal(f, r)
		_, err := ParseRequest(data)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRequest(data)
		if err != nil {
			require.Nil(t, r)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.NotEqual(t, alertInternalError, e.Alert)
			return
		}
		again, err := r.Marshal()
		require.NoError(t, err)
		require.Len(t, again, len(data))
		got, err := ParseRequest(again)
		require.NoError(t, err)
		require.Equal(t, r, got)
	})
}

// FuzzValidate: nothing panics, whatever the peer sends. It is its own attacker:
// the Finished, and the CertificateVerify where there is room for one, are made
// to fit, so that all the rest is reached too.
func FuzzValidate(f *testing.F) {
	// The same key in each process that fuzzes.
	l := readVector(f, "testdata/server-ecdsa-p256.txt").longhand(f)
	c, good := l.connection(crypto.SHA256), l.authenticator()
	_, err := c.Validate(Server, l.request, good)
	require.NoError(f, err)
	f.Add(good, false)
	f.Add(l.empty(), false)
	f.Add(l.certificate()[4:], true)
	f.Fuzz(func(t *testing.T, data []byte, repair bool) {
		authenticator := data
		if repair {
			certificate := handshake(11, data)
			verify := l.verify(certificate)
			authenticator = slices.Concat(certificate, verify, l.finished(certificate, verify))
		}
		got, err := c.Validate(Server, l.request, authenticator)
		_, _ = RequestContext(authenticator)
		if err != nil {
			require.True(t, got == nil || got.Empty)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.NotEqual(t, alertInternalError, e.Alert)
			if got != nil {
				require.ErrorIs(t, err, ErrEmpty)
				require.True(t, bytes.Equal(authenticator, l.empty()))
			}
			return
		}
		// Nobody else has the key.
		require.True(t, repair || bytes.Equal(authenticator, good))
		require.Equal(t, mustParse(t, l.entries[0].der).PublicKey, got.Certificates[0].PublicKey)
		for _, e := range got.Extensions {
			require.True(t, e.Type == cmw || e.Type == statusRequest)
		}
	})
}

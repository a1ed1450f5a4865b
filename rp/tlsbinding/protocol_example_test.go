// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"flag"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"

	"github.com/veraison/attested-tls/internal/cmw"
	"github.com/veraison/attested-tls/internal/expauth"
	"github.com/veraison/attested-tls/rp/tlsbinding/internal/frame"
)

var update = flag.Bool("update", false, "write the example of docs/PROTOCOL.md")

// exampleExporter is RFC 8446, section 7.5, written out for a given exporter
// secret and SHA-256.
func exampleExporter(secret []byte) func(string, []byte, int) ([]byte, error) {
	expandLabel := func(secret []byte, label string, context []byte, length int) ([]byte, error) {
		var b cryptobyte.Builder
		b.AddUint16(uint16(length))
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("tls13 " + label)) })
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(context) })
		info, err := b.Bytes()
		if err != nil {
			return nil, err
		}
		return hkdf.Expand(sha256.New, secret, string(info), length)
	}
	return func(label string, context []byte, length int) ([]byte, error) {
		empty := sha256.Sum256(nil)
		derived, err := expandLabel(secret, label, empty[:], sha256.Size)
		if err != nil {
			return nil, err
		}
		hashed := sha256.Sum256(context)
		return expandLabel(derived, "exporter", hashed[:], length)
	}
}

// example writes named bytes, as the document shows them.
type example struct {
	t testing.TB
	b strings.Builder
}

func (e *example) bytes(name string, data []byte) {
	fmt.Fprintf(&e.b, "%s (%d bytes)\n", name, len(data))
	for text := hex.EncodeToString(data); text != ""; {
		n := min(len(text), 64)
		fmt.Fprintf(&e.b, "  %s\n", text[:n])
		text = text[n:]
	}
}

func (e *example) frame(name string, f frame.Frame) {
	data, err := f.Append(nil)
	require.NoError(e.t, err)
	back, err := frame.Read(bytes.NewReader(data))
	require.NoError(e.t, err)
	require.Equal(e.t, f.Type, back.Type)
	e.bytes(name, data)
}

// TestProtocolExample holds the example of docs/PROTOCOL.md to what the code
// does; -update writes it.
func TestProtocolExample(t *testing.T) {
	count := func(from byte) []byte {
		b := make([]byte, 32)
		for i := range b {
			b[i] = from + byte(i)
		}
		return b
	}
	e := &example{t: t}
	secret, requestContext := count(0), count(0x40)
	connection := expauth.NewExample(crypto.SHA256, exampleExporter(secret))

	key := ed25519.NewKeyFromSeed(count(0x80))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example"}, DNSNames: []string{"example"},
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(certificate)
	require.NoError(t, err)

	offer := Offer{Model: BackgroundCheck, Type: "application/x"}
	hello, err := (&frame.HelloBody{Accepts: ways([]Offer{offer})}).Marshal()
	require.NoError(t, err)
	request, err := (&expauth.Request{
		From: expauth.Client, Context: requestContext,
		SignatureSchemes:     expauth.SignatureSchemes(),
		SignatureSchemesCert: expauth.CertificateSignatureSchemes(),
		Extensions:           []expauth.Extension{{Type: extensionCMW}},
	}).Marshal()
	require.NoError(t, err)
	e.bytes("exporter_secret of the TLS connection, whose cipher suite has SHA-256", secret)
	e.bytes("certificate_request_context", requestContext)
	e.frame("client: hello", frame.Frame{Type: frame.Hello, Body: hello})
	e.frame("client: request", frame.Frame{Type: frame.Request, ID: clientRequestID, Body: request})

	answer, err := (&frame.HelloBody{Shows: ways([]Offer{offer}), Key: leaf.RawSubjectPublicKeyInfo}).Marshal()
	require.NoError(t, err)
	e.frame("server: hello", frame.Frame{Type: frame.Hello, Body: answer})

	exported, err := connection.Export(exporterLabel, requestContext, exporterSize)
	require.NoError(t, err)
	nonce, err := binding(connection, requestContext, leaf.RawSubjectPublicKeyInfo)
	require.NoError(t, err)
	sum := sha256.Sum256(append(bytes.Clone(leaf.RawSubjectPublicKeyInfo), exported...))
	require.Equal(t, sum[:], nonce)
	e.bytes("SubjectPublicKeyInfo of the server's certificate", leaf.RawSubjectPublicKeyInfo)
	e.bytes("exported value", exported)
	e.bytes("binding value, the nonce of the evidence", nonce)

	evidence := cmw.Record{Type: offer.Type, Value: append([]byte("evidence for "), nonce...), Indicator: cmw.Evidence}
	data, err := marshalCMW(evidence.EncodeCBOR())
	require.NoError(t, err)
	authenticator, err := connection.Authenticate(context.Background(), expauth.Server, request, &expauth.Credential{
		Chain: [][]byte{certificate}, Signer: key, Extensions: []expauth.Extension{{Type: extensionCMW, Data: data}},
	})
	require.NoError(t, err)
	a, err := connection.Validate(expauth.Server, request, authenticator)
	require.NoError(t, err)
	record, err := unmarshalCMW(a.Extensions)
	require.NoError(t, err)
	require.Equal(t, evidence, record)
	e.bytes("CMWAttestation, the extension's data", data)
	e.frame("server: authenticator", frame.Frame{Type: frame.Authenticator, ID: clientRequestID, Body: authenticator})
	e.frame("server: accept", frame.Frame{Type: frame.Accept})
	e.frame("client: accept", frame.Frame{Type: frame.Accept})
	e.frame("client: refusal, instead", frame.Frame{
		Type: frame.Refusal,
		Body: (&frame.RefusalBody{Code: uint16(RefusedAppraisal), Reason: "executables"}).Marshal(),
	})

	const path = "../../docs/PROTOCOL.md"
	const begin, end = "<!-- example -->\n```text\n", "```\n<!-- end of the example -->"
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok)
	there, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(before+begin+e.b.String()+end+after), 0o644))
		return
	}
	require.Equal(t, e.b.String(), there, "docs/PROTOCOL.md is not current: go test ./rp/tlsbinding -run TestProtocolExample -update")
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"github.com/veraison/attested-tls/internal/cmw"
	"github.com/veraison/attested-tls/internal/seedwire"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// oidCMW is id-pe-cmw (RFC 9999, section 6.1).
var oidCMW = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 35}

// mint signs the certificates that only carry something. Nobody trusts its key,
// which is made anew for each side.
type mint struct{ key *ecdsa.PrivateKey }

func newMint() (*mint, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return &mint{key}, nil
}

// plainIssuer is the issuer's name where it carries nothing.
var plainIssuer = pkix.Name{CommonName: "attested-tls"}

// evidence is a certificate, in DER, for a key, with a CMW. The issuer is a
// name in DER, or nil.
func (m *mint) evidence(key crypto.PublicKey, issuer, record []byte) ([]byte, error) {
	value, err := asn1.Marshal(record) // CHOICE cbor OCTET STRING
	if err != nil {
		return nil, err
	}
	return m.certificate(key, issuer, []pkix.Extension{{Id: oidCMW, Value: value}})
}

// refusal is a credential that says why there is none, in its issuer's name.
func (m *mint) refusal(issuer []byte) (*tls.Certificate, error) {
	der, err := m.certificate(m.key.Public(), issuer, nil)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: m.key}, nil
}

func (m *mint) certificate(key crypto.PublicKey, issuer []byte, extensions []pkix.Extension) ([]byte, error) {
	now := time.Now()
	template := &x509.Certificate{
		Subject:         pkix.Name{CommonName: "attested-tls evidence"},
		NotBefore:       now.Add(-time.Hour),
		NotAfter:        now.Add(time.Hour),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: extensions,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: plainIssuer, RawSubject: issuer}, key, m.key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return der, nil
}

// shown is what a peer's chain carries. It is the peer's word.
type shown struct {
	record cmw.Record
	kind   seedwire.CredentialKind
	// carrier is the certificate that carries it.
	carrier *x509.Certificate
}

var errNoEvidence = errors.New("no certificate carries evidence")

// findEvidence looks for the one CMW of a chain. It is in the first certificate,
// or in the last if that is for the same key; anywhere else it would be about
// somebody else.
func findEvidence(chain []*x509.Certificate) (*shown, error) {
	var found *shown
	for i, cert := range chain {
		for _, e := range cert.Extensions {
			if !e.Id.Equal(oidCMW) {
				continue
			}
			switch {
			case found != nil:
				return nil, protocolError("two CMW extensions in the chain")
			case i > 0 && i < len(chain)-1:
				return nil, protocolError("a CMW extension in certificate %d of %d, want the first or the last", i+1, len(chain))
			case i > 0 && !bytes.Equal(cert.RawSubjectPublicKeyInfo, chain[0].RawSubjectPublicKeyInfo):
				return nil, fmt.Errorf("%w: the certificate with the CMW is for another key than the peer's", tlsbinding.ErrNotBound)
			}
			record, err := unwrap(e.Value)
			if err != nil {
				return nil, protocolError("CMW extension: %w", err)
			}
			found = &shown{record: record, carrier: cert}
			if i > 0 {
				found.kind = seedwire.CertAttestation
			}
		}
	}
	if found == nil {
		return nil, errNoEvidence
	}
	return found, nil
}

// unwrap reads the value of a CMW extension (RFC 9999, section 6.1):
// CHOICE { json UTF8String, cbor OCTET STRING }.
func unwrap(value []byte) (cmw.Record, error) {
	if len(value) > maxExtension {
		return cmw.Record{}, fmt.Errorf("%d bytes, want at most %d", len(value), maxExtension)
	}
	var raw asn1.RawValue
	rest, err := asn1.Unmarshal(value, &raw)
	switch {
	case err != nil:
		return cmw.Record{}, err
	case len(rest) > 0:
		return cmw.Record{}, fmt.Errorf("%d bytes too many", len(rest))
	case raw.Class != asn1.ClassUniversal || raw.IsCompound || raw.Tag != asn1.TagOctetString && raw.Tag != asn1.TagUTF8String:
		return cmw.Record{}, errors.New("neither an OCTET STRING nor a UTF8String")
	}
	isJSON := len(bytes.TrimLeft(raw.Bytes, " \t\r\n")) > 0 && bytes.TrimLeft(raw.Bytes, " \t\r\n")[0] == '['
	if isJSON != (raw.Tag == asn1.TagUTF8String) {
		return cmw.Record{}, errors.New("a UTF8String holds JSON, an OCTET STRING CBOR, and this does not")
	}
	return cmw.Decode(raw.Bytes)
}

// maxExtension is the largest CMW extension that is read, in bytes.
const maxExtension = cmw.MaxSize + 4

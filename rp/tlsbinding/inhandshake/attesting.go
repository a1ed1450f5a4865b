// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"context"
	"crypto"
	"crypto/tls"
	"fmt"
	"slices"
	"time"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/cmw"
	"github.com/veraison/attested-tls/internal/seedwire"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// attesting is the attester's half of a side.
type attesting struct {
	cfg      tlsbinding.CredentialConfig
	self     string
	signer   crypto.Signer
	evidence string // media type
	timeout  time.Duration
	mint     *mint
	pending  chan struct{}
}

func newAttesting(c *tlsbinding.CredentialConfig, self string, timeout time.Duration) (*attesting, error) {
	signer, err := checkCredential(c)
	if err != nil {
		return nil, err
	}
	m, err := newMint()
	if err != nil {
		return nil, err
	}
	a := &attesting{cfg: *c, self: self, signer: signer, evidence: c.EvidenceType, timeout: timeout, mint: m}
	if a.evidence == "" {
		a.evidence = bundle.MediaType
	}
	places := c.MaxPending
	if places == 0 {
		places = tlsbinding.DefaultMaxPending
	}
	a.pending = make(chan struct{}, places)
	return a, nil
}

// ways are what this side can show. Nobody can show nothing.
func (a *attesting) ways(d seedwire.Draft) ways {
	var w ways
	if a == nil {
		return w
	}
	if a.cfg.Attester != nil {
		if d == seedwire.Draft07 && a.hasChain() {
			w.types = append(w.types, mediaType(d, a.evidence, seedwire.CertAttestation))
		}
		w.types = append(w.types, mediaType(d, a.evidence, seedwire.Attestation))
	}
	if d == seedwire.Draft07 {
		w.verifiers = slices.Clone(a.cfg.Verifiers)
	}
	return w
}

func (a *attesting) hasChain() bool { return len(a.cfg.Certificate.Certificate) > 0 }

// certificate is the credential for one connection: evidence for the nonce, or
// a passport, in a certificate whose issuer is named so.
func (a *attesting) certificate(handshake context.Context, d seedwire.Draft, c choice, nonce, issuer []byte) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(handshake, a.timeout)
	defer cancel()
	record, err := a.show(ctx, c, nonce)
	if err != nil {
		return nil, err
	}
	if len(record) > cmw.MaxSize {
		return nil, fmt.Errorf("attest: a CMW of %d bytes, want at most %d", len(record), cmw.MaxSize)
	}
	carrier, err := a.mint.evidence(a.signer.Public(), issuer, record)
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	cert := a.cfg.Certificate // a copy
	cert.PrivateKey = a.signer
	if s, ok := a.signer.(interface {
		WithContext(context.Context) crypto.Signer
	}); ok {
		cert.PrivateKey = s.WithContext(handshake) // which signs after this function
	}
	alone := !a.hasChain() || d == seedwire.Draft07 && c.evidence != nil && c.evidence.Kind == seedwire.Attestation
	if alone {
		cert.Certificate = [][]byte{carrier}
		cert.OCSPStaple, cert.SignedCertificateTimestamps = nil, nil
	} else {
		cert.Certificate = append(slices.Clone(cert.Certificate), carrier)
	}
	cert.Leaf = nil
	return &cert, nil
}

// show makes the CMW.
func (a *attesting) show(ctx context.Context, c choice, nonce []byte) ([]byte, error) {
	select {
	case a.pending <- struct{}{}:
		defer func() { <-a.pending }()
	default:
		return nil, fmt.Errorf("attest: %w: %d attestations are pending already", tlsbinding.ErrBusy, cap(a.pending))
	}
	if c.evidence == nil {
		p, err := a.cfg.Passport(ctx)
		if err != nil {
			return nil, fmt.Errorf("passport: %w", err)
		}
		if p.Verifier != c.verifier {
			return nil, fmt.Errorf("passport: it is by %.255q, and the peer asks for one by %.255q", p.Verifier, c.verifier)
		}
		return cmw.Record{Type: tlsbinding.MediaTypeEAR, Value: p.EAR, Indicator: cmw.AttestationResults}.EncodeCBOR(), nil
	}
	if len(nonce) < minNonce || len(nonce) > maxNonce {
		return nil, protocolError("a nonce of %d bytes, want %d to %d", len(nonce), minNonce, maxNonce)
	}
	record, err := a.cfg.Attester.Attest(ctx, nonce)
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	return record, nil
}

// The sizes of nonces (draft-ietf-rats-eat, section 4.1), in bytes.
const (
	minNonce = 8
	maxNonce = 64
)

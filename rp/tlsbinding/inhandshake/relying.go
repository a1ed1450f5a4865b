// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"context"
	"crypto"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/cmw"
	"github.com/veraison/attested-tls/internal/seedwire"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// relying is the relying party's half of a side.
type relying struct {
	req     tlsbinding.Requirement
	peer    string
	timeout time.Duration
	// bound asks that a result is about the peer's key, and that the key cannot
	// leave its TPM: all that stands against a relay.
	bound func(key crypto.PublicKey) rp.Policy
}

func newRelying(r *tlsbinding.Requirement, peer string, timeout time.Duration) *relying {
	return &relying{req: *r, peer: peer, timeout: timeout, bound: inTPM}
}

// inTPM accepts a result that attests this key as one that is fixed in a TPM:
// package appraisal attests no other, and says so as storage-opaque.
func inTPM(key crypto.PublicKey) rp.Policy {
	return policy.All(policy.TPM.AttestedKeyIs(key), policy.TPM.Claim(ear.StorageOpaque, ear.TierAffirming))
}

// ways are what this side accepts. Who demands nothing accepts nothing.
func (r *relying) ways(d seedwire.Draft) ways {
	var w ways
	if r == nil {
		return w
	}
	if r.req.Verifier != nil {
		kind := seedwire.CertAttestation
		if r.req.InsecureSkipPKI {
			kind = seedwire.Attestation
		}
		types := r.req.EvidenceTypes
		if len(types) == 0 {
			types = []string{bundle.MediaType}
		}
		for _, t := range types {
			w.types = append(w.types, mediaType(d, t, kind))
		}
	}
	if d == seedwire.Draft07 {
		for _, issuer := range r.req.Issuers {
			w.verifiers = append(w.verifiers, issuer.Name)
		}
	}
	return w
}

// open opens the session whose nonce the evidence is for.
func (r *relying) open(ctx context.Context) (rp.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	session, err := r.req.Verifier.NewSession(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("ask the verifier for a nonce: %w", err)
	}
	if n := len(session.Nonce()); n < minNonce || n > maxNonce {
		session.Close()
		return nil, fmt.Errorf("the verifier's nonce has %d bytes, want %d to %d", n, minNonce, maxNonce)
	}
	return session, nil
}

// check has what the peer shows appraised, and decides. The session is nil
// where a passport was agreed on.
func (r *relying) check(ctx context.Context, s *shown, d seedwire.Draft, c choice, session rp.Session, cs *tls.ConnectionState) (*Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if d == seedwire.Draft07 && c.evidence != nil && s.kind != c.evidence.Kind {
		return nil, protocolError("the evidence comes as %v, want %v", s.kind, c.evidence.Kind)
	}
	peer := &Peer{Key: cs.PeerCertificates[0].PublicKey}
	var err error
	if c.evidence != nil {
		peer.Model = tlsbinding.BackgroundCheck
		peer.Result, err = appraise(ctx, session, c, s.record)
	} else {
		peer.Model = tlsbinding.PassportModel
		peer.Result, err = r.readPassport(ctx, c, s.record)
	}
	if err != nil {
		return nil, err
	}
	if err := r.req.Policy.Check(peer.Result); err != nil {
		return nil, err
	}
	if err := r.bound(peer.Key).Check(peer.Result); err != nil {
		return nil, fmt.Errorf("%w: evidence that is not about a key fixed in a TPM may be relayed (package tlsbinding does not depend on that): %w",
			tlsbinding.ErrNotBound, err)
	}
	if err := r.identity(peer.Result); err != nil {
		return nil, err
	}
	return peer, nil
}

func appraise(ctx context.Context, session rp.Session, c choice, record cmw.Record) (*rp.AttestationResult, error) {
	if record.Type != c.evidence.MediaType || record.Indicator&^cmw.Evidence != 0 {
		return nil, protocolError("a CMW of %.255q, indicator %d, want evidence of %.255q", record.Type, record.Indicator, c.evidence.MediaType)
	}
	result, err := session.Appraise(ctx, rp.Evidence{MediaType: record.Type, Data: record.Value})
	if err != nil {
		return nil, fmt.Errorf("appraise: %w", err)
	}
	return result, nil
}

func (r *relying) readPassport(ctx context.Context, c choice, record cmw.Record) (*rp.AttestationResult, error) {
	if record.Type != tlsbinding.MediaTypeEAR || record.Indicator&^cmw.AttestationResults != 0 {
		return nil, protocolError("a CMW of %.255q, indicator %d, want results of %q", record.Type, record.Indicator, tlsbinding.MediaTypeEAR)
	}
	for _, issuer := range r.req.Issuers {
		if issuer.Name != c.verifier {
			continue
		}
		result, err := ear.Verify(ctx, string(record.Value), issuer.Keys,
			ear.Expectations{MaxAge: issuer.MaxAge, Verifier: issuer.ID, Skew: issuer.Skew})
		if err != nil {
			return nil, fmt.Errorf("passport by %q: %w", issuer.Name, err)
		}
		return result, nil
	}
	return nil, protocolError("a passport by %.255q, whom nobody asked for", c.verifier)
}

// identity checks that it is one of the machines that are named, if some are.
func (r *relying) identity(result *rp.AttestationResult) error {
	var err error
	if len(r.req.Instances) > 0 {
		if err = policy.TPM.Instances(r.req.Instances...).Check(result); err == nil {
			return nil
		}
	}
	if len(r.req.Keys) > 0 {
		if err = policy.TPM.AttestedKeyIs(r.req.Keys...).Check(result); err == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("not one of the machines that are named: %w", err)
	}
	return nil
}

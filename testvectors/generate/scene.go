// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
	"github.com/veraison/attested-tls/testvectors"
)

// scene is everything that a vector is made of. It is in order when a case
// gets it, and the case changes one thing.
type scene struct {
	*lab
	ak    *attester.Key // the one that signs
	tik   *attester.Key
	sel   attester.Selection
	nonce []byte // the session's

	kat kat.Token
	pat pat.Token
	// evidence replaces the bundle of the tokens.
	evidence []byte

	anchors []endorsements.TrustAnchor
	states  []endorsements.ReferenceState
	// corims replaces what is made of the anchors and states.
	corims [][]byte
}

// newScene sets a case's scene up.
func (l *lab) newScene(ctx context.Context, c *vectorCase) (*scene, error) {
	s := &scene{lab: l}
	var err error
	if s.ak, err = l.ak(ctx, 0, orES256(c.ak)); err != nil {
		return nil, err
	}
	if c.forged {
		s.ak = l.forger.Key
	}
	if s.tik, err = l.tik(ctx, 0, orES256(c.tik)); err != nil {
		return nil, err
	}
	sel := c.sel
	if sel == "" {
		sel = usualPCRs
	}
	if s.sel, err = attester.ParseSelection(sel); err != nil {
		return nil, err
	}
	if s.nonce, err = random(32); err != nil {
		return nil, err
	}
	if err := s.endorse(ctx); err != nil {
		return nil, err
	}
	return s, s.attest(ctx)
}

// usualPCRs are those that firmware and boot loader are measured into.
const usualPCRs = "sha256:0,1,2,3,4,5,6,7"

func orES256(alg attester.KeyAlg) attester.KeyAlg {
	if alg == (attester.KeyAlg{}) {
		return es256()
	}
	return alg
}

// endorse provisions the AK, and the selected PCRs as they are.
func (s *scene) endorse(ctx context.Context) error {
	a, err := s.anchor(s.ak)
	if err != nil {
		return err
	}
	state, err := s.state(ctx, s.sel)
	if err != nil {
		return err
	}
	s.anchors, s.states = []endorsements.TrustAnchor{a}, []endorsements.ReferenceState{state}
	return nil
}

// attest makes both tokens for the scene's keys, PCRs and nonce.
func (s *scene) attest(ctx context.Context) (err error) {
	if s.kat, err = s.tpm.Certify(ctx, s.ak, s.tik, s.nonce); err != nil {
		return err
	}
	s.pat, err = s.tpm.Quote(ctx, s.ak, s.sel, s.nonce)
	return err
}

// attestAs makes both tokens without the attester's checks.
func (s *scene) attestAs(ctx context.Context, nonce []byte) (err error) {
	if s.kat, err = s.certify(ctx, s.ak, s.tik, tpm2.TPMTSigScheme{}, nonce); err != nil {
		return err
	}
	s.pat, err = s.quote(ctx, s.ak, []tpm2.TPMSPCRSelection{usualBank()}, tpm2.TPMTSigScheme{}, nonce)
	return err
}

// usualBank selects usualPCRs.
func usualBank() tpm2.TPMSPCRSelection {
	return bank(tpm2.TPMAlgSHA256, 0, 1, 2, 3, 4, 5, 6, 7)
}

// forgeKAT has the forger sign another certInfo.
func (s *scene) forgeKAT(ctx context.Context, certInfo []byte) (err error) {
	s.kat.CertInfo = certInfo
	s.kat.Sig, err = s.forge(ctx, certInfo)
	return err
}

// forgePAT has the forger sign another attestInfo.
func (s *scene) forgePAT(ctx context.Context, attestInfo []byte) (err error) {
	s.pat.AttestInfo = attestInfo
	s.pat.Sig, err = s.forge(ctx, attestInfo)
	return err
}

func (s *scene) forge(ctx context.Context, message []byte) ([]byte, error) {
	if s.ak != s.forger.Key {
		return nil, errors.New("the case is not marked as forged")
	}
	return s.forger.Sign(ctx, message)
}

// vector puts the scene's vector together, without what it wants.
func (s *scene) vector() (testvectors.Vector, error) {
	v := testvectors.Vector{Evidence: s.evidence, Nonce: s.nonce, CoRIMs: s.corims}
	var err error
	if v.Evidence == nil {
		if v.Evidence, err = bundle.Encode(s.kat, s.pat); err != nil {
			return v, err
		}
	}
	if v.CoRIMs == nil {
		if v.CoRIMs, err = s.encodeCorims(); err != nil {
			return v, err
		}
	}
	v.AK, err = spki(s.ak.Public())
	return v, err
}

// encodeCorims writes one CoRIM with the keys and one with the states, as two
// authors would.
func (s *scene) encodeCorims() ([][]byte, error) {
	var corims [][]byte
	for _, c := range []endorsements.Corim{{Anchors: s.anchors}, {States: s.states}} {
		if len(c.Anchors) == 0 && len(c.States) == 0 {
			continue
		}
		b, err := encodeCorim(c)
		if err != nil {
			return nil, err
		}
		corims = append(corims, b)
	}
	return corims, nil
}

func encodeCorim(c endorsements.Corim) ([]byte, error) {
	var err error
	if c.ID == "" {
		if c.ID, err = newUUID(); err != nil {
			return nil, err
		}
	}
	b, err := c.Encode(endorsements.DialectV1)
	if err != nil {
		return nil, fmt.Errorf("writing a CoRIM: %w", err)
	}
	return b, nil
}

// altered is a state with other values in some PCRs: another version of the
// software that is measured there.
func altered(s endorsements.ReferenceState, which func(endorsements.PCR) bool) (endorsements.ReferenceState, error) {
	values := s.Values()
	for i := range values {
		if !which(values[i].PCR) {
			continue
		}
		digest, err := random(values[i].Bank.Size())
		if err != nil {
			return s, err
		}
		values[i].Digest = digest
	}
	return endorsements.NewReferenceState(s.Class(), values)
}

// with is a copy of b with other bytes at an offset.
func with(b []byte, at int, v ...byte) []byte {
	b = slices.Clone(b)
	copy(b[at:], v)
	return b
}

// trailed is a copy of b with a byte after its end.
func trailed(b []byte) []byte { return append(slices.Clone(b), 0) }

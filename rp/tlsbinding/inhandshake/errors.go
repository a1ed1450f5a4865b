// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"fmt"

	"github.com/veraison/attested-tls/internal/seedwire"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// The drafts' alerts. Both sides get one of them in a
// *tlsbinding.NegotiationError, which has both sides' lists. What it says of
// the peer is the peer's word.
var (
	// ErrUnsupportedEvidence says that the sides have no type of evidence in
	// common (-02, section 6.2).
	ErrUnsupportedEvidence = fmt.Errorf("unsupported_evidence: %w", tlsbinding.ErrNoCommonEvidence)
	// ErrUnsupportedVerifiers says that they have no verifier in common (-07).
	ErrUnsupportedVerifiers = fmt.Errorf("unsupported_verifiers: %w", tlsbinding.ErrNoCommonVerifier)
)

// protocolError says what is wrong with what the peer sent.
func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", tlsbinding.ErrProtocol, fmt.Errorf(format, args...))
}

// busyError is tlsbinding.ErrBusy of a relying party, with its limit.
type busyError int

func (e busyError) Error() string {
	return fmt.Sprintf("too busy: %d handshakes have a session with the verifier already (MaxHandshakes)", int(e))
}

func (busyError) Is(target error) bool { return target == tlsbinding.ErrBusy }

// ways are lists of the drafts' two kinds: types of evidence, and verifiers
// whose results are passports. The best are first.
type ways struct {
	types     []seedwire.EvidenceType
	verifiers []string
}

// offers puts the lists into tlsbinding's words, for messages.
func (w ways) offers() []tlsbinding.Offer {
	var offers []tlsbinding.Offer
	for _, t := range w.types {
		name := t.MediaType
		if t.Encoding == seedwire.ContentFormat {
			name = fmt.Sprintf("content format %d", t.ContentFormat)
		}
		if t.Kind != seedwire.Attestation {
			name += fmt.Sprintf(" (%v)", t.Kind)
		}
		offers = append(offers, tlsbinding.Offer{Model: tlsbinding.BackgroundCheck, Type: name})
	}
	for _, v := range w.verifiers {
		offers = append(offers, tlsbinding.Offer{Model: tlsbinding.PassportModel, Type: tlsbinding.MediaTypeEAR, Verifier: v})
	}
	return offers
}

// nothingInCommon is the error of both sides.
func nothingInCommon(attester string, shown, accepted ways) error {
	err := ErrUnsupportedEvidence
	if len(shown.verifiers) > 0 && len(accepted.verifiers) > 0 && (len(shown.types) == 0 || len(accepted.types) == 0) {
		err = ErrUnsupportedVerifiers
	}
	return &tlsbinding.NegotiationError{Attester: attester, Shown: shown.offers(), Accepted: accepted.offers(), Err: err}
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"slices"

	"github.com/veraison/attested-tls/internal/seedwire"
)

// choice is how one side attests to the other: by evidence of a type or, if
// that is nil, by a passport of a verifier.
type choice struct {
	evidence *seedwire.EvidenceType
	verifier string
}

// choose takes the first of what is accepted that is shown, too: evidence
// before passports.
func choose(accepted, shown ways) (choice, bool) {
	for _, t := range accepted.types {
		if slices.Contains(shown.types, t) {
			return choice{evidence: &t}, true
		}
	}
	for _, v := range accepted.verifiers {
		if slices.Contains(shown.verifiers, v) {
			return choice{verifier: v}, true
		}
	}
	return choice{}, false
}

// within checks that a peer's choice was there to be chosen.
func (c choice) within(w ways) error {
	if c.evidence != nil && !slices.Contains(w.types, *c.evidence) || c.evidence == nil && !slices.Contains(w.verifiers, c.verifier) {
		return protocolError("the peer chose %v, which was not offered", c.ways().offers())
	}
	return nil
}

func (c choice) ways() ways {
	if c.evidence != nil {
		return ways{types: []seedwire.EvidenceType{*c.evidence}}
	}
	return ways{verifiers: []string{c.verifier}}
}

// mediaType is a type of evidence by its media type.
func mediaType(d seedwire.Draft, name string, kind seedwire.CredentialKind) seedwire.EvidenceType {
	if d == seedwire.Draft02 {
		kind = 0
	}
	return seedwire.EvidenceType{Kind: kind, Encoding: seedwire.MediaType, MediaType: name}
}

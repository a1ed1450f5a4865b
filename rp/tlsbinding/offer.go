// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"fmt"
	"strings"
)

// Model is who asks the verifier (RFC 9334, section 5).
type Model uint8

// The models.
const (
	// BackgroundCheck has the relying party ask: the peer sends evidence.
	BackgroundCheck Model = 1
	// PassportModel has the attester ask: it sends the verifier's result.
	PassportModel Model = 2
)

// String names the model as RFC 9334 does.
func (m Model) String() string {
	switch m {
	case BackgroundCheck:
		return "background check"
	case PassportModel:
		return "passport"
	}
	return fmt.Sprintf("model %d", uint8(m))
}

// MediaTypeEAR is the type of a passport: an EAT that is a JWT (RFC 9782).
const MediaTypeEAR = "application/eat+jwt"

// Offer is one way to attest: what one side can show, or the other accepts.
type Offer struct {
	Model Model
	// Type is the media type of what is shown: of evidence, or MediaTypeEAR.
	// 1 to 255 bytes.
	Type string
	// Verifier is the name of the verifier that a passport is from, up to 255
	// bytes; empty in a background check.
	Verifier string
}

// String writes the offer for messages.
func (o Offer) String() string {
	if o.Model == PassportModel {
		return fmt.Sprintf("%v by %.255q", o.Model, o.Verifier)
	}
	return fmt.Sprintf("%v of %.255q", o.Model, o.Type)
}

func (o Offer) check() error {
	switch {
	case o.Model != BackgroundCheck && o.Model != PassportModel:
		return fmt.Errorf("unknown %v", o.Model)
	case o.Type == "" || len(o.Type) > 255:
		return fmt.Errorf("a type of %d bytes, want 1 to 255", len(o.Type))
	case len(o.Verifier) > 255:
		return fmt.Errorf("a verifier's name of %d bytes, want at most 255", len(o.Verifier))
	case (o.Model == PassportModel) != (o.Verifier != ""):
		return fmt.Errorf("%v with the verifier's name %.255q: a passport has one, evidence has none", o.Model, o.Verifier)
	}
	return nil
}

// maxOffers is how many ways to attest a side may name.
const maxOffers = 32

func checkOffers(offers []Offer) error {
	if len(offers) > maxOffers {
		return fmt.Errorf("%d ways to attest, want at most %d", len(offers), maxOffers)
	}
	for i, o := range offers {
		if err := o.check(); err != nil {
			return fmt.Errorf("way to attest %d: %w", i, err)
		}
	}
	return nil
}

// choose takes the first of what is accepted that is shown, too. Both sides
// come to the same choice, or to the same error. Nothing accepted is nothing
// demanded.
func choose(accepted, shown []Offer) (Offer, error) {
	sameType := false
	for _, a := range accepted {
		for _, s := range shown {
			if a == s {
				return a, nil
			}
			sameType = sameType || a.Model == s.Model && a.Type == s.Type
		}
	}
	if len(accepted) == 0 {
		return Offer{}, nil
	}
	if sameType {
		return Offer{}, ErrNoCommonVerifier
	}
	return Offer{}, ErrNoCommonEvidence
}

func join(offers []Offer) string {
	if len(offers) == 0 {
		return "nothing"
	}
	texts := make([]string, len(offers))
	for i, o := range offers {
		texts[i] = o.String()
	}
	return strings.Join(texts, ", ")
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package store is what Veraison v0.0.2501 keeps of endorsements: JSON values
// under keys that the plugin chooses.
//
// Keys and trust anchors are byte for byte those of Veraison's own parsec-tpm
// plugin, so that its stores keep working, and an anchor that is provisioned
// again stays one. Reference states are this project's own: that plugin kept
// an entry for each PCR, from which two states of a class cannot be told
// apart.
package store

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/earresult"
)

// Scheme is the attestation scheme's name, in stores, policies and EARs.
const Scheme = earresult.Submod

// entryType is an entry's type: as Veraison v0.0.2501 writes it, and as its
// predecessors did, whose entries may still be in a store.
type entryType struct{ name, old string }

func trustAnchor() entryType    { return entryType{"trust anchor", "VERIFICATION_KEY"} }
func referenceValue() entryType { return entryType{"reference value", "REFERENCE_VALUE"} }

// entry is a stored endorsement with attributes of type A.
type entry[A any] struct {
	Scheme     string `json:"scheme"`
	Type       string `json:"type"`
	Attributes A      `json:"attributes"`
}

// decodeEntry reads an entry of this scheme.
func decodeEntry[A any](text string, want entryType) (A, error) {
	var e entry[A]
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return e.Attributes, inJSONsWords(err)
	}
	if e.Scheme != Scheme || e.Type != want.name && e.Type != want.old {
		return e.Attributes, fmt.Errorf("is a %.40q of scheme %.40q, want a %q of %q", e.Type, e.Scheme, want.name, Scheme)
	}
	return e.Attributes, nil
}

// anchorAttributes are a trust anchor's. The order is Veraison's.
type anchorAttributes struct {
	Key   string `json:"parsec-tpm.ak-pub"`
	Class string `json:"parsec-tpm.class-id"`
	KID   []byte `json:"parsec-tpm.instance-id"`
}

// EncodeAnchor returns the attributes of a trust anchor's entry.
func EncodeAnchor(a endorsements.TrustAnchor) (json.RawMessage, error) {
	return json.Marshal(anchorAttributes{Key: a.PEM, Class: a.Class, KID: a.KID})
}

// DecodeAnchors reads the entries that the host found under AnchorKey. A host
// that found none passes an empty list.
func DecodeAnchors(entries []string) ([]endorsements.TrustAnchor, error) {
	anchors := make([]endorsements.TrustAnchor, 0, len(entries))
	for i, text := range entries {
		attributes, err := decodeEntry[anchorAttributes](text, trustAnchor())
		if err != nil {
			return nil, fmt.Errorf("stored trust anchor %d: %w", i, err)
		}
		a, err := attributes.anchor()
		if err != nil {
			return nil, fmt.Errorf("stored trust anchor %d: %w", i, err)
		}
		anchors = append(anchors, a)
	}
	return anchors, nil
}

func (a anchorAttributes) anchor() (endorsements.TrustAnchor, error) {
	return endorsements.NewTrustAnchor(a.Class, a.KID, a.Key)
}

// AnchorClasses reads no more of the entries than which classes they are of,
// each once.
func AnchorClasses(entries []string) ([]string, error) {
	var classes []string
	for i, text := range entries {
		a, err := decodeEntry[struct {
			Class string `json:"parsec-tpm.class-id"`
		}](text, trustAnchor())
		if err == nil && a.Class == "" {
			err = errors.New("has no class")
		}
		if err != nil {
			return nil, fmt.Errorf("stored trust anchor %d: %w", i, err)
		}
		if !slices.Contains(classes, a.Class) {
			classes = append(classes, a.Class)
		}
	}
	return classes, nil
}

// inJSONsWords takes the Go types out of the decoder's message.
func inJSONsWords(err error) error {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return fmt.Errorf("decoding JSON: %q is a %s where another type belongs", mismatch.Field, mismatch.Value)
	}
	return fmt.Errorf("decoding JSON: %w", err)
}

// AnchorKey is the store's key for the attestation key kid.
func AnchorKey(tenant string, kid []byte) string {
	return key(tenant, base64.StdEncoding.EncodeToString(kid))
}

// ClassKey is the store's key for the reference states of a class.
func ClassKey(tenant, class string) string { return key(tenant, class) }

func key(tenant, path string) string {
	u := url.URL{Scheme: Scheme, Host: tenant, Path: path}
	return u.String()
}

// AnchorKeyOf is the key to store an anchor's attributes under.
func AnchorKeyOf(tenant string, attributes json.RawMessage) (string, error) {
	var a anchorAttributes
	if err := json.Unmarshal(attributes, &a); err != nil {
		return "", fmt.Errorf("trust anchor to be stored: %w", inJSONsWords(err))
	}
	anchor, err := a.anchor()
	if err != nil {
		return "", fmt.Errorf("trust anchor to be stored: %w", err)
	}
	return AnchorKey(tenant, anchor.KID), nil
}

// ClassKeyOf is the key to store a reference value's attributes under, in either
// plugin's form.
func ClassKeyOf(tenant string, attributes json.RawMessage) (string, error) {
	var a stateAttributes
	if err := json.Unmarshal(attributes, &a); err != nil {
		return "", fmt.Errorf("reference state to be stored: %w", inJSONsWords(err))
	}
	state, err := a.state()
	if a.PCRs == "" {
		state, err = oneState([]stateAttributes{a})
	}
	if err != nil {
		return "", fmt.Errorf("reference state to be stored: %w", err)
	}
	return ClassKey(tenant, state.Class()), nil
}

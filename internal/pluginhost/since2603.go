// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package pluginhost

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"

	"github.com/veraison/corim/comid"
	"github.com/veraison/ear"
	"github.com/veraison/services/handler"

	"github.com/veraison/attested-tls/endorsements"
)

// Since2603 is a VTS since v0.0.2603:
// vts/trustedservices/trustedservices_grpc.go, SubmitEndorsements and
// GetAttestation. Its store keeps every triple that it is given, also a second
// time, as veraison/corim-store does with those of different CoRIMs.
type Since2603 struct {
	Scheme Scheme
	// WholeClass makes the store compare vendor and model of a class also where
	// a query has none, as up to v0.0.2605.
	WholeClass bool

	anchors []*comid.KeyTriple
	values  []*comid.ValueTriple
}

// RefusedCorimError is the reason that the plugin gives for refusing a CoRIM.
type RefusedCorimError struct{ Message string }

// Error is the message as the plugin wrote it.
func (e *RefusedCorimError) Error() string { return e.Message }

// Forget empties the stores.
func (v *Since2603) Forget() { v.anchors, v.values = nil, nil }

// Submit provisions a CoRIM.
func (v *Since2603) Submit(corim []byte) error {
	verdict, err := v.Scheme.ValidateCorim(corim)
	if err != nil {
		return err
	}
	if !verdict.IsValid {
		return &RefusedCorimError{verdict.Message}
	}
	c, err := endorsements.Decode(corim)
	if err != nil {
		return fmt.Errorf("the plugin accepts a CoRIM that cannot be decoded: %w", err)
	}
	for _, a := range c.Anchors {
		triple, err := KeyTriple(a)
		if err != nil {
			return err
		}
		describe(triple.Environment.Class, a.Class, c.Classes)
		v.anchors = append(v.anchors, triple)
	}
	for _, s := range c.States {
		triple, err := ValueTriple(s)
		if err != nil {
			return err
		}
		describe(triple.Environment.Class, s.Class(), c.Classes)
		v.values = append(v.values, triple)
	}
	return nil
}

// describe says of a class what its CoRIM does.
func describe(class *comid.Class, id string, descriptions []endorsements.ClassDescription) {
	for _, d := range descriptions {
		if d.Class == id && d.Vendor != "" {
			class.SetVendor(d.Vendor)
		}
		if d.Class == id && d.Model != "" {
			class.SetModel(d.Model)
		}
	}
}

// Attest has evidence appraised.
func (v *Since2603) Attest(e *Evidence) (*ear.AttestationResult, error) {
	ids, err := v.Scheme.TrustAnchorIDs(e)
	if err != nil {
		return nil, err
	}
	anchors, err := v.findAnchors(ids)
	if err != nil {
		return nil, err
	}
	claims, err := v.Scheme.ExtractClaims(e, anchors)
	if err != nil {
		return nil, err
	}
	ids, err = v.Scheme.ReferenceValueIDs(anchors, claims)
	if err != nil {
		return nil, err
	}
	values := v.findValues(ids)
	if err := v.Scheme.ValidateEvidenceIntegrity(e, anchors, values); err != nil {
		return nil, err
	}
	return v.Scheme.AppraiseClaims(claims, values)
}

// findAnchors matches what each environment names, and nothing else. An
// environment without a match is bad evidence, also where there are others.
func (v *Since2603) findAnchors(ids []*comid.Environment) ([]*comid.KeyTriple, error) {
	var found []*comid.KeyTriple
	for _, id := range ids {
		n := len(found)
		for _, a := range v.anchors {
			if matches(id, a.Environment, false, false) {
				found = append(found, a)
			}
		}
		if len(found) == n {
			return nil, handler.BadEvidence(ErrNoTrustAnchor)
		}
	}
	return found, nil
}

// findValues matches exactly.
func (v *Since2603) findValues(ids []*comid.Environment) []*comid.ValueTriple {
	var found []*comid.ValueTriple
	for _, id := range ids {
		for _, value := range v.values {
			if matches(id, value.Environment, true, v.WholeClass) {
				found = append(found, value)
			}
		}
	}
	return found
}

// matches is veraison/corim-store, pkg/store/query.go, EnvironmentQuery: a value
// matches with its type, and exact means that what the query does not name
// must not be there. Of a class this is so with whole alone.
func matches(query *comid.Environment, env comid.Environment, exact, whole bool) bool {
	if query.Class != nil {
		if env.Class == nil || query.Class.ClassID.Type() != env.Class.ClassID.Type() ||
			!bytes.Equal(query.Class.ClassID.Bytes(), env.Class.ClassID.Bytes()) ||
			!sameText(query.Class.Vendor, env.Class.Vendor, whole) || !sameText(query.Class.Model, env.Class.Model, whole) {
			return false
		}
	} else if exact && env.Class != nil {
		return false
	}
	if query.Instance != nil {
		return env.Instance != nil && query.Instance.Type() == env.Instance.Type() &&
			bytes.Equal(query.Instance.Bytes(), env.Instance.Bytes())
	}
	return !exact || env.Instance == nil
}

func sameText(query, stored *string, exact bool) bool {
	if query == nil {
		return !exact || stored == nil
	}
	return stored != nil && *query == *stored
}

// KeyTriple writes a trust anchor with Veraison's corim module.
func KeyTriple(a endorsements.TrustAnchor) (*comid.KeyTriple, error) {
	class, err := comid.NewUUIDClassID(a.Class)
	if err != nil {
		return nil, fmt.Errorf("class: %w", err)
	}
	instance, err := comid.NewBytesInstance([]byte(a.KID))
	if err != nil {
		return nil, fmt.Errorf("instance: %w", err)
	}
	key, err := comid.NewPKIXBase64Key(a.PEM)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return &comid.KeyTriple{
		Environment: comid.Environment{Class: &comid.Class{ClassID: class}, Instance: instance},
		VerifKeys:   comid.CryptoKeys{key},
	}, nil
}

// ValueTriple writes a reference state with Veraison's corim module.
func ValueTriple(s endorsements.ReferenceState) (*comid.ValueTriple, error) {
	class, err := comid.NewUUIDClassID(s.Class())
	if err != nil {
		return nil, fmt.Errorf("class: %w", err)
	}
	algorithms := map[crypto.Hash]uint64{crypto.SHA256: 1, crypto.SHA384: 7, crypto.SHA512: 8}
	measurements := comid.NewMeasurements()
	for index := range uint64(32) {
		measurement, err := comid.NewUintMeasurement(index)
		if err != nil {
			return nil, fmt.Errorf("PCR %d: %w", index, err)
		}
		for _, bank := range s.Banks() {
			digest, ok := s.Digest(endorsements.PCR{Bank: bank, Index: int(index)})
			if ok && measurement.AddDigest(algorithms[bank], digest) == nil {
				return nil, errors.New("the corim module refuses a digest")
			}
		}
		if measurement.Val.Digests != nil {
			measurements.Add(measurement)
		}
	}
	return &comid.ValueTriple{
		Environment:  comid.Environment{Class: &comid.Class{ClassID: class}},
		Measurements: *measurements,
	}, nil
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package pluginhost

import (
	"encoding/json"
	"fmt"
	"net/rpc"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/corim/comid"
	"github.com/veraison/ear"
	"github.com/veraison/services/handler"
)

// The arguments of the scheme-handler: proto/token.proto and proto/scheme.proto
// of v0.0.2603. They are declared once more, so that a name that is wrong in
// the plugin is not wrong here too.
type (
	// Evidence is an AttestationToken.
	Evidence struct {
		TenantId  string
		Data      []byte
		MediaType string
		Nonce     []byte
	}
	extractClaimsArgs struct {
		Evidence     *Evidence
		TrustAnchors []byte
	}
	getReferenceValueIDsArgs struct {
		TrustAnchors []byte
		Claims       []byte
	}
	validateEvidenceIntegrityArgs struct {
		Evidence     *Evidence
		TrustAnchors []byte
		Endorsements []byte
	}
	appraiseClaimsArgs struct {
		Claims       []byte
		Endorsements []byte
	}
)

// Scheme is the host's end of a scheme-handler, as handler/scheme_rpc.go,
// SchemeRPCClient, v0.0.2603 and for Init v0.0.2605. Bad evidence is a
// handler.BadEvidenceError.
type Scheme struct{ Calls *rpc.Client }

// call makes a call whose argument is passed as the host passes it.
func call[T any](s Scheme, method string, args any) (T, error) {
	var reply T
	if err := s.Calls.Call("Plugin."+method, args, &reply); err != nil {
		return reply, handler.ParseError(err)
	}
	return reply, nil
}

// query calls a method whose argument is a nil interface.
func query[T any](s Scheme, method string) (T, error) {
	var unused any
	return call[T](s, method, &unused)
}

// Init passes parameters, a JSON object or nil.
func (s Scheme) Init(parameters []byte) error {
	_, err := call[any](s, "Init", parameters)
	return err
}

// Name is the plugin's.
func (s Scheme) Name() (string, error) { return query[string](s, "GetName") }

// AttestationScheme is the scheme's name.
func (s Scheme) AttestationScheme() (string, error) {
	return query[string](s, "GetAttestationScheme")
}

// MediaTypes are by category.
func (s Scheme) MediaTypes() (map[string][]string, error) {
	data, err := query[[]byte](s, "GetSupportedMediaTypes")
	if err != nil {
		return nil, err
	}
	var types map[string][]string
	return types, json.Unmarshal(data, &types)
}

// ProvisioningMediaTypes are the media types of CoRIMs.
func (s Scheme) ProvisioningMediaTypes() ([]string, error) {
	return query[[]string](s, "GetSupportedProvisioningMediaTypes")
}

// VerificationMediaTypes are the media types of evidence.
func (s Scheme) VerificationMediaTypes() ([]string, error) {
	return query[[]string](s, "GetSupportedVerificationMediaTypes")
}

// CorimVerdict is what ValidateCorim answers.
type CorimVerdict struct {
	IsValid bool   `json:"is-valid"`
	Message string `json:"mesage"`
}

// ValidateCorim has an unsigned CoRIM checked.
func (s Scheme) ValidateCorim(corim []byte) (CorimVerdict, error) {
	data, err := call[[]byte](s, "ValidateCorim", corim)
	if err != nil {
		return CorimVerdict{}, err
	}
	var v CorimVerdict
	return v, json.Unmarshal(data, &v)
}

// TrustAnchorIDs asks which trust anchors the evidence needs.
func (s Scheme) TrustAnchorIDs(e *Evidence) ([]*comid.Environment, error) {
	return environments(call[[]byte](s, "GetTrustAnchorIDs", &e))
}

// ExtractClaims asks what the evidence says.
func (s Scheme) ExtractClaims(e *Evidence, anchors []*comid.KeyTriple) (map[string]any, error) {
	a, err := cbor.Marshal(anchors)
	if err != nil {
		return nil, err
	}
	data, err := call[[]byte](s, "ExtractClaims", &extractClaimsArgs{e, a})
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	return claims, cbor.Unmarshal(data, &claims)
}

// ReferenceValueIDs asks which reference values the claims are to be held
// against.
func (s Scheme) ReferenceValueIDs(anchors []*comid.KeyTriple, claims map[string]any) ([]*comid.Environment, error) {
	a, err := cbor.Marshal(anchors)
	if err != nil {
		return nil, err
	}
	c, err := cbor.Marshal(claims)
	if err != nil {
		return nil, err
	}
	return environments(call[[]byte](s, "GetReferenceValueIDs", &getReferenceValueIDsArgs{a, c}))
}

// ValidateEvidenceIntegrity has the evidence verified.
func (s Scheme) ValidateEvidenceIntegrity(e *Evidence, anchors []*comid.KeyTriple, values []*comid.ValueTriple) error {
	a, err := cbor.Marshal(anchors)
	if err != nil {
		return err
	}
	v, err := cbor.Marshal(values)
	if err != nil {
		return err
	}
	_, err = call[[]byte](s, "ValidateEvidenceIntegrity", &validateEvidenceIntegrityArgs{e, a, v})
	return err
}

// AppraiseClaims has the claims held against reference values.
func (s Scheme) AppraiseClaims(claims map[string]any, values []*comid.ValueTriple) (*ear.AttestationResult, error) {
	c, err := cbor.Marshal(claims)
	if err != nil {
		return nil, err
	}
	v, err := cbor.Marshal(values)
	if err != nil {
		return nil, err
	}
	data, err := call[[]byte](s, "AppraiseClaims", &appraiseClaimsArgs{c, v})
	if err != nil {
		return nil, err
	}
	var result ear.AttestationResult
	if err := json.Unmarshal(data, &result); err != nil {
		return nil, fmt.Errorf("decoding the result: %w", err)
	}
	return &result, nil
}

func environments(data []byte, err error) ([]*comid.Environment, error) {
	if err != nil {
		return nil, err
	}
	var envs []*comid.Environment
	return envs, cbor.Unmarshal(data, &envs)
}

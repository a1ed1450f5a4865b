// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package scheme

// Names of fields are the host's: gob matches by them, and passes over those
// that one side alone has.

// Token is evidence with the session it was sent in:
// proto/token.proto, AttestationToken, v0.0.2603.
type Token struct {
	TenantId  string // "0": Veraison has one tenant
	Data      []byte
	MediaType string // as it was posted, or as the CMW record around it said
	Nonce     []byte // the session's
}

// ExtractClaimsArgs is proto/scheme.proto, ExtractClaimsArgs, v0.0.2603.
type ExtractClaimsArgs struct {
	Evidence *Token
	// TrustAnchors is a CBOR array of attest-key-triple-records, or null.
	TrustAnchors []byte
}

// GetReferenceValueIDsArgs is proto/scheme.proto, GetReferenceValueIDsArgs,
// v0.0.2603.
type GetReferenceValueIDsArgs struct {
	// TrustAnchors is as in ExtractClaimsArgs.
	TrustAnchors []byte
	// Claims is the CBOR map that ExtractClaims returned, written anew.
	Claims []byte
}

// ValidateEvidenceIntegrityArgs is proto/scheme.proto,
// ValidateEvidenceIntegrityArgs, v0.0.2603.
type ValidateEvidenceIntegrityArgs struct {
	Evidence *Token
	// TrustAnchors is as in ExtractClaimsArgs.
	TrustAnchors []byte
	// Endorsements is a CBOR array of reference-triple-records, or null.
	Endorsements []byte
}

// AppraiseClaimsArgs is proto/scheme.proto, AppraiseClaimsArgs, v0.0.2603.
type AppraiseClaimsArgs struct {
	// Claims is as in GetReferenceValueIDsArgs.
	Claims []byte
	// Endorsements is as in ValidateEvidenceIntegrityArgs.
	Endorsements []byte
}

// CorimVerdict is handler/schemeimplementationwrapper.go,
// ValidateCorimResponse, v0.0.2603. The host shows Message to whoever
// provisions where the CoRIM is refused.
type CorimVerdict struct {
	IsValid bool   `json:"is-valid"`
	Message string `json:"mesage"` // so spelled
}

// mediaTypes is what GetSupportedMediaTypes returns:
// handler/schemeimplementationwrapper.go, v0.0.2603.
type mediaTypes struct {
	Provisioning []string `json:"provisioning"`
	Verification []string `json:"verification"`
}

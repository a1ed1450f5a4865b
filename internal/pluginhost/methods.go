// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package pluginhost

import (
	"net/rpc"

	"github.com/veraison/services/handler"
)

// Method is a method of a handler that takes data from somebody, for tests that
// pass it anything.
type Method struct {
	// Handler is the one that has the method, such as "store-handler".
	Handler string
	Name    string
	// Args are the method's, made of any text and any bytes.
	Args func(text string, a, b, c []byte) any
}

// Call makes the call, and drops what it returns but for the error.
func (m Method) Call(c *rpc.Client, args any) error {
	var reply any
	if m.Name == "Init" {
		// Its reply is a nil interface. gob waits for more when it is to pass
		// over one.
		reply = new(any)
	}
	return c.Call("Plugin."+m.Name, args, reply)
}

// Methods are those of all four handlers.
func Methods() []Method {
	type bytes = []byte
	list := func(b ...bytes) []string {
		texts := make([]string, len(b))
		for i := range b {
			texts[i] = string(b[i])
		}
		return texts
	}
	token := func(text string, data, nonce bytes) *Evidence {
		return &Evidence{TenantId: text, MediaType: text, Data: data, Nonce: nonce}
	}
	return []Method{
		{"evidence-handler", "ExtractClaims", func(_ string, a, b, c bytes) any {
			return handler.ExtractClaimsArgs{Token: a, TrustAnchors: list(b, c)}
		}},
		{"evidence-handler", "ValidateEvidenceIntegrity", func(_ string, a, b, c bytes) any {
			return handler.ValidateEvidenceIntegrityArgs{Token: a, TrustAnchors: list(b), Endorsements: list(c)}
		}},
		{"evidence-handler", "AppraiseEvidence", func(_ string, a, b, c bytes) any {
			return handler.AppraiseEvidenceArgs{Evidence: a, Endorsements: list(b, c)}
		}},
		{"store-handler", "GetTrustAnchorIDs", func(_ string, a, _, _ bytes) any { return a }},
		{"store-handler", "GetRefValueIDs", func(text string, a, b, c bytes) any {
			return handler.GetRefValueIDsArgs{TenantID: text, TrustAnchors: list(a, b), Claims: c}
		}},
		{"store-handler", "SynthKeysFromRefValue", func(text string, a, _, _ bytes) any {
			return handler.SynthKeysArgs{TenantID: text, EndorsementJSON: a}
		}},
		{"store-handler", "SynthKeysFromTrustAnchor", func(text string, a, _, _ bytes) any {
			return handler.SynthKeysArgs{TenantID: text, EndorsementJSON: a}
		}},
		{"endorsement-handler", "Decode", func(_ string, a, _, _ bytes) any { return a }},

		{"scheme-handler", "Init", func(_ string, a, _, _ bytes) any { return a }},
		{"scheme-handler", "ValidateCorim", func(_ string, a, _, _ bytes) any { return a }},
		{"scheme-handler", "GetTrustAnchorIDs", func(text string, a, b, _ bytes) any { return token(text, a, b) }},
		{"scheme-handler", "ExtractClaims", func(text string, a, b, c bytes) any {
			return &extractClaimsArgs{token(text, a, b), c}
		}},
		{"scheme-handler", "ExtractClaims", func(_ string, a, _, _ bytes) any { return &extractClaimsArgs{nil, a} }},
		{"scheme-handler", "GetReferenceValueIDs", func(_ string, a, b, _ bytes) any {
			return &getReferenceValueIDsArgs{a, b}
		}},
		{"scheme-handler", "ValidateEvidenceIntegrity", func(text string, a, b, c bytes) any {
			return &validateEvidenceIntegrityArgs{token(text, a, b), c, nil}
		}},
		{"scheme-handler", "ValidateEvidenceIntegrity", func(_ string, a, b, _ bytes) any {
			return &validateEvidenceIntegrityArgs{nil, a, b}
		}},
		{"scheme-handler", "AppraiseClaims", func(_ string, a, b, _ bytes) any { return &appraiseClaimsArgs{a, b} }},
	}
}

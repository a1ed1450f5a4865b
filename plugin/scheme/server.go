// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package scheme

import (
	"encoding/json"
	"fmt"

	"github.com/veraison/attested-tls/plugin/internal/guard"
)

// Server is the net/rpc receiver of a Handler, registered as "Plugin". Its
// methods are those of handler/scheme_rpc.go, SchemeRPCServer, v0.0.2603 but
// for Init, which the host calls since v0.0.2605. Each answers whatever it is
// given; nothing restarts a plugin that has died.
type Server struct{ h *Handler }

// NewServer makes the receiver.
func NewServer(h *Handler) *Server { return &Server{h} }

// guarded makes a call and puts what comes of it into reply.
func guarded[T any](h *Handler, name string, reply *T, call func() (T, error)) (err error) {
	defer guard.Recover(h.log, name, &err)
	v, err := call()
	if err == nil {
		*reply = v
	}
	return err
}

// Init takes the plugin's parameters, a JSON object or nothing. There are none
// yet, and one that the operator means to have an effect is refused.
func (s *Server) Init(args []byte, reply *any) error {
	return guarded(s.h, "Init", reply, func() (any, error) { return nil, s.h.init(args) })
}

// GetName returns Name.
func (s *Server) GetName(_ any, reply *string) error {
	*reply = s.h.GetName()
	return nil
}

// GetAttestationScheme returns PARSEC_TPM.
func (s *Server) GetAttestationScheme(_ any, reply *string) error {
	*reply = s.h.GetAttestationScheme()
	return nil
}

// GetSupportedMediaTypes returns a JSON object of the categories
// "provisioning" and "verification".
func (s *Server) GetSupportedMediaTypes(_ any, reply *[]byte) (err error) {
	*reply, err = json.Marshal(mediaTypes{Provisioning: s.h.provisioning(), Verification: s.h.verification()})
	return err
}

// GetSupportedProvisioningMediaTypes returns those of CoRIMs.
func (s *Server) GetSupportedProvisioningMediaTypes(_ any, reply *[]string) error {
	*reply = s.h.provisioning()
	return nil
}

// GetSupportedVerificationMediaTypes returns those of evidence.
func (s *Server) GetSupportedVerificationMediaTypes(_ any, reply *[]string) error {
	*reply = s.h.verification()
	return nil
}

// ValidateCorim takes an unsigned CoRIM, which the host has decoded and written
// anew, and returns a CorimVerdict in JSON.
func (s *Server) ValidateCorim(corim []byte, reply *[]byte) error {
	return guarded(s.h, "ValidateCorim", reply, func() ([]byte, error) { return json.Marshal(s.h.validateCorim(corim)) })
}

// GetTrustAnchorIDs returns a CBOR array of one environment, which names the
// AK that the evidence says signed it.
func (s *Server) GetTrustAnchorIDs(token *Token, reply *[]byte) error {
	return guarded(s.h, "GetTrustAnchorIDs", reply, func() ([]byte, error) { return s.h.trustAnchorIDs(token) })
}

// ExtractClaims returns a CBOR map of what the evidence says.
func (s *Server) ExtractClaims(args *ExtractClaimsArgs, reply *[]byte) error {
	return guarded(s.h, "ExtractClaims", reply, func() ([]byte, error) { return s.h.extractClaims(args.Evidence) })
}

// GetReferenceValueIDs returns a CBOR array of environments, which name the
// class of the AK.
func (s *Server) GetReferenceValueIDs(args *GetReferenceValueIDsArgs, reply *[]byte) error {
	return guarded(s.h, "GetReferenceValueIDs", reply, func() ([]byte, error) {
		return s.h.referenceValueIDs(args.TrustAnchors, args.Claims)
	})
}

// ValidateEvidenceIntegrity returns nothing but the error.
func (s *Server) ValidateEvidenceIntegrity(args *ValidateEvidenceIntegrityArgs, reply *[]byte) error {
	return guarded(s.h, "ValidateEvidenceIntegrity", reply, func() ([]byte, error) {
		return nil, s.h.validateIntegrity(args.Evidence, args.TrustAnchors)
	})
}

// AppraiseClaims returns the claims set of an EAR in JSON, without a nonce: the
// host adds it.
func (s *Server) AppraiseClaims(args *AppraiseClaimsArgs, reply *[]byte) error {
	return guarded(s.h, "AppraiseClaims", reply, func() ([]byte, error) {
		return s.h.appraiseClaims(args.Claims, args.Endorsements)
	})
}

// init reads the parameters (plugin/parameters.go, v0.0.2605).
func (h *Handler) init(args []byte) error {
	if len(args) == 0 {
		return nil
	}
	var parameters map[string]json.RawMessage
	if err := json.Unmarshal(args, &parameters); err != nil {
		return fmt.Errorf("the plugin's parameters are not a JSON object: %w", err)
	}
	for name := range parameters {
		return fmt.Errorf("the plugin has no parameter %.40q: remove it from the section of PARSEC_TPM under scheme in the configuration", name)
	}
	return nil
}

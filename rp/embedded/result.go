// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net/http"

	"github.com/lestrrat-go/jwx/v3/jwa"
	vear "github.com/veraison/ear"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/earresult"
	"github.com/veraison/attested-tls/rp"
)

// What Veraison says of evidence that is bad, by the step that finds out. A
// relying party sees the same from either.
const (
	badIdentity  = "could not establish identity from evidence"
	noAnchor     = "no trust anchor for evidence"
	badIntegrity = "integrity validation failed"
)

// unwrap returns the bundle, out of its CMW where it is in one. What Veraison
// answers to another media type, or to a broken CMW, is the error here.
func unwrap(operation string, e rp.Evidence) ([]byte, error) {
	refuse := func(status int, detail string) error {
		return &rp.ProblemError{Operation: operation, Status: status, Title: http.StatusText(status), Detail: detail}
	}
	mediaType, _, err := mime.ParseMediaType(e.MediaType)
	if err != nil {
		return nil, fmt.Errorf("%s: the evidence's media type %.200q: %w", operation, e.MediaType, err)
	}
	switch mediaType {
	case bundle.MediaType:
		return e.Data, nil
	case bundle.MediaTypeCMWCBOR, bundle.MediaTypeCMWJSON,
		"application/vnd.veraison.cmw+cbor", "application/vnd.veraison.cmw+json":
		evidence, err := bundle.Unwrap(e.Data)
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "could not unwrap the CMW: "+err.Error())
		}
		return evidence, nil
	}
	return nil, refuse(http.StatusUnsupportedMediaType, "no appraisal of "+mediaType)
}

// appraise makes the signed result for evidence.
func (v *Verifier) appraise(evidence, nonce []byte) (string, error) {
	known, err := v.endorsed()
	if err != nil {
		return "", err
	}
	result := vear.NewAttestationResult(earresult.Submod, v.cfg.ID.Build, v.cfg.ID.Developer)
	submod := result.Submods[earresult.Submod]
	policyID, encodedNonce := "policy:"+earresult.Submod, base64.URLEncoding.EncodeToString(nonce)
	submod.AppraisalPolicyID, result.Nonce = &policyID, &encodedNonce

	r, err := appraisal.Appraise(evidence, nonce, known)
	var bad *bundle.Error
	switch {
	case err == nil:
		annotated, err := appraisal.ExtractClaims(evidence)
		if err != nil {
			return "", err
		}
		if err := earresult.Fill(submod, r, annotated); err != nil {
			return "", err
		}
	case errors.As(err, &bad):
		submod.TrustVector.SetAll(vear.CryptoValidationFailedClaim)
		submod.UpdateStatusFromTrustVector()
		// "detail" is ours: Veraison keeps it in its log.
		submod.VeraisonPolicyClaims = &map[string]any{"problem": problem(evidence, bad), "detail": bad.Error()}
	default:
		return "", err
	}
	return v.sign(result)
}

// problem is what Veraison says of bad evidence.
func problem(evidence []byte, bad *bundle.Error) string {
	if _, err := appraisal.KeyID(evidence); err != nil {
		return badIdentity
	}
	if bad.Check == bundle.UnknownKey {
		return noAnchor
	}
	return badIntegrity
}

// algorithms by the size of the key's curve.
var algorithms = map[int]func() jwa.SignatureAlgorithm{256: jwa.ES256, 384: jwa.ES384, 521: jwa.ES512}

func (v *Verifier) sign(result *vear.AttestationResult) (string, error) {
	token, err := result.Sign(algorithms[v.cfg.Key.Curve.Params().BitSize](), v.cfg.Key)
	if err != nil {
		return "", fmt.Errorf("signing the result: %w", err)
	}
	return string(token), nil
}

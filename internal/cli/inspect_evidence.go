// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/google/go-tpm/tpm2"
	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/tpmwire"
)

// evidenceInfo is what evidence says of itself.
type evidenceInfo struct {
	Format      string         `json:"format"`
	Nonces      []string       `json:"nonces"`
	KID         string         `json:"kid"`
	Claims      map[string]any `json:"claims"`
	Fingerprint string         `json:"key-fingerprint"`
}

func inspectEvidence(data []byte) (*inspected, error) {
	evidence, format, err := parseEvidence(data)
	if err != nil {
		return nil, err
	}
	u, err := bundle.Parse(evidence)
	if err != nil {
		return nil, err
	}
	k, p, err := bundle.Decode(evidence)
	if err != nil {
		return nil, err
	}
	certified, err := tpmwire.ParseAttest(k.CertInfo, tpm2.TPMSTAttestCertify)
	if err != nil {
		return nil, err
	}
	quoted, err := tpmwire.ParseAttest(p.AttestInfo, tpm2.TPMSTAttestQuote)
	if err != nil {
		return nil, err
	}
	// bundle.Parse read these two before: they are whole.
	claims := appraisal.Claims{KID: u.KID()}
	claims.KAT, claims.PAT = u.UntrustedClaims()
	info := &evidenceInfo{
		Format:      format,
		Nonces:      []string{hex.EncodeToString(certified.ExtraData), hex.EncodeToString(quoted.ExtraData)},
		KID:         hex.EncodeToString(u.KID()),
		Claims:      claims.Map(),
		Fingerprint: fingerprint(claims.KAT.SPKI),
	}
	return &inspected{"evidence, not verified (" + format + ")", info, func(w io.Writer, _ paint) { info.print(w, claims) }}, nil
}

func (e *evidenceInfo) print(w io.Writer, c appraisal.Claims) {
	fmt.Fprintln(w, "key attestation (TPM2_Certify)")
	t := newTable()
	t.row("  nonce", e.Nonces[0])
	t.row("  key", c.KAT.KeyType+", scheme "+c.KAT.Scheme.String())
	t.row("  fingerprint", e.Fingerprint)
	t.row("  role", role(c.KAT.Attributes))
	t.row("  attributes", c.KAT.Attributes.String())
	t.row("  name", hex.EncodeToString(c.KAT.Name))
	t.print(w)
	fmt.Fprintln(w, "platform attestation (TPM2_Quote)")
	t = newTable()
	t.row("  nonce", e.Nonces[1])
	t.row("  PCRs", c.PAT.Selection.String())
	t.rowf("  digest", "%s:%x", tpmwire.HashName(c.PAT.Hash), c.PAT.PCRDigest)
	t.rowf("  clock", "%d ms, %d resets, %d restarts, safe: %t", c.PAT.Clock.Clock, c.PAT.Clock.ResetCount, c.PAT.Clock.RestartCount, c.PAT.Clock.Safe)
	t.rowf("  firmware", "0x%x", c.PAT.FirmwareVersion)
	t.print(w)
	fmt.Fprintln(w, "attestation key")
	t = newTable()
	t.rowf("  kid", "%s (base64 %s)", e.KID, base64.StdEncoding.EncodeToString(c.KID))
	t.row("  signature", c.PAT.Signature.String())
	t.print(w)
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/veraison/ear"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/site"
)

// printer writes for people.
type printer struct{ out io.Writer }

func (p *printer) step(format string, args ...any) {
	fmt.Fprintf(p.out, "\n==> "+format+"\n", args...)
}

func (p *printer) line(format string, args ...any) {
	fmt.Fprintf(p.out, "    "+format+"\n", args...)
}

func (p *printer) machine(name string, m *site.Machine) {
	p.line("%s: AK kid %x", name, m.AK().KID())
	p.line("        TIK %s", fingerprint(m.TIK().Public()))
}

func provision(ctx context.Context, p *printer, m *machines, v *verifier) error {
	p.step("provisioning: the AKs as trust anchors, the PCRs as they are now as reference state")
	for _, c := range []*endorsements.Corim{m.server.Endorsed, m.client.Endorsed} {
		data, err := c.Encode(endorsements.DialectV1)
		if err != nil {
			return fmt.Errorf("encoding the CoRIM: %w", err)
		}
		if err := v.client.Provision(ctx, endorsements.MediaTypeUnsignedV1, data); err != nil {
			return err
		}
		p.line("a CoRIM of %d bytes, class %s, state %s", len(data), site.Class, c.States[0])
	}
	return nil
}

func showAppraisal(ctx context.Context, p *printer, m *machines, v *verifier) (*appraised, error) {
	p.step("a challenge-response session: the verifier's nonce, certified and quoted by the TPM")
	a, err := v.appraise(ctx, m.server.Bundle)
	if err != nil {
		return nil, err
	}
	p.appraisal(a)
	if *a.result.Status != ear.TrustTierAffirming {
		return nil, errors.New("the machine was not affirmed")
	}
	key, err := a.result.GetKeyAttestation()
	if err != nil {
		return nil, fmt.Errorf("reading the attested key: %w", err)
	}
	if !same(m.server.TIK().Public(), key) {
		return nil, errors.New("the attested key is not the TIK")
	}
	p.line("attested key: %s, the TIK", fingerprint(key))
	return a, nil
}

func same(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

func showReplay(ctx context.Context, p *printer, v *verifier, good *appraised) error {
	p.step("refusal 1: the same bundle again, in a session of its own")
	return p.refusal(v.appraise(ctx, func(context.Context, []byte) ([]byte, error) { return good.evidence, nil }))
}

func showUnprotectedKey(ctx context.Context, p *printer, m *machines, v *verifier) error {
	p.step("refusal 2: a TLS key that may leave the TPM")
	return p.refusal(v.appraise(ctx, m.attestUnprotected))
}

// refusal prints an appraisal that must not have affirmed.
func (p *printer) refusal(a *appraised, err error) error {
	if err != nil {
		return err
	}
	p.appraisal(a)
	if *a.result.Status == ear.TrustTierAffirming {
		return errors.New("what must be refused was affirmed")
	}
	return nil
}

// appraisal prints an attestation result in words.
func (p *printer) appraisal(a *appraised) {
	p.line("status: %s", strings.ToUpper(ear.TrustTierToString[*a.result.Status]))
	for _, line := range claimsInWords(a.result.TrustVector) {
		p.line("  %s", line)
	}
	if e := a.result.VeraisonAnnotatedEvidence; e != nil {
		for _, name := range []string{"pcrs", "key-type", "key-attributes"} {
			p.line("  %s: %v", name, (*e)[name])
		}
	}
	if claims := a.result.VeraisonPolicyClaims; claims != nil {
		for _, name := range slices.Sorted(maps.Keys(*claims)) {
			p.line("%s: %v", name, (*claims)[name])
		}
	}
	if a.reason != "" {
		p.line("verifier's log: %s", a.reason)
	}
}

// claimsInWords describes the claims that are made; where all of them say the
// same, once.
func claimsInWords(v *ear.TrustVector) []string {
	var lines []string
	meanings := make(map[string]bool)
	for line := range strings.Lines(v.Report(true, false)) {
		line = strings.TrimSpace(line)
		if _, meaning, ok := strings.Cut(line, " ["); ok && !strings.HasPrefix(meaning, "none]") {
			lines = append(lines, line)
			meanings[meaning] = true
		}
	}
	if len(lines) == len(v.AsMap()) && len(meanings) == 1 {
		return []string{"every claim [" + slices.Collect(maps.Keys(meanings))[0]}
	}
	return lines
}

// fingerprint names a public key as ssh and others do: the SHA-256 of its DER
// encoding.
func fingerprint(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return err.Error()
	}
	sum := sha256.Sum256(der)
	var b bytes.Buffer
	fmt.Fprintf(&b, "SHA256:%x", sum)
	return b.String()
}

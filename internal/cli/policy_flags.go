// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto"
	"encoding/hex"
	"time"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/policy"
)

// policyFlags say which attestation results are good enough.
type policyFlags struct {
	minStatus string
	maxAge    time.Duration
	instances []string
	keys      []string
}

func (f *policyFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.minStatus, "min-status", "affirming", "the worst status that is accepted: affirming or warning")
	oneOf(cmd, "min-status", "affirming", "warning")
	fs.DurationVar(&f.maxAge, "max-age", 0, "how old a result may be, such as 5m")
	fs.StringArrayVar(&f.instances, "instance", nil, "accept the machine with this attestation key: its kid in hexadecimal (repeatable)")
	fs.StringArrayVar(&f.keys, "attested-key", nil, "accept this TLS identity key: a file with the public key or a certificate (repeatable)")
}

// policies are the flags made into what is asked of a result: its status, and
// the rest.
type policies struct {
	status rp.Policy
	rest   []rp.Policy
}

func (a *app) policies(f *policyFlags) (*policies, error) {
	p := &policies{}
	switch f.minStatus {
	case "affirming":
		p.status = policy.Affirming()
	case "warning":
		p.status = policy.All(policy.Status(ear.TierWarning), policy.TPM.Status(ear.TierWarning))
	default:
		return nil, usageErrorf("--min-status %q: want affirming or warning", f.minStatus)
	}
	if f.maxAge < 0 {
		return nil, usageErrorf("--max-age %v is negative", f.maxAge)
	}
	if f.maxAge > 0 {
		p.rest = append(p.rest, policy.MaxAge(f.maxAge))
	}
	var kids [][]byte
	for _, s := range f.instances {
		kid, err := hex.DecodeString(s)
		if err != nil || len(kid) == 0 {
			return nil, usageErrorf("--instance: %q is no key identifier in hexadecimal", s).withHint(`"atls key show --kid" prints it`)
		}
		kids = append(kids, kid)
	}
	if len(kids) > 0 {
		p.rest = append(p.rest, policy.TPM.Instances(kids...))
	}
	var keys []crypto.PublicKey
	for _, path := range f.keys {
		_, key, err := a.publicKeyFile(path)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) > 0 {
		p.rest = append(p.rest, policy.TPM.AttestedKeyIs(keys...))
	}
	return p, nil
}

// policy is all that is asked for as one.
func (p *policies) policy() rp.Policy {
	return policy.All(append([]rp.Policy{p.status}, p.rest...)...)
}

// decide shows a result and says whether it is good enough: evidence that the
// verifier does not affirm is refused, the rest is the caller's policy.
func (a *app) decide(r *rp.AttestationResult, p *policies, asJSON bool) error {
	var refusal error
	if err := p.status.Check(r); err != nil {
		refusal = refusedErrorf("the evidence is refused: %w", err)
	} else if len(p.rest) > 0 {
		if err := policy.All(p.rest...).Check(r); err != nil {
			refusal = policyErrorf("the result is refused by policy: %w", err)
		}
	}
	if err := a.showResult(r, asJSON, refusal != nil); err != nil {
		return err
	}
	return refusal
}

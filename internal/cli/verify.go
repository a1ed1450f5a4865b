// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/policy"
)

// verifyFlags are all of what verify takes.
type verifyFlags struct {
	attest   attestFlags
	verifier verifierFlags
	policy   policyFlags
	corims   corimFlags
	nonce    string
	ear      outputFlags
	json     bool
}

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify (EVIDENCE --nonce NONCE | --ak KEY --tik KEY --pcrs PCRS) (--corim FILE… | --verifier URL)",
		Short: "Have evidence appraised, by CoRIM files or by a Veraison deployment",
		Long: `Have evidence appraised, and print the appraisal.

The evidence is a file that was made for --nonce, or is made now by this machine's
TPM (--ak, --tik, --pcrs) for the verifier's own nonce; then the appraisal also has
to be about these two keys.

The verifier is a Veraison deployment (--verifier), whose results are trusted by
its key (--verifier-key), or this program with the endorsements in CoRIM files
(--corim).

Evidence that is not affirmed is refused with exit code 4, a result that the policy
flags refuse with 5; the appraisal goes to standard error then.`,
		Example: `  atls verify evidence.cbor --nonce @nonce.bin --corim machine.cbor
  atls verify --ak ak.pem --tik tik.pem --pcrs sha256:0,1,2,7 \
      --verifier https://verifier.example --verifier-key verifier.jwk`,
		Args: cobra.MaximumNArgs(1),
	}
	f.attest.register(cmd)
	f.verifier.register(cmd)
	f.policy.register(cmd)
	f.corims.register(cmd)
	cmd.Flags().StringVar(&f.nonce, "nonce", "", "what EVIDENCE was made for; "+nonceUsage)
	cmd.Flags().StringVar(&f.ear.path, "ear", "", "write the signed result (a JWT) to this file if it is accepted")
	cmd.Flags().BoolVar(&f.ear.force, "force", false, "overwrite the file of --ear")
	jsonFlag(cmd, &f.json)
	cmd.MarkFlagsOneRequired("corim", "verifier")
	cmd.MarkFlagsMutuallyExclusive("corim", "verifier")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.verify(cmd.Context(), &f, args)
	}
	return cmd
}

func (a *app) verify(ctx context.Context, f *verifyFlags, args []string) error {
	if err := f.verifier.unused(); err != nil {
		return err
	}
	var evidence, nonce []byte
	var err error
	switch live := f.attest.given(); {
	case live && len(args) > 0:
		return usageErrorf("evidence is in a file or made now, not both: leave out %s, or --ak, --tik and --pcrs", args[0])
	case live && f.nonce != "":
		return usageErrorf("--nonce is for evidence in a file: the verifier chooses one")
	case live:
		if err := f.attest.need(); err != nil {
			return err
		}
	case len(args) == 0:
		return usageErrorf("no evidence").withHint("name a file, or --ak, --tik and --pcrs to make evidence now")
	case f.nonce == "":
		return usageErrorf("--nonce is needed: without it evidence may be of any age")
	default:
		if nonce, err = a.parseNonce(f.nonce); err != nil {
			return err
		}
		if evidence, err = a.evidenceFile(args[0]); err != nil {
			return err
		}
	}
	p, err := a.policies(&f.policy)
	if err != nil {
		return err
	}
	if f.ear.path != "" {
		if err := f.ear.check(); err != nil {
			return err
		}
	}
	verifier, done, err := a.verifier(f)
	if err != nil {
		return err
	}
	defer done()
	if evidence != nil {
		r, err := appraise(ctx, verifier, nonce, func([]byte) ([]byte, error) { return evidence, nil })
		if err != nil {
			return err
		}
		return a.conclude(f, r, p)
	}
	return a.withAttester(ctx, f.attest, func(at *attester.Attester) error {
		r, err := appraise(ctx, verifier, nil, func(nonce []byte) ([]byte, error) {
			evidence, err := at.Bundle(ctx, nonce)
			if err != nil {
				return nil, tpmErrorf("%w", err)
			}
			return evidence, nil
		})
		if err != nil {
			return err
		}
		p.rest = append(p.rest, policy.TPM.Instances(at.AK().KID()), policy.TPM.AttestedKeyIs(crypto.PublicKey(at.TIK().Public())))
		return a.conclude(f, r, p)
	})
}

// conclude decides about the result and keeps it.
func (a *app) conclude(f *verifyFlags, r *rp.AttestationResult, p *policies) error {
	if err := a.decide(r, p, f.json); err != nil || f.ear.path == "" {
		return err
	}
	if f.ear.path == "-" {
		a.out.Reset() // the result is what was asked for
	}
	return a.write(f.ear, []byte(r.Token+"\n"), 0o644)
}

// verifier is the one that the flags ask for, and what ends it.
func (a *app) verifier(f *verifyFlags) (rp.Verifier, func(), error) {
	if f.verifier.url != "" {
		v, err := a.client(&f.verifier)
		if err != nil {
			return nil, nil, err
		}
		if len(f.corims.signers) > 0 || f.corims.roots != "" {
			return nil, nil, usageErrorf("--corim-signer and --corim-roots are for --corim")
		}
		return v, func() { _ = v.Close() }, nil
	}
	corims, err := a.readTrustedCorims(&f.corims)
	if err != nil {
		return nil, nil, err
	}
	v, err := embedded.New(corims, embedded.Config{})
	if err != nil {
		return nil, nil, inputErrorf("%w", err)
	}
	return v, func() {}, nil
}

// appraise is one challenge and one answer.
func appraise(ctx context.Context, v rp.Verifier, nonce []byte, attest func(nonce []byte) ([]byte, error)) (*rp.AttestationResult, error) {
	s, err := v.NewSession(ctx, nonce)
	if err != nil {
		return nil, verifierErrorf("%w", err)
	}
	defer s.Close()
	evidence, err := attest(s.Nonce())
	if err != nil {
		return nil, err
	}
	r, err := s.Appraise(ctx, rp.Evidence{MediaType: bundle.MediaType, Data: evidence})
	if err != nil {
		return nil, verifierErrorf("%w", err)
	}
	return r, nil
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/rp/ear"
)

func (a *app) earCommand() *cobra.Command {
	return group("ear", "Verify attestation results", "Verify attestation results (EARs), the signed answers of a verifier.",
		a.earVerifyCommand())
}

func (a *app) earVerifyCommand() *cobra.Command {
	var (
		keys     []string
		verifier verifierFlags
		policy   policyFlags
		nonce    string
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "verify FILE (--key FILE… | --verifier URL (--discover | --verifier-key FILE)) (--nonce NONCE | --max-age AGE)",
		Short: "Verify an attestation result and hold it against a policy",
		Long: `Verify an attestation result (a JWT): that the verifier signed it, that it is for
the nonce or young enough, and that it is good enough for the policy. One of
--nonce and --max-age is needed: a result that is neither for a nonce of one's own
nor young proves nothing about now.

A result that the verifier did not sign, or that is for another nonce, is refused
with exit code 4, and so is one that does not affirm; one that is too old, or that
the other policy flags refuse, with 5.`,
		Example: `  atls ear verify result.jwt --key verifier.jwk --max-age 5m
  atls ear verify result.jwt --verifier https://verifier.example --discover --nonce @nonce.bin`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, "the verifier's key: a JWK or a PEM public key (repeatable)")
	verifier.register(cmd)
	policy.register(cmd)
	cmd.Flags().StringVar(&nonce, "nonce", "", "what the evidence was made for; "+nonceUsage)
	jsonFlag(cmd, &asJSON)
	cmd.MarkFlagsOneRequired("key", "verifier")
	cmd.MarkFlagsMutuallyExclusive("key", "verifier")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if err := verifier.unused(); err != nil {
			return err
		}
		want := ear.Expectations{MaxAge: policy.maxAge}
		var err error
		if nonce != "" {
			if want.Nonce, err = a.parseNonce(nonce); err != nil {
				return err
			}
		}
		if nonce == "" && policy.maxAge == 0 {
			return usageErrorf("--nonce or --max-age is needed: a result says nothing of now without one")
		}
		p, err := a.policies(&policy)
		if err != nil {
			return err
		}
		var source ear.KeySource
		if verifier.url == "" {
			source, err = a.pinnedKeys(keys)
		} else {
			v, cerr := a.client(&verifier)
			if cerr != nil {
				return cerr
			}
			defer v.Close()
			source = v.Keys()
		}
		if err != nil {
			return err
		}
		data, err := a.readFile(args[0])
		if err != nil {
			return err
		}
		r, err := ear.Verify(ctx, string(bytes.TrimSpace(data)), source, want)
		if err != nil {
			return earError(args[0], err)
		}
		return a.decide(r, p, asJSON)
	}
	return cmd
}

// earError tells a file that is no result from a result that is refused, and
// both from a verifier whose keys cannot be had.
func earError(path string, err error) error {
	var e *ear.Error
	if !errors.As(err, &e) {
		return verifierErrorf("%w", err)
	}
	switch e.Check {
	case ear.Malformed, ear.Profile:
		return inputErrorf("%s: %w", path, err)
	case ear.Expired:
		return policyErrorf("%s: %w", path, err)
	}
	return refusedErrorf("%s: %w", path, err)
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// identityKeyCases are about keys that their TPM does not protect as a TLS
// identity key has to be.
func identityKeyCases() []vectorCase {
	tik := func(name, comment, says string, create func(context.Context, *scene) (*attester.Key, error)) vectorCase {
		return tikCase("contraindicated-tik-"+name, comment, specAttributes, contraindicated(appraisal.ErrKeyAttributes, says), create)
	}
	// of makes one of tpmtest's keys.
	type create = func(context.Context, *attester.TPM, attester.KeyAlg) (*attester.Key, error)
	of := func(f create, alg attester.KeyAlg) func(context.Context, *scene) (*attester.Key, error) {
		return func(ctx context.Context, s *scene) (*attester.Key, error) { return f(ctx, s.tpm, alg) }
	}
	// edited is for what a TPM does not make: the forger certifies it.
	edited := func(name, comment, says string, change func(*tpm2.TPMAObject)) vectorCase {
		return vectorCase{
			name: "contraindicated-tik-" + name, comment: comment, spec: specAttributes, forged: true,
			want: contraindicated(appraisal.ErrKeyAttributes, says),
			change: func(ctx context.Context, s *scene) error {
				area, err := tpmtest.WithAttributes(s.kat.PubArea, change)
				if err != nil {
					return err
				}
				return s.forgeKATFor(ctx, area)
			},
		}
	}
	scheme := func(name, comment, says string, change func(*tpm2.TPMTPublic) error) vectorCase {
		return tikCase("contraindicated-tik-"+name, comment, specPublic, contraindicated(appraisal.ErrKeyScheme, says),
			func(ctx context.Context, s *scene) (*attester.Key, error) { return s.createKey(ctx, es256(), change) })
	}
	rsapss := attester.KeyAlg{Scheme: attester.RSAPSS, Bits: 2048, Hash: crypto.SHA256}
	return []vectorCase{
		tik("not-fixedtpm", "the key cannot leave its parent, but its parent can leave the TPM", "fixedTPM is not set",
			of(tpmtest.NotFixedTPM, es256())),
		edited("not-fixedparent", "fixedParent alone is clear, which no TPM makes", "fixedParent is not set",
			func(a *tpm2.TPMAObject) { a.FixedParent = false }),
		tik("duplicable", "the key may leave the TPM", "fixedTPM|fixedParent is not set",
			of(tpmtest.Duplicable, es256())),
		tik("rsa-duplicable", "the key, RSA, may leave the TPM", "fixedTPM|fixedParent is not set",
			of(tpmtest.Duplicable, rsapss)),
		tik("imported", "the key was made in software and imported", "fixedTPM|fixedParent|sensitiveDataOrigin is not set",
			func(ctx context.Context, s *scene) (*attester.Key, error) {
				key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				if err != nil {
					return nil, err
				}
				return tpmtest.Imported(ctx, s.tpm, es256(), key)
			}),
		{
			name:    "contraindicated-tik-derived",
			comment: "the key was derived from a secret instead of made at random",
			spec:    specAttributes, want: contraindicated(appraisal.ErrKeyAttributes, ": sensitiveDataOrigin is not set"),
			change: func(ctx context.Context, s *scene) (err error) {
				s.kat, err = tpmtest.CertifyDerived(ctx, s.tpm, s.ak, es256(), s.nonce)
				return err
			},
		},
		tik("restricted", "the key signs nothing but what its TPM made: it is an attestation key", "restricted is set",
			of(tpmtest.Restricted, es256())),
		tik("ak-itself", "the AK certifies itself", "restricted is set",
			func(_ context.Context, s *scene) (*attester.Key, error) { return s.ak, nil }),
		tik("decrypt", "the key decrypts, too", "decrypt is set",
			of(tpmtest.SignAndDecrypt, es256())),
		tik("rsa-decrypt", "the key, RSA, decrypts, too", "decrypt is set",
			of(tpmtest.SignAndDecrypt, rsapss)),
		edited("not-sign", "the key does not sign, which no TPM makes of a key that does not decrypt either", "sign is not set",
			func(a *tpm2.TPMAObject) { a.SignEncrypt = false }),
		tik("decrypt-only", "the key decrypts instead of signing", "sign is not set",
			of(tpmtest.DecryptOnly, rsapss)),
		scheme("scheme-sha1", "the key is limited to ECDSA with SHA-1", "sha1 is not accepted",
			func(p *tpm2.TPMTPublic) error { return ecdsaHash(p, tpm2.TPMAlgSHA1) }),
		scheme("scheme-ecdaa", "the key is limited to ECDAA", "ecdaa-sha256 is not",
			func(p *tpm2.TPMTPublic) error {
				parms, err := p.Parameters.ECCDetail()
				if err == nil {
					parms.Scheme = tpm2.TPMTECCScheme{
						Scheme:  tpm2.TPMAlgECDAA,
						Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDAA, &tpm2.TPMSSchemeECDAA{HashAlg: tpm2.TPMAlgSHA256}),
					}
				}
				return err
			}),
		{
			name:    "contraindicated-tik-duplicable-pcr-extended",
			comment: "two defects: the key may leave the TPM, and a PCR was extended; the status is the worse one, both are reported",
			spec:    "draft-ietf-rats-ar4si, 2.3 (trustworthiness tiers)",
			want: want{
				verdict: "contraindicated", executables: appraisal.UnrecognizedRuntime, storageOpaque: appraisal.UnprotectedSecrets,
				problems: []wantProblem{
					{"executables", appraisal.ErrPCRDigest, "compared with 1 of 1 states"},
					{"storage-opaque", appraisal.ErrKeyAttributes, "fixedTPM|fixedParent is not set"},
				},
			},
			change: func(ctx context.Context, s *scene) (err error) {
				if s.tik, err = tpmtest.Duplicable(ctx, s.tpm, es256()); err != nil {
					return err
				}
				if err := s.extend(ctx, crypto.SHA256, 7); err != nil {
					return err
				}
				return s.attest(ctx)
			},
		},
	}
}

// platformCases are about the PCRs.
func platformCases() []vectorCase {
	digest := func(says string) want { return warning(appraisal.ErrPCRDigest, says) }
	selection := func(says string) want { return warning(appraisal.ErrPCRSelection, says) }
	// requoted has the AK quote other PCRs than those endorsed.
	requoted := func(name, comment string, w want, sel ...tpm2.TPMSPCRSelection) vectorCase {
		return vectorCase{
			name: "warning-pcr-" + name, comment: comment, spec: specSelection, want: w,
			change: func(ctx context.Context, s *scene) (err error) {
				s.pat, err = s.quote(ctx, s.ak, sel, tpm2.TPMTSigScheme{}, s.nonce)
				return err
			},
		}
	}
	extended := func(name, comment, sel string, bank crypto.Hash, pcr int) vectorCase {
		return vectorCase{
			name: "warning-pcr-" + name, comment: comment, spec: specPCRs, want: digest("compared with 1 of 1 states"), sel: sel,
			change: func(ctx context.Context, s *scene) error {
				if err := s.extend(ctx, bank, pcr); err != nil {
					return err
				}
				return s.attest(ctx)
			},
		}
	}
	// forgedDigest has the forger sign another pcrDigest.
	forgedDigest := func(name, comment string, digest func(context.Context, *scene) ([]byte, error)) vectorCase {
		return vectorCase{
			name: "warning-pcr-digest-" + name, comment: comment, spec: specPCRs, forged: true,
			want: warning(appraisal.ErrPCRDigest, "compared with 1 of 1 states"),
			change: func(ctx context.Context, s *scene) error {
				d, err := digest(ctx, s)
				if err != nil {
					return err
				}
				quote := tpmtest.QuoteInfo([]tpm2.TPMSPCRSelection{usualBank()}, d, s.nonce)
				return s.forgePAT(ctx, tpm2.Marshal(quote))
			},
		}
	}
	// sum is the right digest, made with h.
	sum := func(ctx context.Context, s *scene, h crypto.Hash) ([]byte, error) {
		values, err := s.tpm.ReadPCRs(ctx, s.sel)
		if err != nil {
			return nil, err
		}
		return tpmtest.PCRDigest(h, s.sel, values), nil
	}
	sha256, sha384, sha512 := tpm2.TPMAlgSHA256, tpm2.TPMAlgSHA384, tpm2.TPMAlgSHA512
	// half gives a class two states, each of which is right where the other is
	// wrong.
	half := func(name, comment, sel string, first func(endorsements.PCR) bool) vectorCase {
		return vectorCase{
			name: "warning-state-" + name, comment: comment, spec: specStates, want: digest("compared with 2 of 2 states"), sel: sel,
			change: func(_ context.Context, s *scene) error {
				right := s.states[0]
				one, err := altered(right, first)
				if err != nil {
					return err
				}
				other, err := altered(right, func(p endorsements.PCR) bool { return !first(p) })
				s.states = []endorsements.ReferenceState{one, other}
				return err
			},
		}
	}
	return []vectorCase{
		extended("extended", "a PCR was extended after the reference values were made", "", crypto.SHA256, 7),
		extended("extended-second-bank", "a PCR of the second bank was extended after the reference values were made",
			"sha256:0,1+sha384:0,1", crypto.SHA384, 1),
		requoted("subset", "the quote is over one of the endorsed PCRs only, which has the right value",
			selection("quoted sha256:0, endorsed sha256:0,1,2,3,4,5,6,7"), bank(sha256, 0)),
		requoted("superset", "the quote is over one more PCR than is endorsed",
			selection("quoted sha256:0,1,2,3,4,5,6,7,8, endorsed sha256:0,1,2,3,4,5,6,7"), bank(sha256, 0, 1, 2, 3, 4, 5, 6, 7, 8)),
		requoted("other", "the quote is over other PCRs than are endorsed",
			selection("quoted sha256:8,9, endorsed sha256:0,1,2,3,4,5,6,7"), bank(sha256, 8, 9)),
		requoted("none", "the quote is over no bank", selection("the quote covers no PCR")),
		requoted("none-in-bank", "the quote lists a bank without PCRs", selection("the quote covers no PCR"), bank(sha256)),
		requoted("sha1-bank", "the quote is over the SHA-1 bank, which cannot be endorsed",
			selection("sha1 is not accepted"), bank(tpm2.TPMAlgSHA1, 0, 1, 2, 3, 4, 5, 6, 7)),
		requoted("sha1-bank-too", "the quote is over the endorsed PCRs and one of the SHA-1 bank",
			selection("sha1 is not accepted"), usualBank(), bank(tpm2.TPMAlgSHA1, 0)),
		requoted("bank-without-reference", "the quote is over a bank that is not endorsed",
			selection("quoted sha512:0,1,2,3,4,5,6,7, endorsed sha256:0,1,2,3,4,5,6,7"), bank(sha512, 0, 1, 2, 3, 4, 5, 6, 7)),
		requoted("bank-without-reference-too", "the quote is over the endorsed PCRs and those of a bank that is not endorsed",
			selection("+sha384:0, endorsed sha256:0,1,2,3,4,5,6,7"), usualBank(), bank(sha384, 0)),
		requoted("twice", "the quote lists a PCR twice",
			selection("names PCR 3 of bank sha256 twice"), usualBank(), bank(sha256, 3)),
		{
			name:    "warning-pcr-bank-hidden",
			comment: "two banks are endorsed; the quote lists the second without PCRs, so that nothing is said of it",
			spec:    specSelection, sel: "sha256:0,1+sha384:0,1", want: selection("quoted sha256:0,1+sha384:, endorsed sha256:0,1+sha384:0,1"),
			change: func(ctx context.Context, s *scene) (err error) {
				s.pat, err = s.quote(ctx, s.ak, []tpm2.TPMSPCRSelection{bank(sha256, 0, 1), bank(sha384)}, tpm2.TPMTSigScheme{}, s.nonce)
				return err
			},
		},
		{
			name:    "warning-pcr-bank-unknown",
			comment: "the quote is over a bank of SHA3-256, of which nothing is known",
			spec:    specSelection, forged: true, want: selection("0x0027 is not accepted"),
			change: func(ctx context.Context, s *scene) error {
				d, err := sum(ctx, s, crypto.SHA256)
				if err != nil {
					return err
				}
				sel := []tpm2.TPMSPCRSelection{bank(tpm2.TPMAlgSHA3256, 0, 1, 2, 3, 4, 5, 6, 7)}
				return s.forgePAT(ctx, tpm2.Marshal(tpmtest.QuoteInfo(sel, d, s.nonce)))
			},
		},
		forgedDigest("other-hash", "pcrDigest has another length: it is made with SHA-384, while the AK's scheme has SHA-256",
			func(ctx context.Context, s *scene) ([]byte, error) { return sum(ctx, s, crypto.SHA384) }),
		forgedDigest("truncated", "pcrDigest is the right one, cut to 31 bytes",
			func(ctx context.Context, s *scene) ([]byte, error) {
				d, err := sum(ctx, s, crypto.SHA256)
				return d[:min(31, len(d))], err
			}),
		forgedDigest("empty", "pcrDigest is empty",
			func(context.Context, *scene) ([]byte, error) { return nil, nil }),
		{
			name:    "warning-class-without-states",
			comment: "no reference state is provisioned at all",
			spec:    specStates, want: warning(appraisal.ErrNoReferenceState, ""),
			change: func(_ context.Context, s *scene) error {
				s.states = nil
				return nil
			},
		},
		{
			name:    "warning-state-of-other-class",
			comment: "the platform is in a reference state of another class than the AK's",
			spec:    specStates, want: warning(appraisal.ErrNoReferenceState, ""),
			change: func(_ context.Context, s *scene) error {
				class, err := newUUID()
				if err != nil {
					return err
				}
				s.states[0], err = endorsements.NewReferenceState(class, s.states[0].Values())
				return err
			},
		},
		{
			name:    "warning-state-of-other-class-beside",
			comment: "the AK's class has a reference state that the platform is not in; it is in one of another class",
			spec:    specStates, want: digest("compared with 1 of 1 states"),
			change: func(_ context.Context, s *scene) error {
				class, err := newUUID()
				if err != nil {
					return err
				}
				foreign, err := endorsements.NewReferenceState(class, s.states[0].Values())
				if err != nil {
					return err
				}
				own, err := altered(s.states[0], func(p endorsements.PCR) bool { return p.Index == 0 })
				s.states = []endorsements.ReferenceState{own, foreign}
				return err
			},
		},
		half("half-right-pcrs", "two states of a class: one is right in PCRs 0 to 3, the other in 4 to 7",
			"", func(p endorsements.PCR) bool { return p.Index > 3 }),
		half("half-right-banks", "two states of a class: one is right in the SHA-256 bank, the other in the SHA-384 bank",
			"sha256:0,1+sha384:0,1", func(p endorsements.PCR) bool { return p.Bank == crypto.SHA384 }),
		{
			name:    "warning-state-split",
			comment: "two states of a class have one bank each, both right; the quote is over both banks, which no state has",
			spec:    specStates, sel: "sha256:0,1+sha384:0,1", want: selection("endorsed sha256:0,1, sha384:0,1"),
			change: func(_ context.Context, s *scene) error {
				whole := s.states[0]
				s.states = nil
				for _, bank := range whole.Banks() {
					values := slices.DeleteFunc(whole.Values(), func(v endorsements.PCRValue) bool { return v.Bank != bank })
					part, err := endorsements.NewReferenceState(whole.Class(), values)
					if err != nil {
						return err
					}
					s.states = append(s.states, part)
				}
				return nil
			},
		},
	}
}

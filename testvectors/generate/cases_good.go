// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/endorsements"
)

// keyCases has good vectors with every algorithm that the TPM has, as that of
// the AK and as that of the identity key.
func keyCases(ctx context.Context, l *lab) ([]vectorCase, error) {
	algs, err := l.supported(ctx)
	if err != nil {
		return nil, err
	}
	var cases []vectorCase
	for _, alg := range algs {
		bank := map[crypto.Hash]string{crypto.SHA256: "sha256", crypto.SHA384: "sha384", crypto.SHA512: "sha512"}[alg.Hash]
		cases = append(cases,
			vectorCase{
				name:    "good-ak-" + alg.String(),
				comment: fmt.Sprintf("an AK of %s, the PCR bank has the same hash", alg),
				spec:    specSignature,
				want:    affirming(),
				ak:      alg,
				sel:     bank + ":0,1,2,3,4,5,6,7",
			},
			vectorCase{
				name:    "good-tik-" + alg.String(),
				comment: fmt.Sprintf("an identity key of %s", alg),
				spec:    specPublic,
				want:    affirming(),
				tik:     alg,
			})
	}
	return cases, nil
}

func goodCases() []vectorCase {
	alg := func(scheme attester.Scheme, bits int, hash crypto.Hash) attester.KeyAlg {
		return attester.KeyAlg{Scheme: scheme, Bits: bits, Hash: hash}
	}
	mixed := func(ak attester.KeyAlg, bank string) vectorCase {
		return vectorCase{
			name:    fmt.Sprintf("good-mixed-%s-bank-%s", ak, bank),
			comment: "the hash of the AK's scheme, which pcrDigest is made with, is not the PCR bank's",
			spec:    specPCRs, want: affirming(), ak: ak, sel: bank + ":0,1,2,3,4,5,6,7",
		}
	}
	banks := func(name, comment, sel string) vectorCase {
		return vectorCase{name: "good-pcr-" + name, comment: comment, spec: specPCRs, want: affirming(), sel: sel}
	}
	return []vectorCase{
		mixed(alg(attester.ECDSA, 256, crypto.SHA256), "sha384"),
		mixed(alg(attester.ECDSA, 256, crypto.SHA256), "sha512"),
		mixed(alg(attester.ECDSA, 384, crypto.SHA384), "sha256"),
		mixed(alg(attester.RSASSA, 2048, crypto.SHA512), "sha256"),
		mixed(alg(attester.RSAPSS, 2048, crypto.SHA384), "sha256"),

		banks("two-banks", "one quote over PCRs of two banks", "sha256:0,1,2,3,4,5,6,7+sha384:0,1"),
		banks("three-banks", "one quote over PCRs of three banks", "sha256:0,1,7+sha384:0,1+sha512:9"),
		banks("banks-reversed", "the digest is over the banks as the quote lists them, not in the order of their numbers",
			"sha512:0,1+sha256:0,1"),
		banks("one", "one PCR", "sha256:0"),
		banks("all", "all PCRs of a bank, some of them as a reset left them", "sha256:all"),
		{
			name:    "good-pcr-bank-split",
			comment: "the quote lists a bank twice, each time with other PCRs: it covers what is endorsed, and nothing twice",
			spec:    specSelection, want: affirming(), sel: "sha256:0,1",
			change: func(ctx context.Context, s *scene) (err error) {
				s.pat, err = s.quote(ctx, s.ak, []tpm2.TPMSPCRSelection{bank(tpm2.TPMAlgSHA256, 1), bank(tpm2.TPMAlgSHA256, 0)},
					tpm2.TPMTSigScheme{}, s.nonce)
				return err
			},
		},
		{
			name:    "good-pcr-bank-without-pcrs",
			comment: "the quote lists a second bank without PCRs, of which none are endorsed either",
			spec:    specSelection, want: affirming(),
			change: func(ctx context.Context, s *scene) (err error) {
				s.pat, err = s.quote(ctx, s.ak, []tpm2.TPMSPCRSelection{usualBank(), bank(tpm2.TPMAlgSHA512)},
					tpm2.TPMTSigScheme{}, s.nonce)
				return err
			},
		},
		{
			name:    "good-state-with-more-banks",
			comment: "the reference state has values in three banks, the quote is over one of them",
			spec:    specStates, want: affirming(), sel: "sha384:0,1",
			change: func(ctx context.Context, s *scene) error {
				all, err := attester.ParseSelection("sha256:0,1+sha384:0,1+sha512:0,1")
				if err != nil {
					return err
				}
				s.states[0], err = s.state(ctx, all)
				return err
			},
		},
		{
			name:    "good-state-second",
			comment: "the class has two reference states, the platform is in the second",
			spec:    specStates, want: affirming(),
			change: func(_ context.Context, s *scene) error {
				other, err := altered(s.states[0], func(p endorsements.PCR) bool { return p.Index == 4 })
				s.states = []endorsements.ReferenceState{other, s.states[0]}
				return err
			},
		},
		{
			name:    "good-state-other-set",
			comment: "the class has two reference states with different sets of PCRs, the platform is in the second",
			spec:    specStates, want: affirming(),
			change: func(ctx context.Context, s *scene) error {
				sel, err := attester.ParseSelection("sha256:0,1")
				if err != nil {
					return err
				}
				other, err := s.state(ctx, sel)
				s.states = []endorsements.ReferenceState{other, s.states[0]}
				return err
			},
		},
		{
			name:    "good-ak-second",
			comment: "two AKs of the class are provisioned, the second one signed",
			spec:    specKeys, want: affirming(),
			change: func(ctx context.Context, s *scene) error {
				k, err := s.lab.ak(ctx, 1, es256())
				if err != nil {
					return err
				}
				other, err := s.anchor(k)
				s.anchors = []endorsements.TrustAnchor{other, s.anchors[0]}
				return err
			},
		},
		{
			name:    "good-corim-one",
			comment: "key and reference state are in one CoRIM",
			spec:    specCorim, want: affirming(),
			change: func(_ context.Context, s *scene) error {
				b, err := encodeCorim(endorsements.Corim{Anchors: s.anchors, States: s.states})
				s.corims = [][]byte{b}
				return err
			},
		},
		{
			name:    "good-corim-twice",
			comment: "the same CoRIMs are provisioned twice, which changes nothing",
			spec:    specCorim, want: affirming(),
			change: func(_ context.Context, s *scene) error {
				corims, err := s.encodeCorims()
				s.corims = slices.Concat(corims, corims)
				return err
			},
		},
		{
			name:    "good-corim-validity",
			comment: "the CoRIM is valid from 1970 to 9999",
			spec:    specValidity, want: affirming(),
			change: func(_ context.Context, s *scene) error {
				b, err := encodeCorim(endorsements.Corim{
					Anchors: s.anchors, States: s.states,
					NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
				})
				s.corims = [][]byte{b}
				return err
			},
		},
		{
			name:    "good-nonce-8-bytes",
			comment: "the shortest nonce",
			spec:    specFreshness, want: affirming(),
			change: func(ctx context.Context, s *scene) error { return s.renonce(ctx, 8) },
		},
		{
			name:    "good-nonce-64-bytes",
			comment: "the longest nonce",
			spec:    specFreshness, want: affirming(),
			change: func(ctx context.Context, s *scene) error { return s.renonce(ctx, 64) },
		},
		{
			name:    "good-bundle-order",
			comment: "the order of a map's keys has no meaning",
			spec:    "RFC 8949, 3.1 (major type 5)", want: affirming(),
			change: func(_ context.Context, s *scene) error {
				k, p := katFields(s.kat), patFields(s.pat)
				slices.Reverse(k)
				slices.Reverse(p)
				s.evidence = object(field{"pat", object(p...)}, field{"kat", object(k...)})
				return nil
			},
		},
		tikCase("good-tik-ecc-any-scheme", "an ECC identity key that is not limited to a scheme", specPublic, affirming(),
			func(ctx context.Context, s *scene) (*attester.Key, error) {
				return s.createKey(ctx, es256(), anyScheme)
			}),
		tikCase("good-tik-rsa-any-scheme", "an RSA identity key that is not limited to a scheme", specPublic, affirming(),
			func(ctx context.Context, s *scene) (*attester.Key, error) {
				return s.createKey(ctx, alg(attester.RSAPSS, 2048, crypto.SHA256), anyScheme)
			}),
		nameAlgCase("good-tik-name-sha384", tpm2.TPMAlgSHA384),
		nameAlgCase("good-tik-name-sha512", tpm2.TPMAlgSHA512),
	}
}

// renonce makes new evidence for a nonce of n bytes.
func (s *scene) renonce(ctx context.Context, n int) (err error) {
	if s.nonce, err = random(n); err != nil {
		return err
	}
	return s.attestAs(ctx, s.nonce)
}

// tikCase has the AK certify another identity key.
func tikCase(name, comment, spec string, w want, create func(context.Context, *scene) (*attester.Key, error)) vectorCase {
	return vectorCase{name: name, comment: comment, spec: spec, want: w, change: func(ctx context.Context, s *scene) (err error) {
		if s.tik, err = create(ctx, s); err != nil {
			return err
		}
		return s.attest(ctx)
	}}
}

func nameAlgCase(name string, alg tpm2.TPMAlgID) vectorCase {
	return tikCase(name, "an identity key whose Name is made with another hash than SHA-256", specName, affirming(),
		func(ctx context.Context, s *scene) (*attester.Key, error) {
			return s.createKey(ctx, es256(), func(p *tpm2.TPMTPublic) error {
				p.NameAlg = alg
				return nil
			})
		})
}

// createKey makes a key that differs from an identity key in what change
// changes.
func (s *scene) createKey(ctx context.Context, alg attester.KeyAlg, change func(*tpm2.TPMTPublic) error) (*attester.Key, error) {
	template, err := alg.Template()
	if err != nil {
		return nil, err
	}
	if err := change(&template); err != nil {
		return nil, err
	}
	return s.tpm.CreateKey(ctx, nil, template)
}

// anyScheme frees a template from its scheme.
func anyScheme(p *tpm2.TPMTPublic) error {
	if p.Type == tpm2.TPMAlgRSA {
		parms, err := p.Parameters.RSADetail()
		if err == nil {
			parms.Scheme = tpm2.TPMTRSAScheme{}
		}
		return err
	}
	parms, err := p.Parameters.ECCDetail()
	if err == nil {
		parms.Scheme = tpm2.TPMTECCScheme{}
	}
	return err
}

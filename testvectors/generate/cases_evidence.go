// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"encoding/binary"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/tpmtest"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

const (
	saysStale   = "extraData is not this session's nonce"
	saysLength  = "the session's nonce has"
	saysTrailed = "1 bytes left over"
)

// freshnessCases are about the nonce in both tokens.
func freshnessCases() []vectorCase {
	stale := func(name, comment, token, says string, change func(context.Context, *scene) error) vectorCase {
		return vectorCase{
			name: "bad-evidence-" + name, comment: comment, spec: specFreshness,
			want: badEvidence(bundle.Stale, token, says), change: change,
		}
	}
	// remake makes the tokens for another nonce than the session's.
	remake := func(other func(nonce []byte) []byte) func(context.Context, *scene) error {
		return func(ctx context.Context, s *scene) error { return s.attestAs(ctx, other(s.nonce)) }
	}
	return []vectorCase{
		stale("replayed", "a bundle that was made for another session", "kat", saysStale,
			func(_ context.Context, s *scene) (err error) {
				s.nonce, err = random(32)
				return err
			}),
		stale("kat-stale", "the PAT is fresh, the KAT is of another session", "kat", saysStale,
			func(ctx context.Context, s *scene) error {
				old := s.kat
				err := s.renonce(ctx, 32)
				s.kat = old
				return err
			}),
		stale("pat-stale", "the KAT is fresh, the PAT is of another session", "pat", saysStale,
			func(ctx context.Context, s *scene) error {
				old := s.pat
				err := s.renonce(ctx, 32)
				s.pat = old
				return err
			}),
		stale("nonce-empty", "the session has no nonce, and the evidence is made for none: nothing shows that it is fresh", "kat", saysLength,
			func(ctx context.Context, s *scene) error { return s.renonce(ctx, 0) }),
		stale("nonce-7-bytes", "the session's nonce is too short to be unique, the evidence is made for it", "kat", saysLength,
			func(ctx context.Context, s *scene) error { return s.renonce(ctx, 7) }),
		stale("nonce-65-bytes", "the session's nonce is longer than a session's can be, the evidence is made for it", "kat", saysLength,
			func(ctx context.Context, s *scene) error { return s.renonce(ctx, 65) }),
		stale("nonce-not-in-evidence", "the session has a nonce, the evidence is made for none", "kat", saysStale,
			remake(func([]byte) []byte { return nil })),
		stale("nonce-cut", "the evidence is made for the first half of the nonce", "kat", saysStale,
			remake(func(n []byte) []byte { return n[:len(n)/2] })),
		stale("nonce-padded", "the evidence is made for the nonce and a zero byte", "kat", saysStale, remake(trailed)),
	}
}

// signatureCases are about the AK: which it is, and whether and how it signed.
func signatureCases() []vectorCase {
	// otherAK has another AK, which is not provisioned, make a token that says
	// that the provisioned one made it.
	otherAK := func(change func(context.Context, *scene, *attester.Key) error) func(context.Context, *scene) error {
		return func(ctx context.Context, s *scene) error {
			k, err := s.lab.ak(ctx, 1, es256())
			if err != nil {
				return err
			}
			return change(ctx, s, k)
		}
	}
	rsassa := attester.KeyAlg{Scheme: attester.RSASSA, Bits: 2048, Hash: crypto.SHA256}
	rsapss := attester.KeyAlg{Scheme: attester.RSAPSS, Bits: 2048, Hash: crypto.SHA256}
	const (
		unverified = "does not verify"
		sigAlg     = 0 // offsets in a TPMT_SIGNATURE
		sigHash    = 2
		sigSize    = 4
		sigValue   = 6
	)
	// alter overwrites bytes of a signature.
	alter := func(at int, v ...byte) func([]byte) []byte {
		return func(sig []byte) []byte { return with(sig, at, v...) }
	}
	algorithm := func(alg tpm2.TPMAlgID) []byte { return binary.BigEndian.AppendUint16(nil, uint16(alg)) }
	flip := func(sig []byte) []byte { return with(sig, sigValue, sig[sigValue]^1) }

	cases := []vectorCase{
		{
			name:    "bad-evidence-unknown-ak",
			comment: "the AK that signed is not provisioned, another one of the class is; ak is the one that signed",
			spec:    specAnchor, want: badEvidence(bundle.UnknownKey, "", "no trust anchor is provisioned"),
			change: otherAK(func(ctx context.Context, s *scene, other *attester.Key) (err error) {
				s.anchors[0], err = s.anchor(other)
				return err
			}),
		},
		{
			name:    "bad-evidence-kid-mismatch",
			comment: "kat.kid and pat.kid name two AKs, both of which are provisioned",
			spec:    specUEID, want: badEvidence(bundle.KeyID, "", "different attestation keys"),
			change: otherAK(func(ctx context.Context, s *scene, other *attester.Key) error {
				a, err := s.anchor(other)
				if err != nil {
					return err
				}
				s.anchors = append(s.anchors, a)
				s.pat, err = s.tpm.Quote(ctx, other, s.sel, s.nonce)
				return err
			}),
		},
		{
			name:    "bad-evidence-kid-not-ueid",
			comment: "both tokens have the same kid, which is not a UEID: its type byte is zero",
			spec:    specUEID, want: badEvidence(bundle.KeyID, "kat", "kid is not a UEID"),
			change: func(_ context.Context, s *scene) error {
				s.kat.KID = with(s.kat.KID, 0, 0)
				s.pat.KID = s.kat.KID
				return nil
			},
		},
		{
			name:    "bad-evidence-kid-of-other-ak",
			comment: "both tokens name another AK, which is provisioned but did not sign",
			spec:    specUEID, want: badEvidence(bundle.Signature, "kat", unverified),
			change: otherAK(func(_ context.Context, s *scene, other *attester.Key) error {
				a, err := s.anchor(other)
				s.anchors = append(s.anchors, a)
				s.kat.KID, s.pat.KID = a.KID, a.KID
				s.ak = other
				return err
			}),
		},
		{
			name:    "bad-evidence-kat-other-ak",
			comment: "the KAT is signed by another AK than the one that it names",
			spec:    specSignature, want: badEvidence(bundle.Signature, "kat", unverified),
			change: otherAK(func(ctx context.Context, s *scene, other *attester.Key) (err error) {
				s.kat, err = s.tpm.Certify(ctx, other, s.tik, s.nonce)
				s.kat.KID = s.pat.KID
				return err
			}),
		},
		{
			name:    "bad-evidence-pat-other-ak",
			comment: "the PAT is signed by another AK than the one that it names",
			spec:    specSignature, want: badEvidence(bundle.Signature, "pat", unverified),
			change: otherAK(func(ctx context.Context, s *scene, other *attester.Key) (err error) {
				s.pat, err = s.tpm.Quote(ctx, other, s.sel, s.nonce)
				s.pat.KID = s.kat.KID
				return err
			}),
		},
		{
			name:    "bad-evidence-kat-certinfo-altered",
			comment: "the reset count in certInfo was changed after it was signed",
			spec:    specSignature, want: badEvidence(bundle.Signature, "kat", unverified),
			change: func(_ context.Context, s *scene) (err error) {
				s.kat.CertInfo, err = editAttest(s.kat.CertInfo, func(a *tpm2.TPMSAttest) { a.ClockInfo.ResetCount++ })
				return err
			},
		},
		{
			name:    "bad-evidence-pat-attestinfo-altered",
			comment: "the reset count in attestInfo was changed after it was signed",
			spec:    specSignature, want: badEvidence(bundle.Signature, "pat", unverified),
			change: func(_ context.Context, s *scene) (err error) {
				s.pat.AttestInfo, err = editAttest(s.pat.AttestInfo, func(a *tpm2.TPMSAttest) { a.ClockInfo.ResetCount++ })
				return err
			},
		},
		{
			name:    "bad-evidence-sha1",
			comment: "an AK whose scheme has SHA-1 signed both tokens",
			spec:    specSHA1, want: badEvidence(bundle.Algorithm, "kat", "sha1 is not accepted"),
			change: func(ctx context.Context, s *scene) error {
				k, err := s.createKey(ctx, es256(), func(p *tpm2.TPMTPublic) error {
					p.ObjectAttributes.Restricted = true
					return ecdsaHash(p, tpm2.TPMAlgSHA1)
				})
				if err != nil {
					return err
				}
				s.ak = k
				if err := s.endorse(ctx); err != nil {
					return err
				}
				return s.attest(ctx)
			},
		},
		{
			name:    "bad-evidence-pat-sha1",
			comment: "the AK, which is not limited to a scheme, signed the KAT with SHA-256 and the PAT with SHA-1",
			spec:    specSHA1, want: badEvidence(bundle.Algorithm, "pat", "sha1 is not accepted"),
			change: func(ctx context.Context, s *scene) error {
				k, err := s.createKey(ctx, es256(), anyScheme)
				if err != nil {
					return err
				}
				s.ak = k
				if err := s.endorse(ctx); err != nil {
					return err
				}
				if s.kat, err = s.certify(ctx, s.ak, s.tik, ecdsaWith(tpm2.TPMAlgSHA256), s.nonce); err != nil {
					return err
				}
				s.pat, err = s.quote(ctx, s.ak, []tpm2.TPMSPCRSelection{usualBank()}, ecdsaWith(tpm2.TPMAlgSHA1), s.nonce)
				return err
			},
		},
		{
			name:    "bad-evidence-kid-of-other-key",
			comment: "under the kid of the AK that signed, the key of another AK is provisioned",
			spec:    specAnchor, want: badEvidence(bundle.Signature, "kat", unverified),
			change: otherAK(func(_ context.Context, s *scene, other *attester.Key) (err error) {
				s.anchors[0], err = endorsements.NewTrustAnchor(s.class, s.ak.KID(), other.PEM())
				s.ak = other
				return err
			}),
		},
	}
	for _, c := range []struct {
		name, comment string
		ak            attester.KeyAlg
		check         bundle.Check
		says          string
		sig           func([]byte) []byte
	}{
		{"sig-altered", "one bit of the signature was flipped", es256(), bundle.Signature, unverified, flip},
		{"sig-rsa-altered", "one bit of the signature was flipped", rsapss, bundle.Signature, unverified, flip},
		{"sig-rsassa-as-rsapss", "the signature is RSASSA, but says that it is RSAPSS", rsassa, bundle.Signature, unverified,
			alter(sigAlg, algorithm(tpm2.TPMAlgRSAPSS)...)},
		{"sig-rsapss-as-rsassa", "the signature is RSAPSS, but says that it is RSASSA", rsapss, bundle.Signature, unverified,
			alter(sigAlg, algorithm(tpm2.TPMAlgRSASSA)...)},
		{"sig-other-hash", "the signature is with SHA-256, but says that it is with SHA-384", es256(), bundle.Signature, unverified,
			alter(sigHash, algorithm(tpm2.TPMAlgSHA384)...)},
		{"sig-hash-unknown", "the signature says that it is with SHA3-256", es256(), bundle.Algorithm, "0x0027 is not accepted",
			alter(sigHash, algorithm(tpm2.TPMAlgSHA3256)...)},
		{"sig-ecdaa", "the signature says that it is ECDAA", es256(), bundle.Algorithm, "0x001a is not accepted",
			alter(sigAlg, algorithm(tpm2.TPMAlgECDAA)...)},
		{"sig-null", "there is a signature of the null algorithm", es256(), bundle.Algorithm, "0x0010 is not accepted",
			func([]byte) []byte { return algorithm(tpm2.TPMAlgNull) }},
		{"sig-rsa-short", "the signature has one byte less than the AK's modulus", rsassa, bundle.Algorithm, "signature of 255 bytes under an RSA key of 256",
			func(sig []byte) []byte { return with(sig[:len(sig)-1], sigSize, 0, 255) }},
		{"sig-empty", "the signature is empty", es256(), bundle.Malformed, "need 2 bytes, have 0",
			func([]byte) []byte { return nil }},
		{"sig-trailing", "a byte follows the signature", es256(), bundle.Malformed, saysTrailed, trailed},
		{"sig-truncated", "the last byte of the signature is missing", es256(), bundle.Malformed, "signatureS: need",
			func(sig []byte) []byte { return sig[:len(sig)-1] }},
	} {
		for _, token := range []string{"kat", "pat"} {
			cases = append(cases, vectorCase{
				name: "bad-evidence-" + token + "-" + c.name, comment: token + ": " + c.comment, ak: c.ak,
				spec: specSignature, want: badEvidence(c.check, token, c.says),
				change: func(_ context.Context, s *scene) error {
					sig := &s.kat.Sig
					if token == "pat" {
						sig = &s.pat.Sig
					}
					*sig = append([]byte{}, c.sig(*sig)...) // never nil, which would be null
					return nil
				},
			})
		}
	}
	// One kind of key signs what another kind is provisioned for.
	for _, c := range []struct {
		name, says    string
		signer, given attester.KeyAlg
	}{
		{"sig-rsa-under-ecdsa", "rsassa-sha256 signature under an ECDSA key", rsassa, es256()},
		{"sig-ecdsa-under-rsa", "ecdsa-sha256 signature under an RSA key", es256(), rsassa},
		{"sig-p384-under-p256", "signature of 48 and 48 bytes under a P-256 key",
			attester.KeyAlg{Scheme: attester.ECDSA, Bits: 384, Hash: crypto.SHA256}, es256()},
	} {
		cases = append(cases, vectorCase{
			name: "bad-evidence-kat-" + c.name, comment: "kat: the signature is of a key of another kind or size than the AK",
			spec: specSignature, ak: c.given, want: badEvidence(bundle.Algorithm, "kat", c.says),
			change: func(ctx context.Context, s *scene) error {
				k, err := s.lab.ak(ctx, 1, c.signer)
				if err != nil {
					return err
				}
				s.kat, err = s.tpm.Certify(ctx, k, s.tik, s.nonce)
				s.kat.KID = s.pat.KID
				return err
			},
		})
	}
	return cases
}

// structureCases are about the two TPMS_ATTEST and the TPMT_PUBLIC.
func structureCases() []vectorCase {
	cases := []vectorCase{
		{
			name:    "bad-evidence-kat-type",
			comment: "certInfo is a quote, signed by the AK",
			spec:    specAttest, want: badEvidence(bundle.Type, "kat", "attestation type is 0x8018, want 0x8017"),
			change: func(_ context.Context, s *scene) error {
				s.kat.CertInfo, s.kat.Sig = s.pat.AttestInfo, s.pat.Sig
				return nil
			},
		},
		{
			name:    "bad-evidence-pat-type",
			comment: "attestInfo is a certification, signed by the AK",
			spec:    specAttest, want: badEvidence(bundle.Type, "pat", "attestation type is 0x8017, want 0x8018"),
			change: func(_ context.Context, s *scene) error {
				s.pat.AttestInfo, s.pat.Sig = s.kat.CertInfo, s.kat.Sig
				return nil
			},
		},
		{
			name:    "bad-evidence-kat-tpmver",
			comment: "kat.tpmVer is 1.2",
			spec:    specKAT, want: badEvidence(bundle.Version, "kat", `tpmVer is "1.2"`),
			change: func(_ context.Context, s *scene) error {
				s.kat.TPMVer = "1.2"
				return nil
			},
		},
		{
			name:    "bad-evidence-pat-tpmver",
			comment: "pat.tpmVer is 1.2",
			spec:    specPAT, want: badEvidence(bundle.Version, "pat", `tpmVer is "1.2"`),
			change: func(_ context.Context, s *scene) error {
				s.pat.TPMVer = "1.2"
				return nil
			},
		},
		{
			name:    "bad-evidence-kat-name",
			comment: "certInfo is about another identity key of this TPM than the one in pubArea",
			spec:    specName, want: badEvidence(bundle.Name, "kat", "the names differ"),
			change: func(ctx context.Context, s *scene) error {
				other, err := s.lab.tik(ctx, 1, es256())
				if err != nil {
					return err
				}
				s.kat.PubArea = other.PubArea()
				return nil
			},
		},
		{
			name:    "bad-evidence-kat-pubarea-attributes",
			comment: "the certified key may leave the TPM; pubArea was edited to say that it may not",
			spec:    specName, want: badEvidence(bundle.Name, "kat", "the names differ"),
			change: func(ctx context.Context, s *scene) error {
				k, err := tpmtest.Duplicable(ctx, s.tpm, es256())
				if err != nil {
					return err
				}
				s.tik = k
				if err := s.attest(ctx); err != nil {
					return err
				}
				s.kat.PubArea, err = tpmtest.WithAttributes(s.kat.PubArea, func(a *tpm2.TPMAObject) {
					a.FixedTPM, a.FixedParent = true, true
				})
				return err
			},
		},
		{
			name:    "bad-evidence-kat-name-sha1",
			comment: "the identity key's Name is made with SHA-1",
			spec:    specSHA1, want: badEvidence(bundle.Algorithm, "kat", "name hash algorithm sha1 is not accepted"),
			change: func(ctx context.Context, s *scene) (err error) {
				s.tik, err = s.createKey(ctx, es256(), func(p *tpm2.TPMTPublic) error {
					p.NameAlg = tpm2.TPMAlgSHA1
					return nil
				})
				if err != nil {
					return err
				}
				return s.attest(ctx)
			},
		},
		{
			name:    "bad-evidence-kat-pubarea-trailing",
			comment: "a byte follows the public area, and the certified Name is the digest of both",
			spec:    specPublic, want: badEvidence(bundle.Malformed, "kat", saysTrailed), forged: true,
			change: func(ctx context.Context, s *scene) error {
				s.kat.PubArea = trailed(s.kat.PubArea)
				certInfo, err := editAttest(s.kat.CertInfo, func(a *tpm2.TPMSAttest) {
					a.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestCertify, &tpm2.TPMSCertifyInfo{
						Name: tpm2.TPM2BName{Buffer: nameSHA256(s.kat.PubArea)},
					})
				})
				if err != nil {
					return err
				}
				return s.forgeKAT(ctx, certInfo)
			},
		},
		{
			name:    "bad-evidence-kat-pubarea-truncated",
			comment: "the last byte of pubArea is missing",
			spec:    specPublic, want: badEvidence(bundle.Malformed, "kat", "unique.y: need"),
			change: func(_ context.Context, s *scene) error {
				s.kat.PubArea = s.kat.PubArea[:len(s.kat.PubArea)-1]
				return nil
			},
		},
		{
			name:    "bad-evidence-kat-point-off-curve",
			comment: "the public area, which is certified, has a point that is not on its curve",
			spec:    "SEC 1, 3.2.2.1 (public key validation)", forged: true,
			want: badEvidence(bundle.Algorithm, "kat", "ECC point is not on P-256"),
			change: func(ctx context.Context, s *scene) error {
				area := with(s.kat.PubArea, len(s.kat.PubArea)-1, s.kat.PubArea[len(s.kat.PubArea)-1]^1)
				return s.forgeKATFor(ctx, area)
			},
		},
		primaryCase("p224", "an identity key on P-224", "ECC curve 0x0002 is not accepted", func() (tpm2.TPMTPublic, error) {
			p, err := es256().Template()
			if err != nil {
				return p, err
			}
			parms, err := p.Parameters.ECCDetail()
			if err == nil {
				parms.CurveID = tpm2.TPMECCNistP224
			}
			return p, err
		}),
		primaryCase("rsa-1024", "an identity key of RSA with 1024 bits", "RSA key of 1024 bits", func() (tpm2.TPMTPublic, error) {
			p, err := (attester.KeyAlg{Scheme: attester.RSAPSS, Bits: 2048, Hash: crypto.SHA256}).Template()
			if err != nil {
				return p, err
			}
			err = rsa1024(&p)
			return p, err
		}),
		primaryCase("hmac", "the certified key is an HMAC key", "object type 0x0008 is not accepted", hmacTemplate),
	}
	// What a TPM does not make, the forger signs.
	edits := []struct {
		name, comment, spec string
		check               bundle.Check
		says                string
		edit                func([]byte) []byte
	}{
		{"magic", "the magic is not TPM_GENERATED_VALUE: what was signed need not come from the TPM", specAttest, bundle.Magic, "want TPM_GENERATED_VALUE",
			func(b []byte) []byte { return with(b, 0, 0, 0, 0, 0) }},
		{"trailing", "a byte follows the attestation, and is signed with it", specAttest, bundle.Malformed, saysTrailed, trailed},
		{"truncated", "the attestation lacks its last byte, and is signed so", specAttest, bundle.Malformed, "bytes, have",
			func(b []byte) []byte { return b[:len(b)-1] }},
	}
	for _, c := range edits {
		cases = append(cases,
			vectorCase{
				name: "bad-evidence-kat-" + certInfoName(c.name), comment: "certInfo: " + c.comment, spec: c.spec, forged: true,
				want:   badEvidence(c.check, "kat", c.says),
				change: func(ctx context.Context, s *scene) error { return s.forgeKAT(ctx, c.edit(s.kat.CertInfo)) },
			},
			vectorCase{
				name: "bad-evidence-pat-" + attestInfoName(c.name), comment: "attestInfo: " + c.comment, spec: c.spec, forged: true,
				want:   badEvidence(c.check, "pat", c.says),
				change: func(ctx context.Context, s *scene) error { return s.forgePAT(ctx, c.edit(s.pat.AttestInfo)) },
			})
	}
	return cases
}

// certInfoName and attestInfoName name a defect for what it is in.
func certInfoName(defect string) string { return fieldName("certinfo", defect) }

func attestInfoName(defect string) string { return fieldName("attestinfo", defect) }

func fieldName(field, defect string) string {
	if defect == "magic" { // there is but one
		return defect
	}
	return field + "-" + defect
}

// primaryCase has the AK certify a key that is none of an accepted kind.
func primaryCase(name, comment, says string, template func() (tpm2.TPMTPublic, error)) vectorCase {
	return vectorCase{
		name: "bad-evidence-tik-" + name, comment: comment, spec: specPublic,
		want: badEvidence(bundle.Algorithm, "kat", says),
		change: func(ctx context.Context, s *scene) error {
			p, err := template()
			if err != nil {
				return err
			}
			s.kat, err = s.certifyPrimary(ctx, s.ak, p, s.nonce)
			return err
		},
	}
}

func hmacTemplate() (tpm2.TPMTPublic, error) {
	return tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgKeyedHash,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, SignEncrypt: true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash, &tpm2.TPMSKeyedHashParms{
			Scheme: tpm2.TPMTKeyedHashScheme{
				Scheme:  tpm2.TPMAlgHMAC,
				Details: tpm2.NewTPMUSchemeKeyedHash(tpm2.TPMAlgHMAC, &tpm2.TPMSSchemeHMAC{HashAlg: tpm2.TPMAlgSHA256}),
			},
		}),
	}, nil
}

// bundleCases are about the CBOR.
func bundleCases() []vectorCase {
	malformed := func(name, comment, spec, token, says string, evidence func(*scene) []byte) vectorCase {
		return vectorCase{
			name: "bad-evidence-" + name, comment: comment, spec: spec, want: badEvidence(bundle.Malformed, token, says),
			change: func(_ context.Context, s *scene) error {
				s.evidence = evidence(s)
				return nil
			},
		}
	}
	// inKAT changes the entries of kat.
	inKAT := func(change func(kat.Token) []byte) func(*scene) []byte {
		return func(s *scene) []byte { return object(field{"kat", change(s.kat)}, s.patField()) }
	}
	inPAT := func(change func(pat.Token) []byte) func(*scene) []byte {
		return func(s *scene) []byte { return object(s.katField(), field{"pat", change(s.pat)}) }
	}
	whole := func(s *scene) []byte { return object(s.katField(), s.patField()) }
	array := func(b []byte) []byte {
		items := head(cborArray, len(b))
		for _, n := range b {
			items = append(items, head(cborUint, int(n))...)
		}
		return items
	}
	return []vectorCase{
		malformed("empty", "there is no evidence", specTooLittle, "", "EOF",
			func(*scene) []byte { return []byte{} }),
		malformed("bundle-trailing", "a byte follows the bundle", specLeftOver, "", "extraneous data",
			func(s *scene) []byte { return trailed(whole(s)) }),
		malformed("bundle-truncated", "the bundle lacks its last byte", specTooLittle, "", "unexpected EOF",
			func(s *scene) []byte { b := whole(s); return b[:len(b)-1] }),
		malformed("bundle-array", "the bundle is an array of the tokens", specBundle, "", "a CBOR array",
			func(s *scene) []byte {
				return slices.Concat(head(cborArray, 2), object(katFields(s.kat)...), object(patFields(s.pat)...))
			}),
		malformed("bundle-oversized", "the bundle is too large by one byte; there is no other way to that size than an unknown key",
			specBundle, "", "at most 16384 are read",
			func(s *scene) []byte {
				pad := func(n int) []byte {
					return object(s.katField(), s.patField(), field{"pad", byteString(make([]byte, n))})
				}
				const large = 1 << 10 // beyond that its head has a fixed size
				return pad(large + bundle.MaxSize + 1 - len(pad(large)))
			}),
		malformed("bundle-no-kat", "there is no KAT", specBundle, "", "kat present false, pat present true",
			func(s *scene) []byte { return object(s.patField()) }),
		malformed("bundle-no-pat", "there is no PAT", specBundle, "", "kat present true, pat present false",
			func(s *scene) []byte { return object(s.katField()) }),
		malformed("bundle-duplicate-key", "the bundle has kat twice, both times the same", specDuplicate, "", "duplicate map key",
			func(s *scene) []byte { return object(s.katField(), s.katField(), s.patField()) }),
		malformed("kat-duplicate-key", "kat has kid twice, both times the same", specDuplicate, "", "duplicate map key",
			inKAT(func(t kat.Token) []byte {
				return object(append(katFields(t), field{"kid", byteString(t.KID)})...)
			})),
		malformed("pat-duplicate-key", "pat has kid twice, both times the same", specDuplicate, "", "duplicate map key",
			inPAT(func(t pat.Token) []byte {
				return object(append(patFields(t), field{"kid", byteString(t.KID)})...)
			})),
		malformed("bundle-unknown-key", "the bundle has a third entry", specBundle, "", "unknown field",
			func(s *scene) []byte { return object(s.katField(), s.patField(), field{"alg", head(cborUint, 1)}) }),
		malformed("kat-unknown-key", "kat has an entry alg", specKAT, "", "unknown field",
			inKAT(func(t kat.Token) []byte { return object(append(katFields(t), field{"alg", head(cborUint, 1)})...) })),
		malformed("pat-unknown-key", "pat has an entry alg", specPAT, "", "unknown field",
			inPAT(func(t pat.Token) []byte { return object(append(patFields(t), field{"alg", head(cborUint, 1)})...) })),
		malformed("kat-key-case", "kat.KID is not kat.kid", specKAT, "", "unknown field",
			inKAT(func(t kat.Token) []byte {
				return object(append(without(katFields(t), "kid"), field{"KID", byteString(t.KID)})...)
			})),
		malformed("bundle-indefinite-map", "the bundle is a map of indefinite length", specIndefinite, "", "indefinite-length",
			func(s *scene) []byte {
				return slices.Concat([]byte{cborMap<<5 | cborIndefinite}, entries(s.katField(), s.patField()), []byte{cborBreak})
			}),
		malformed("kat-indefinite-bytes", "kat.sig is a byte string of indefinite length", specIndefinite, "", "indefinite-length",
			inKAT(func(t kat.Token) []byte {
				sig := slices.Concat([]byte{cborBytes<<5 | cborIndefinite}, byteString(t.Sig), []byte{cborBreak})
				return object(replaced(katFields(t), "sig", sig)...)
			})),
		malformed("bundle-long-map-head", "the bundle is a map whose length takes a byte more than it needs", specBundle, "", "shortest form",
			func(s *scene) []byte {
				return slices.Concat([]byte{cborMap<<5 | 24, 2}, entries(s.katField(), s.patField()))
			}),
		malformed("pat-long-bytes-head", "pat.attestInfo's length takes more bytes than it needs", specPAT, "", "shortest form",
			inPAT(func(t pat.Token) []byte {
				long := binary.BigEndian.AppendUint64([]byte{cborBytes<<5 | 27}, uint64(len(t.AttestInfo)))
				return object(replaced(patFields(t), "attestInfo", append(long, t.AttestInfo...))...)
			})),
		malformed("bundle-tag", "the bundle is tagged as CBOR (tag 55799)", specBundle, "", "tag",
			func(s *scene) []byte { return append(head(cborTag, 55799), whole(s)...) }),
		malformed("pat-tag", "pat.attestInfo is tagged as encoded CBOR (tag 24)", specPAT, "", "tag",
			inPAT(func(t pat.Token) []byte {
				return object(replaced(patFields(t), "attestInfo", append(head(cborTag, 24), byteString(t.AttestInfo)...))...)
			})),
		malformed("kat-sig-array", "kat.sig is an array of numbers instead of a byte string", specKAT, "", "not a CBOR byte string",
			inKAT(func(t kat.Token) []byte { return object(replaced(katFields(t), "sig", array(t.Sig[:8]))...) })),
		malformed("kat-sig-text", "kat.sig is a text string", specKAT, "", "not a CBOR byte string",
			inKAT(func(t kat.Token) []byte { return object(replaced(katFields(t), "sig", textString("signature"))...) })),
		malformed("kat-no-pubarea", "kat has no pubArea", specKAT, "kat", "need 2 bytes, have 0",
			inKAT(func(t kat.Token) []byte { return object(without(katFields(t), "pubArea")...) })),
		malformed("pat-no-attestinfo", "pat has no attestInfo", specPAT, "pat", "need 4 bytes, have 0",
			inPAT(func(t pat.Token) []byte { return object(without(patFields(t), "attestInfo")...) })),
		{
			name: "bad-evidence-pat-no-tpmver", comment: "pat has no tpmVer", spec: specPAT,
			want: badEvidence(bundle.Version, "pat", `tpmVer is ""`),
			change: func(_ context.Context, s *scene) error {
				s.evidence = object(s.katField(), field{"pat", object(without(patFields(s.pat), "tpmVer")...)})
				return nil
			},
		},
	}
}

// editAttest changes a TPMS_ATTEST.
func editAttest(b []byte, change func(*tpm2.TPMSAttest)) ([]byte, error) {
	a, err := tpm2.Unmarshal[tpm2.TPMSAttest](b)
	if err != nil {
		return nil, err
	}
	change(a)
	return tpm2.Marshal(a), nil
}

// forgeKATFor has the forger certify a public area, whatever is in it.
func (s *scene) forgeKATFor(ctx context.Context, area []byte) error {
	certInfo, err := editAttest(s.kat.CertInfo, func(a *tpm2.TPMSAttest) {
		a.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestCertify, &tpm2.TPMSCertifyInfo{
			Name: tpm2.TPM2BName{Buffer: nameSHA256(area)}, QualifiedName: tpm2.TPM2BName{Buffer: nameSHA256(area)},
		})
	})
	if err != nil {
		return err
	}
	s.kat.PubArea = area
	return s.forgeKAT(ctx, certInfo)
}

// nameSHA256 is the Name of a public area whose nameAlg is SHA-256 (Part 1,
// section 16).
func nameSHA256(area []byte) []byte {
	d := crypto.SHA256.New()
	d.Write(area)
	return d.Sum(binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMAlgSHA256)))
}

// ecdsaWith is the scheme to sign with for a key that has none.
func ecdsaWith(hash tpm2.TPMAlgID) tpm2.TPMTSigScheme {
	return tpm2.TPMTSigScheme{
		Scheme:  tpm2.TPMAlgECDSA,
		Details: tpm2.NewTPMUSigScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSchemeHash{HashAlg: hash}),
	}
}

// rsa1024 makes a template that of a key which is too short.
func rsa1024(p *tpm2.TPMTPublic) error {
	parms, err := p.Parameters.RSADetail()
	if err == nil {
		parms.KeyBits = 1024
	}
	return err
}

// ecdsaHash gives a template's ECDSA scheme another hash.
func ecdsaHash(p *tpm2.TPMTPublic, hash tpm2.TPMAlgID) error {
	parms, err := p.Parameters.ECCDetail()
	if err != nil {
		return err
	}
	parms.Scheme = tpm2.TPMTECCScheme{
		Scheme:  tpm2.TPMAlgECDSA,
		Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: hash}),
	}
	return nil
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/endorsements"
)

// endorsementCases are about CoRIMs that are refused. The evidence with them
// is good: it must not matter.
func endorsementCases() []vectorCase {
	bad := func(name, comment, spec, says string, change func(context.Context, *scene) error) vectorCase {
		return vectorCase{name: "bad-endorsement-" + name, comment: comment, spec: spec, want: badEndorsement(says), change: change}
	}
	// edit changes the first or the second CoRIM: of the keys, of the states.
	edit := func(which int, change func(corim, comid cborObject) error) func(context.Context, *scene) error {
		return func(_ context.Context, s *scene) error {
			corims, err := s.encodeCorims()
			if err != nil {
				return err
			}
			if corims[which], err = editCorim(corims[which], change); err != nil {
				return err
			}
			s.corims = corims
			return nil
		}
	}
	inKeys := func(change func(comid cborObject) error) func(context.Context, *scene) error {
		return edit(0, func(_, comid cborObject) error { return change(comid) })
	}
	inStates := func(change func(comid cborObject) error) func(context.Context, *scene) error {
		return edit(1, func(_, comid cborObject) error { return change(comid) })
	}
	// rewrite changes the bytes of the CoRIM of the keys.
	rewrite := func(change func([]byte) []byte) func(context.Context, *scene) error {
		return func(_ context.Context, s *scene) error {
			corims, err := s.encodeCorims()
			if err == nil {
				corims[0] = change(corims[0])
				s.corims = corims
			}
			return err
		}
	}
	// second provisions a second anchor under the AK's identifier, in a CoRIM
	// of its own.
	second := func(anchor func(*scene, *attester.Key) (endorsements.TrustAnchor, error)) func(context.Context, *scene) error {
		return func(ctx context.Context, s *scene) error {
			other, err := s.lab.ak(ctx, 1, es256())
			if err != nil {
				return err
			}
			a, err := anchor(s, other)
			if err != nil {
				return err
			}
			b, err := encodeCorim(endorsements.Corim{Anchors: []endorsements.TrustAnchor{a}})
			if err != nil {
				return err
			}
			corims, err := s.encodeCorims()
			s.corims = append(corims, b)
			return err
		}
	}
	validity := func(notBefore, notAfter time.Time) func(context.Context, *scene) error {
		return func(_ context.Context, s *scene) error {
			b, err := encodeCorim(endorsements.Corim{
				Anchors: s.anchors, States: s.states, NotBefore: notBefore, NotAfter: notAfter,
			})
			s.corims = [][]byte{b}
			return err
		}
	}
	// replaceKey gives the key triple another PEM.
	replaceKey := func(text func(old string) (string, error)) func(context.Context, *scene) error {
		return inKeys(func(comid cborObject) error {
			keys, err := at[cborList](comid, pathKeyTriple(1)...)
			if err != nil {
				return err
			}
			tag, err := at[cbor.Tag](keys, 0)
			if err != nil {
				return err
			}
			old, err := at[string](tag.Content)
			if err != nil {
				return err
			}
			tag.Content, err = text(old)
			keys[0] = tag
			return err
		})
	}
	measurement := func(comid cborObject) (cborObject, error) {
		return at[cborObject](comid, pathValueTriple(1, 0)...)
	}
	firstDigest := func(comid cborObject) (cborList, error) {
		return at[cborList](comid, pathValueTriple(1, 0, 1, 2, 0)...)
	}
	return []vectorCase{
		bad("second-key-under-kid", "a second CoRIM has another key under the AK's kid", specKeys, "is provisioned with two different keys",
			second(func(s *scene, other *attester.Key) (endorsements.TrustAnchor, error) {
				return endorsements.NewTrustAnchor(s.class, s.ak.KID(), other.PEM())
			})),
		bad("second-class-of-kid", "a second CoRIM has the AK in another class", specKeys, "is provisioned in two classes",
			second(func(s *scene, _ *attester.Key) (endorsements.TrustAnchor, error) {
				class, err := newUUID()
				if err != nil {
					return endorsements.TrustAnchor{}, err
				}
				return endorsements.NewTrustAnchor(class, s.ak.KID(), s.ak.PEM())
			})),
		bad("second-key-in-corim", "one CoRIM has two keys under one kid", specKeys, "is provisioned with two different keys",
			func(ctx context.Context, s *scene) error {
				other, err := s.lab.ak(ctx, 1, es256())
				if err != nil {
					return err
				}
				return inKeys(func(comid cborObject) error {
					triples, err := at[cborList](comid, 4, 3)
					if err != nil {
						return err
					}
					triple, err := at[cborList](triples, 0)
					if err != nil {
						return err
					}
					again := slices.Clone(triple)
					again[1] = cborList{cbor.Tag{Number: 554, Content: other.PEM()}}
					triplesMap, err := at[cborObject](comid, 4)
					if err == nil {
						triplesMap[uint64(3)] = append(triples, again)
					}
					return err
				})(ctx, s)
			}),

		bad("empty", "a CoRIM is empty", specCorim, "no data", rewrite(func([]byte) []byte { return []byte{} })),
		bad("truncated", "a CoRIM lacks its last byte", specTooLittle, "not well-formed CBOR", rewrite(func(b []byte) []byte { return b[:len(b)-1] })),
		bad("trailing", "a byte follows a CoRIM", specLeftOver, "not well-formed CBOR", rewrite(trailed)),
		bad("tagged", "a CoRIM of the older dialect is tagged 501, as in the newer dialect", "draft-ietf-rats-corim-11, 4 (tagged-unsigned-corim-map)",
			"expected a CoMID (tag 506), found a byte string", rewrite(func(b []byte) []byte { return append(head(cborTag, 501), b...) })),
		bad("other-profile", "a CoRIM is of another profile", specCorim, "profile: expected",
			edit(0, func(corim, _ cborObject) error {
				corim[uint64(3)] = "tag:example.com,2026:other"
				return nil
			})),
		bad("no-profile", "a CoRIM has no profile", specCorim, "profile: missing",
			edit(0, func(corim, _ cborObject) error {
				delete(corim, uint64(3))
				return nil
			})),
		bad("unknown-triples", "a CoMID has endorsed values, too, which the profile gives no meaning to", specStates, "endorsed-values: not in the profile",
			inStates(func(comid cborObject) error {
				triples, err := at[cborObject](comid, 4)
				if err == nil {
					triples[uint64(1)] = triples[uint64(0)]
				}
				return err
			})),
		bad("expired", "a CoRIM has expired", specValidity, "the CoRIM has expired",
			validity(time.Time{}, time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC))),
		bad("not-yet-valid", "a CoRIM is not valid before the year 9999", specValidity, "the CoRIM is not valid yet",
			validity(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))),

		bad("key-two", "a key triple has two keys", specKeys, "exactly one key",
			inKeys(func(comid cborObject) error {
				triple, err := at[cborList](comid, pathKeyTriple()...)
				if err != nil {
					return err
				}
				keys, err := at[cborList](triple, 1)
				if err == nil {
					triple[1] = append(keys, keys[0])
				}
				return err
			})),
		bad("key-not-pem", "the key is the base64 of its DER without PEM's lines around it", specKey, "expected one PEM block PUBLIC KEY",
			replaceKey(func(old string) (string, error) {
				lines := strings.Split(strings.TrimSpace(old), "\n")
				return strings.Join(lines[1:len(lines)-1], ""), nil
			})),
		bad("key-private", "the PEM block says that it is a private key", specKey, `found a block "PRIVATE KEY"`,
			replaceKey(func(old string) (string, error) { return strings.ReplaceAll(old, "PUBLIC KEY", "PRIVATE KEY"), nil })),
		bad("key-p224", "the key is on P-224", specKey, "expected an ECDSA key on P-256, P-384 or P-521",
			replaceKey(func(string) (string, error) { return p224PEM() })),
		bad("key-rsa-1024", "the key is of RSA with 1024 bits", specKey, "expected an RSA key of 2048 to 4096 bits",
			func(ctx context.Context, s *scene) error {
				rsa := attester.KeyAlg{Scheme: attester.RSASSA, Bits: 2048, Hash: crypto.SHA256}
				k, err := s.createKey(ctx, rsa, rsa1024)
				if err != nil {
					return err
				}
				return replaceKey(func(string) (string, error) { return k.PEM(), nil })(ctx, s)
			}),
		bad("kid-not-ueid", "the instance is not a UEID: its type byte is zero", specUEID, "expected a UEID",
			inKeys(func(comid cborObject) error {
				env, err := at[cborObject](comid, pathKeyTriple(0)...)
				if err != nil {
					return err
				}
				instance, err := at[cbor.Tag](env, 1)
				if err != nil {
					return err
				}
				kid, err := at[[]byte](instance.Content)
				instance.Content = with(kid, 0, 0)
				env[uint64(1)] = instance
				return err
			})),
		bad("key-no-instance", "the key's environment has no instance", specEnv, "environment.instance: missing",
			inKeys(func(comid cborObject) error {
				env, err := at[cborObject](comid, pathKeyTriple(0)...)
				delete(env, uint64(1))
				return err
			})),
		bad("key-no-class", "the key's environment has no class", specEnv, "environment.class: missing",
			inKeys(func(comid cborObject) error {
				env, err := at[cborObject](comid, pathKeyTriple(0)...)
				delete(env, uint64(0))
				return err
			})),

		bad("state-pcr-32", "a reference value is of PCR 32", specStates, "expected the index of a PCR",
			inStates(func(comid cborObject) error {
				m, err := measurement(comid)
				if err == nil {
					m[uint64(0)] = 32
				}
				return err
			})),
		bad("state-pcr-twice", "a reference state has a PCR twice: the values of two versions", specStates, "occurs twice in one state",
			inStates(func(comid cborObject) error {
				triple, err := at[cborList](comid, pathValueTriple()...)
				if err != nil {
					return err
				}
				list, err := at[cborList](triple, 1)
				if err == nil {
					triple[1] = append(list, list[0])
				}
				return err
			})),
		bad("state-digest-length", "a digest lacks its last byte", specDigest, "expected the 32 bytes of sha256",
			inStates(func(comid cborObject) error {
				d, err := firstDigest(comid)
				if err != nil {
					return err
				}
				value, err := at[[]byte](d, 1)
				if err == nil {
					d[1] = value[:len(value)-1]
				}
				return err
			})),
		bad("state-digest-sha1", "a digest is of SHA-1 (-14 in the COSE registry)", specDigest, "SHA-1",
			inStates(func(comid cborObject) error {
				d, err := firstDigest(comid)
				if err != nil {
					return err
				}
				value, err := at[[]byte](d, 1)
				if err == nil {
					d[0], d[1] = -14, value[:20]
				}
				return err
			})),
		bad("state-no-digest", "a measurement has a serial number instead of digests", specStates, "serial-number: not in the profile",
			inStates(func(comid cborObject) error {
				m, err := measurement(comid)
				if err == nil {
					m[uint64(1)] = cborObject{8: "C02X70VHJHD5"}
				}
				return err
			})),
		bad("state-of-instance", "a reference value is for one instance instead of a class", specEnv, "environment.instance: not in the profile",
			func(ctx context.Context, s *scene) error {
				return inStates(func(comid cborObject) error {
					env, err := at[cborObject](comid, pathValueTriple(0)...)
					if err == nil {
						env[uint64(1)] = cbor.Tag{Number: 550, Content: s.ak.KID()}
					}
					return err
				})(ctx, s)
			}),
	}
}

// p224PEM is a key on P-224 that nobody uses.
func p224PEM() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := spki(key.Public())
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"crypto"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// BenchmarkTPM times the operations, and beside them the two commands that an
// attestation cannot do without.
func BenchmarkTPM(b *testing.B) {
	for _, tpm := range []struct {
		name string
		open func(testing.TB) *attester.TPM
	}{
		{"simulator", tpmtest.Simulator},
		{"swtpm", tpmtest.SWTPM},
	} {
		b.Run(tpm.name, func(b *testing.B) { benchmark(b, tpm.open(b)) })
	}
}

func benchmark(b *testing.B, tpm *attester.TPM) {
	ctx := b.Context()
	sel, err := attester.ParseSelection("sha256:0,1,2,3,4,5,6,7")
	check(b, err)
	for _, alg := range []attester.KeyAlg{p256, {Scheme: attester.RSASSA, Bits: 2048, Hash: crypto.SHA256}} {
		b.Run(alg.String(), func(b *testing.B) {
			ak, err := tpm.CreateAK(ctx, alg)
			check(b, err)
			tik, err := tpm.CreateTIK(ctx, p256)
			check(b, err)
			b.Run("CreateAK", func(b *testing.B) {
				for b.Loop() {
					_, err := tpm.CreateAK(ctx, alg)
					check(b, err)
				}
			})
			b.Run("LoadKey", func(b *testing.B) {
				for b.Loop() {
					_, err := tpm.LoadKey(ctx, nil, ak.Key().PubArea(), ak.Key().PrivateBlob())
					check(b, err)
				}
			})
			b.Run("Certify", func(b *testing.B) {
				for b.Loop() {
					_, err := tpm.Certify(ctx, ak.Key(), tik.Key(), nonce)
					check(b, err)
				}
			})
			b.Run("Quote", func(b *testing.B) {
				for b.Loop() {
					_, err := tpm.Quote(ctx, ak.Key(), sel, nonce)
					check(b, err)
				}
			})
			b.Run("Attest", func(b *testing.B) {
				cfg := attester.AttestConfig{AK: ak, TIK: tik, Selection: sel}
				for b.Loop() {
					_, err := tpm.Attest(ctx, cfg, nonce)
					check(b, err)
				}
			})
			b.Run("bare Certify and Quote", func(b *testing.B) {
				check(b, tpm.Do(ctx, func(raw transport.TPM, keys []tpm2.AuthHandle) error {
					for b.Loop() {
						if _, err := (tpm2.Certify{
							ObjectHandle: keys[1], SignHandle: keys[0], QualifyingData: tpm2.TPM2BData{Buffer: nonce},
						}).Execute(raw); err != nil {
							return err
						}
						if _, err := (tpm2.Quote{
							SignHandle: keys[0], QualifyingData: tpm2.TPM2BData{Buffer: nonce},
							PCRSelect: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{0xff, 0, 0}}}},
						}).Execute(raw); err != nil {
							return err
						}
					}
					return nil
				}, ak.Key(), tik.Key()))
			})
		})
	}
	b.Run("ReadPCRs 24", func(b *testing.B) {
		all, err := attester.ParseSelection("sha256:all")
		check(b, err)
		for b.Loop() {
			_, err := tpm.ReadPCRs(ctx, all)
			check(b, err)
		}
	})
	b.Run("StorageRootKey", func(b *testing.B) {
		template := tpm2.ECCSRKTemplate
		check(b, tpm.Do(ctx, func(raw transport.TPM, _ []tpm2.AuthHandle) error {
			for b.Loop() {
				rsp, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(template)}.Execute(raw)
				if err != nil {
					return err
				}
				if _, err := (tpm2.FlushContext{FlushHandle: rsp.ObjectHandle}).Execute(raw); err != nil {
					return err
				}
			}
			return nil
		}))
	})
}

func check(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}

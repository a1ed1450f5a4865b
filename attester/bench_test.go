// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"crypto"
	"slices"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// BenchmarkTPM times the operations but [attester.TPM.Attest].
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

// BenchmarkAttest is an attestation beside the two commands that it cannot do
// without, in turns, so that both see the same machine: as go-tpm makes them, and
// as bytes made beforehand whose answers nobody reads. "ratio" and
// "ratio-to-bytes" are its median time over theirs.
func BenchmarkAttest(b *testing.B) {
	for _, tpm := range []struct {
		name string
		open func(testing.TB) *attester.TPM
	}{
		{"simulator", tpmtest.Simulator},
		{"swtpm", tpmtest.SWTPM},
	} {
		b.Run(tpm.name, func(b *testing.B) {
			tpm := tpm.open(b)
			for _, alg := range []attester.KeyAlg{p256, {Scheme: attester.RSASSA, Bits: 2048, Hash: crypto.SHA256}} {
				b.Run(alg.String(), func(b *testing.B) { benchmarkAttest(b, tpm, alg) })
			}
		})
	}
}

func benchmarkAttest(b *testing.B, tpm *attester.TPM, alg attester.KeyAlg) {
	ctx := b.Context()
	ak, err := tpm.CreateAK(ctx, alg)
	check(b, err)
	tik, err := tpm.CreateTIK(ctx, p256)
	check(b, err)
	sel, err := attester.ParseSelection("sha256:0,1,2,3,4,5,6,7")
	check(b, err)
	cfg := attester.AttestConfig{AK: ak, TIK: tik, Selection: sel}
	const turn = 20
	var ours, bare, bytes []time.Duration
	timed := func(list *[]time.Duration, f func() error) error {
		for range turn {
			begin := time.Now()
			if err := f(); err != nil {
				return err
			}
			*list = append(*list, time.Since(begin))
		}
		return nil
	}
	attest := func() error {
		_, err := tpm.Attest(ctx, cfg, nonce)
		return err
	}
	for b.Loop() {
		check(b, attest()) // loads the keys, which Do flushed
		check(b, timed(&ours, attest))
		check(b, tpm.Do(ctx, func(raw transport.TPM, keys []tpm2.AuthHandle) error {
			if err := timed(&bare, func() error { return bareCommands(raw, keys) }); err != nil {
				return err
			}
			r := &recorder{TPM: raw}
			if err := bareCommands(r, keys); err != nil {
				return err
			}
			return timed(&bytes, func() error {
				for _, command := range r.commands {
					if _, err := raw.Send(command); err != nil {
						return err
					}
				}
				return nil
			})
		}, ak.Key(), tik.Key()))
	}
	b.ReportMetric(0, "ns/op") // of both together: says nothing
	o, c, w := median(ours), median(bare), median(bytes)
	b.ReportMetric(float64(o.Nanoseconds()), "ns/attestation")
	b.ReportMetric(float64(c.Nanoseconds()), "ns/bare-commands")
	b.ReportMetric(float64(w.Nanoseconds()), "ns/bare-bytes")
	b.ReportMetric(float64(o)/float64(c), "ratio")
	b.ReportMetric(float64(o)/float64(w), "ratio-to-bytes")
	b.ReportMetric(1/o.Seconds(), "attestations/s")
}

// recorder keeps the commands that pass.
type recorder struct {
	transport.TPM
	commands [][]byte
}

func (r *recorder) Send(command []byte) ([]byte, error) {
	r.commands = append(r.commands, slices.Clone(command))
	return r.TPM.Send(command)
}

// median, not the mean: what else runs on the machine shall not decide.
func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// bareCommands are TPM2_Certify and TPM2_Quote with go-tpm alone.
func bareCommands(raw transport.TPM, keys []tpm2.AuthHandle) error {
	if _, err := (tpm2.Certify{
		ObjectHandle: keys[1], SignHandle: keys[0], QualifyingData: tpm2.TPM2BData{Buffer: nonce},
	}).Execute(raw); err != nil {
		return err
	}
	_, err := tpm2.Quote{
		SignHandle: keys[0], QualifyingData: tpm2.TPM2BData{Buffer: nonce},
		PCRSelect: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{0xff, 0, 0}}}},
	}.Execute(raw)
	return err
}

func check(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}

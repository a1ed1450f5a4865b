// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/tpmtest"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

// lab is a TPM with PCRs that were used and keys that the cases share.
type lab struct {
	tpm    *attester.TPM
	class  string
	keys   map[string]*attester.Key // by purpose and algorithm
	forger *tpmtest.UnrestrictedKey
}

// measured are the PCRs that are extended once at the start, as firmware does,
// so that they differ from each other and from a new TPM's.
const measured = 10

func openLab(ctx context.Context) (*lab, error) {
	sim, err := simulator.Open()
	if err != nil {
		return nil, err
	}
	l := &lab{tpm: attester.New(sim), keys: make(map[string]*attester.Key)}
	if err := l.prepare(ctx); err != nil {
		return nil, errors.Join(err, l.tpm.Close())
	}
	return l, nil
}

func (l *lab) prepare(ctx context.Context) (err error) {
	if l.class, err = newUUID(); err != nil {
		return err
	}
	for pcr := range measured {
		for _, bank := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			if err := l.extend(ctx, bank, pcr); err != nil {
				return err
			}
		}
	}
	l.forger, err = tpmtest.NewUnrestrictedKey(ctx, l.tpm, es256())
	return err
}

// extend changes a PCR.
func (l *lab) extend(ctx context.Context, bank crypto.Hash, pcr int) error {
	digest, err := random(bank.Size())
	if err != nil {
		return err
	}
	return tpmtest.ExtendPCR(ctx, l.tpm, bank, pcr, digest)
}

// es256 is the algorithm of keys where it does not matter.
func es256() attester.KeyAlg {
	return attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256}
}

// ak returns an attestation key, the same for the same number and algorithm.
func (l *lab) ak(ctx context.Context, number int, alg attester.KeyAlg) (*attester.Key, error) {
	return l.key(fmt.Sprint("ak ", number, alg), func() (*attester.Key, error) {
		ak, err := l.tpm.CreateAK(ctx, alg)
		return ak.Key(), err
	})
}

// tik returns an identity key, the same for the same number and algorithm.
func (l *lab) tik(ctx context.Context, number int, alg attester.KeyAlg) (*attester.Key, error) {
	return l.key(fmt.Sprint("tik ", number, alg), func() (*attester.Key, error) {
		tik, err := l.tpm.CreateTIK(ctx, alg)
		return tik.Key(), err
	})
}

func (l *lab) key(name string, create func() (*attester.Key, error)) (*attester.Key, error) {
	if k, ok := l.keys[name]; ok {
		return k, nil
	}
	k, err := create()
	if err != nil {
		return nil, err
	}
	l.keys[name] = k
	return k, nil
}

// supported returns the key algorithms that the TPM has.
func (l *lab) supported(ctx context.Context) ([]attester.KeyAlg, error) {
	var algs []attester.KeyAlg
	for _, alg := range tpmtest.KeyAlgs() {
		_, err := l.tik(ctx, 0, alg)
		if errors.Is(err, attester.ErrUnsupportedAlgorithm) {
			continue
		}
		if err != nil {
			return nil, err
		}
		algs = append(algs, alg)
	}
	return algs, nil
}

// state is the reference state that the platform is in now.
func (l *lab) state(ctx context.Context, sel attester.Selection) (endorsements.ReferenceState, error) {
	read, err := l.tpm.ReadPCRs(ctx, sel)
	if err != nil {
		return endorsements.ReferenceState{}, err
	}
	var values []endorsements.PCRValue
	for bank, pcrs := range read {
		for index, digest := range pcrs {
			values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: index}, Digest: digest})
		}
	}
	return endorsements.NewReferenceState(l.class, values)
}

// anchor provisions a key under its own identifier.
func (l *lab) anchor(k *attester.Key) (endorsements.TrustAnchor, error) {
	return endorsements.NewTrustAnchor(l.class, k.KID(), k.PEM())
}

// certify is TPM2_Certify without the attester's checks. A scheme is for keys
// that have none of their own.
func (l *lab) certify(ctx context.Context, signer, subject *attester.Key, scheme tpm2.TPMTSigScheme, nonce []byte) (kat.Token, error) {
	t := kat.Token{TPMVer: tpmVersion, KID: signer.KID(), PubArea: subject.PubArea()}
	err := l.tpm.Do(ctx, func(tpm transport.TPM, keys []tpm2.AuthHandle) error {
		rsp, err := tpm2.Certify{
			ObjectHandle: keys[1], SignHandle: keys[0], QualifyingData: tpm2.TPM2BData{Buffer: nonce}, InScheme: scheme,
		}.Execute(tpm)
		if err != nil {
			return fmt.Errorf("TPM2_Certify: %w", err)
		}
		t.Sig, t.CertInfo = tpm2.Marshal(rsp.Signature), rsp.CertifyInfo.Bytes()
		return nil
	}, signer, subject)
	return t, err
}

// certifyPrimary makes a key that package attester does not take, and
// certifies it.
func (l *lab) certifyPrimary(ctx context.Context, signer *attester.Key, template tpm2.TPMTPublic, nonce []byte) (kat.Token, error) {
	t := kat.Token{TPMVer: tpmVersion, KID: signer.KID()}
	err := l.tpm.Do(ctx, func(tpm transport.TPM, keys []tpm2.AuthHandle) error {
		made, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(template)}.Execute(tpm)
		if err != nil {
			return fmt.Errorf("TPM2_CreatePrimary: %w", err)
		}
		rsp, err := tpm2.Certify{
			ObjectHandle:   tpm2.AuthHandle{Handle: made.ObjectHandle, Name: made.Name, Auth: tpm2.PasswordAuth(nil)},
			SignHandle:     keys[0],
			QualifyingData: tpm2.TPM2BData{Buffer: nonce},
		}.Execute(tpm)
		if err != nil {
			return fmt.Errorf("TPM2_Certify: %w", err)
		}
		t.PubArea = made.OutPublic.Bytes()
		t.Sig, t.CertInfo = tpm2.Marshal(rsp.Signature), rsp.CertifyInfo.Bytes()
		return nil
	}, signer)
	return t, err
}

// quote is TPM2_Quote without the attester's checks.
func (l *lab) quote(ctx context.Context, signer *attester.Key, sel []tpm2.TPMSPCRSelection, scheme tpm2.TPMTSigScheme, nonce []byte) (pat.Token, error) {
	t := pat.Token{TPMVer: tpmVersion, KID: signer.KID()}
	err := l.tpm.Do(ctx, func(tpm transport.TPM, keys []tpm2.AuthHandle) error {
		rsp, err := tpm2.Quote{
			SignHandle: keys[0], QualifyingData: tpm2.TPM2BData{Buffer: nonce}, InScheme: scheme,
			PCRSelect: tpm2.TPMLPCRSelection{PCRSelections: sel},
		}.Execute(tpm)
		if err != nil {
			return fmt.Errorf("TPM2_Quote: %w", err)
		}
		t.Sig, t.AttestInfo = tpm2.Marshal(rsp.Signature), rsp.Quoted.Bytes()
		return nil
	}, signer)
	return t, err
}

const tpmVersion = "2.0"

// bank selects PCRs of a bank, of which there are 24.
func bank(alg tpm2.TPMAlgID, pcrs ...int) tpm2.TPMSPCRSelection {
	mask := make([]byte, 3)
	for _, i := range pcrs {
		mask[i/8] |= 1 << (i % 8)
	}
	return tpm2.TPMSPCRSelection{Hash: alg, PCRSelect: mask}
}

func random(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := rand.Read(b)
	return b, err
}

// newUUID makes a UUID of version 4 (RFC 9562, section 5.4).
func newUUID() (string, error) {
	b, err := random(16)
	if err != nil {
		return "", err
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

func spki(k crypto.PublicKey) ([]byte, error) { return x509.MarshalPKIXPublicKey(k) }

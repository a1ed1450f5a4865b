// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/internal/tpmtest"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

// device is a platform with a TPM, and what its owner endorses.
type device struct {
	tpm *attester.TPM
	ak  *attester.Key
	tik *attester.Key
	sel attester.Selection

	anchor endorsements.TrustAnchor
	states []endorsements.ReferenceState

	// forger is the AK where that is a key which signs anything, and alg its
	// algorithm. Else it is nil.
	forger *tpmtest.UnrestrictedKey
	alg    attester.KeyAlg
}

const usualPCRs = "sha256:0,1,2,3,4,5,6,7"

var (
	ecdsa256 = attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256}
	ecdsa384 = attester.KeyAlg{Scheme: attester.ECDSA, Bits: 384, Hash: crypto.SHA384}
)

// newClass is the UUID of a class that no other test has.
func newClass(t testing.TB) string {
	t.Helper()
	var b [16]byte
	_, err := rand.Read(b[:])
	require.NoError(t, err)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // RFC 9562, section 5.4
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// newDevice is a device of a class of its own, in the state that it is in.
func newDevice(t testing.TB, tpm *attester.TPM, akAlg, tikAlg attester.KeyAlg, selection string) *device {
	t.Helper()
	ak, err := tpm.CreateAK(t.Context(), akAlg)
	require.NoError(t, err)
	d := newDeviceWithAK(t, tpm, ak.Key(), tikAlg, selection)
	d.alg = akAlg
	return d
}

// newForger is a device whose AK signs whatever it is given. Its evidence is
// right, and no TPM made it: forge gives it a defect.
func newForger(t testing.TB, tpm *attester.TPM, alg attester.KeyAlg) *device {
	t.Helper()
	ak, err := tpmtest.NewUnrestrictedKey(t.Context(), tpm, alg)
	require.NoError(t, err)
	d := newDeviceWithAK(t, tpm, ak.Key, ecdsa256, usualPCRs)
	d.forger, d.alg = ak, alg
	return d
}

func newDeviceWithAK(t testing.TB, tpm *attester.TPM, ak *attester.Key, tikAlg attester.KeyAlg, selection string) *device {
	t.Helper()
	tik, err := tpm.CreateTIK(t.Context(), tikAlg)
	require.NoError(t, err)
	d := &device{tpm: tpm, ak: ak, tik: tik.Key()}
	d.sel, err = attester.ParseSelection(selection)
	require.NoError(t, err)
	class := newClass(t)
	d.anchor, err = endorsements.NewTrustAnchor(class, ak.KID(), ak.PEM())
	require.NoError(t, err)
	d.states = []endorsements.ReferenceState{d.state(t, class, selection, nil)}
	return d
}

// values are those of the PCRs now.
func (d *device) values(t testing.TB, selection string) []endorsements.PCRValue {
	t.Helper()
	sel, err := attester.ParseSelection(selection)
	require.NoError(t, err)
	banks, err := d.tpm.ReadPCRs(t.Context(), sel)
	require.NoError(t, err)
	var values []endorsements.PCRValue
	for bank, digests := range banks {
		for index, digest := range digests {
			values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: index}, Digest: digest})
		}
	}
	return values
}

// state is a reference state with the PCRs' values of now, other than change
// makes them.
func (d *device) state(t testing.TB, class, selection string, change func(*endorsements.PCRValue)) endorsements.ReferenceState {
	t.Helper()
	values := d.values(t, selection)
	for i := range values {
		if change != nil {
			change(&values[i])
		}
	}
	s, err := endorsements.NewReferenceState(class, values)
	require.NoError(t, err)
	return s
}

// corim is what the owner provisions.
func (d *device) corim(t testing.TB) []byte {
	t.Helper()
	return encode(t, &endorsements.Corim{Anchors: []endorsements.TrustAnchor{d.anchor}, States: d.states})
}

func encode(t testing.TB, c *endorsements.Corim) []byte {
	t.Helper()
	if c.ID == "" {
		c.ID = "attested-tls integration test"
	}
	data, err := c.Encode(endorsements.DialectV1)
	require.NoError(t, err)
	return data
}

func (d *device) provision(t testing.TB, dep *deployment.Deployment) {
	t.Helper()
	require.NoError(t, dep.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, d.corim(t)))
}

// tokens are right, and but for a forger's the TPM's own.
func (d *device) tokens(t testing.TB, nonce []byte) (kat.Token, pat.Token) {
	t.Helper()
	if d.forger != nil {
		return d.forge(t, nonce, forgery{})
	}
	k, err := d.tpm.Certify(t.Context(), d.ak, d.tik, nonce)
	require.NoError(t, err)
	p, err := d.tpm.Quote(t.Context(), d.ak, d.sel, nonce)
	require.NoError(t, err)
	return k, p
}

// evidence is right.
func (d *device) evidence(t testing.TB, nonce []byte) []byte {
	t.Helper()
	return bundled(t)(d.tokens(t, nonce))
}

func bundled(t testing.TB) func(kat.Token, pat.Token) []byte {
	return func(k kat.Token, p pat.Token) []byte {
		t.Helper()
		data, err := bundle.Encode(k, p)
		require.NoError(t, err)
		return data
	}
}

// forgery says what is wrong in what a forger signs; a nil hook changes
// nothing.
type forgery struct {
	certify, quote       func(*tpm2.TPMSAttest)
	certInfo, attestInfo func([]byte) []byte // of the marshalled structure
	pubArea              func([]byte) []byte // before it is certified
	sign                 func(message []byte) []byte
}

// forge makes the tokens of a forger.
func (d *device) forge(t testing.TB, nonce []byte, f forgery) (kat.Token, pat.Token) {
	t.Helper()
	sign := f.sign
	if sign == nil {
		sign = func(message []byte) []byte {
			sig, err := d.forger.Sign(t.Context(), message)
			require.NoError(t, err)
			return sig
		}
	}
	marshal := func(a tpm2.TPMSAttest, change func(*tpm2.TPMSAttest), changeBytes func([]byte) []byte) []byte {
		if change != nil {
			change(&a)
		}
		b := tpm2.Marshal(a)
		if changeBytes != nil {
			b = changeBytes(b)
		}
		return b
	}

	k := kat.Token{TPMVer: "2.0", KID: d.ak.KID(), PubArea: d.tik.PubArea()}
	if f.pubArea != nil {
		k.PubArea = f.pubArea(k.PubArea)
	}
	certify, err := tpmtest.CertifyInfo(k.PubArea, nonce)
	require.NoError(t, err)
	k.CertInfo = marshal(certify, f.certify, f.certInfo)
	k.Sig = sign(k.CertInfo)

	banks, err := d.tpm.ReadPCRs(t.Context(), d.sel)
	require.NoError(t, err)
	quote := tpmtest.QuoteInfo(tpmSelection(t, d.sel), tpmtest.PCRDigest(d.alg.Hash, d.sel, banks), nonce)
	p := pat.Token{TPMVer: "2.0", KID: d.ak.KID()}
	p.AttestInfo = marshal(quote, f.quote, f.attestInfo)
	p.Sig = sign(p.AttestInfo)
	return k, p
}

// tpmSelection is a selection as the TPM knows it; 24 PCRs have three octets.
func tpmSelection(t testing.TB, sel attester.Selection) []tpm2.TPMSPCRSelection {
	t.Helper()
	var list []tpm2.TPMSPCRSelection
	for _, b := range sel {
		alg, err := tpmtest.HashAlg(b.Bank)
		require.NoError(t, err)
		list = append(list, bankSelection(alg, b.PCRs...))
	}
	return list
}

func bankSelection(alg tpm2.TPMAlgID, pcrs ...int) tpm2.TPMSPCRSelection {
	mask := make([]byte, 3)
	for _, i := range pcrs {
		mask[i/8] |= 1 << (i % 8)
	}
	return tpm2.TPMSPCRSelection{Hash: alg, PCRSelect: mask}
}

// quote has the TPM quote any selection; package attester refuses strange ones.
func (d *device) quote(t testing.TB, nonce []byte, sel ...tpm2.TPMSPCRSelection) pat.Token {
	t.Helper()
	p := pat.Token{TPMVer: "2.0", KID: d.ak.KID()}
	err := d.tpm.Do(t.Context(), func(tpm transport.TPM, keys []tpm2.AuthHandle) error {
		rsp, err := tpm2.Quote{
			SignHandle:     keys[0],
			QualifyingData: tpm2.TPM2BData{Buffer: nonce},
			PCRSelect:      tpm2.TPMLPCRSelection{PCRSelections: sel},
		}.Execute(tpm)
		if err != nil {
			return fmt.Errorf("TPM2_Quote: %w", err)
		}
		p.Sig = tpm2.Marshal(rsp.Signature)
		p.AttestInfo = rsp.Quoted.Bytes()
		return nil
	}, d.ak)
	require.NoError(t, err)
	return p
}

// newSchemeless is a forger whose AK has no scheme, so that it signs with any
// hash: see signWith.
func newSchemeless(t testing.TB, tpm *attester.TPM) *device {
	t.Helper()
	template, err := ecdsa256.Template()
	require.NoError(t, err)
	parameters, err := template.Parameters.ECCDetail()
	require.NoError(t, err)
	parameters.Scheme = tpm2.TPMTECCScheme{}
	ak, err := tpm.CreateKey(t.Context(), nil, template)
	require.NoError(t, err)
	d := newDeviceWithAK(t, tpm, ak, ecdsa256, usualPCRs)
	d.alg = ecdsa256
	return d
}

// signWith signs with a hash of the caller's choice, for newSchemeless.
func (d *device) signWith(t testing.TB, hash crypto.Hash, message []byte) []byte {
	t.Helper()
	alg, err := tpmtest.HashAlg(hash)
	require.NoError(t, err)
	h := hash.New()
	h.Write(message)
	var sig []byte
	err = d.tpm.Do(t.Context(), func(tpm transport.TPM, keys []tpm2.AuthHandle) error {
		rsp, err := tpm2.Sign{
			KeyHandle: keys[0],
			Digest:    tpm2.TPM2BDigest{Buffer: h.Sum(nil)},
			InScheme: tpm2.TPMTSigScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUSigScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSchemeHash{HashAlg: alg}),
			},
			Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck},
		}.Execute(tpm)
		if err != nil {
			return fmt.Errorf("TPM2_Sign: %w", err)
		}
		sig = tpm2.Marshal(rsp.Signature)
		return nil
	}, d.ak)
	require.NoError(t, err)
	return sig
}

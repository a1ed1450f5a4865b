// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/apihttp"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
	"github.com/veraison/attested-tls/rp"
)

// Veraison's provisioning service cannot be asked what it has. Its verification
// service tells evidence by an unknown key from evidence that is badly signed:
// so it is shown evidence that names the key identifier and is signed by a key
// that nobody has endorsed.

// anchorProbe asks a verification service whether it has trust anchors.
type anchorProbe struct {
	verifier *rp.Veraison
	// has tells whether the verifier has a trust anchor for a key identifier.
	has func(context.Context, reportAnchor) (bool, error)
}

// anchorProbe makes one for --verifier; nil without.
func (a *app) anchorProbe(f *provisionFlags) (*anchorProbe, error) {
	if f.verifier.url == "" {
		return nil, nil
	}
	v := f.verifier
	// The password is for the provisioning service.
	v.insecureHTTP, v.caCert = f.service.insecureHTTP, f.service.caCert
	client, err := a.client(&v)
	if err != nil {
		return nil, err
	}
	return &anchorProbe{verifier: client, has: func(ctx context.Context, anchor reportAnchor) (bool, error) {
		return verifierHas(ctx, client, anchor)
	}}, nil
}

func (p *anchorProbe) close() {
	if p != nil {
		_ = p.verifier.Close() // sessions that are not deleted expire
	}
}

// settleTime is how long a verifier gets to finish what a run that was killed
// has sent.
const settleTime = 5 * time.Second

// anchorsFound is what a probe found.
type anchorsFound int

const (
	anchorsAbsent anchorsFound = iota + 1
	anchorsPresent
)

// settle finds out whether a file in doubt is at the verifier. An error says why
// that cannot be told.
func (p *anchorProbe) settle(ctx context.Context, r *report, i *provisionItem) (anchorsFound, error) {
	ask := r.tellingAnchors(i)
	if len(ask) == 0 {
		return 0, errors.New("it has no trust anchor of its own that the verifier could be asked about")
	}
	if err := apihttp.Sleep(ctx, time.Until(i.since.Add(settleTime))); err != nil {
		return 0, err
	}
	there := 0
	for _, anchor := range ask {
		yes, err := p.has(ctx, anchor)
		if err != nil {
			return 0, fmt.Errorf("asking the verifier about the key identifier %s: %w", anchor.KID, err)
		}
		if yes {
			there++
		}
	}
	switch {
	case there == 0:
		return anchorsAbsent, nil
	case there < len(ask):
		return 0, fmt.Errorf("the verifier has %d of its %d trust anchors", there, len(ask))
	case i.stateful && i.dialect == endorsements.DialectV1:
		// Until v0.0.2602 a CoRIM is stored piece by piece, anchors first.
		return 0, errors.New("the verifier has its trust anchors, and cannot be asked about its reference states")
	}
	return anchorsPresent, nil
}

// tellingAnchors are the trust anchors of the item that no other content in the
// report has brought there.
func (r *report) tellingAnchors(i *provisionItem) []reportAnchor {
	elsewhere := map[string]bool{}
	if r != nil {
		for key, k := range r.past {
			if key == i.key() || !k.there() && !k.inDoubt() {
				continue
			}
			for _, anchor := range k.anchors {
				elsewhere[anchor.KID] = true
			}
		}
	}
	var own []reportAnchor
	for _, anchor := range i.anchors {
		if !elsewhere[anchor.KID] {
			own = append(own, anchor)
		}
	}
	return own
}

// verifierHas shows a verifier evidence that names the key identifier.
func verifierHas(ctx context.Context, v rp.Verifier, anchor reportAnchor) (bool, error) {
	kid, err := hex.DecodeString(anchor.KID)
	if err != nil {
		return false, err
	}
	session, err := v.NewSession(ctx, nil)
	if err != nil {
		return false, err
	}
	defer session.Close() // an unused one expires
	evidence, err := unsoundEvidence(kid, session.Nonce())
	if err != nil {
		return false, err
	}
	result, err := session.Appraise(ctx, rp.Evidence{MediaType: bundle.MediaType, Data: evidence})
	if err != nil {
		return false, err
	}
	for _, submod := range result.Submods {
		switch submod.Problem() {
		// vts/trustedservices/trustedservices_grpc.go, v0.0.2501 and later.
		case "no trust anchor for evidence":
			return false, nil
		case "integrity validation failed":
			return true, nil
		}
	}
	return false, errors.New("its answer does not tell")
}

// unsoundEvidence is well formed and fresh, and signed by a key of the moment.
func unsoundEvidence(kid, nonce []byte) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	pubArea := tpm2.Marshal(tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgECC,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, SignEncrypt: true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
			Scheme: tpm2.TPMTECCScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			CurveID: tpm2.TPMECCNistP256,
			KDF:     tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1:33]},
			Y: tpm2.TPM2BECCParameter{Buffer: point[33:65]},
		}),
	})
	digest := sha256.Sum256(pubArea)
	name := tpm2.TPM2BName{Buffer: append([]byte{0x00, 0x0b}, digest[:]...)} // TPM_ALG_SHA256
	certInfo := attestation(nonce, tpm2.TPMSTAttestCertify,
		tpm2.NewTPMUAttest(tpm2.TPMSTAttestCertify, &tpm2.TPMSCertifyInfo{Name: name, QualifiedName: name}))
	quote := attestation(nonce, tpm2.TPMSTAttestQuote,
		tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
			PCRSelect: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{1, 0, 0}}}},
			PCRDigest: tpm2.TPM2BDigest{Buffer: make([]byte, sha256.Size)},
		}))
	certSig, err := sign(key, certInfo)
	if err != nil {
		return nil, err
	}
	quoteSig, err := sign(key, quote)
	if err != nil {
		return nil, err
	}
	const version = "2.0"
	return bundle.Encode(
		kat.Token{TPMVer: version, KID: kid, Sig: certSig, CertInfo: certInfo, PubArea: pubArea},
		pat.Token{TPMVer: version, KID: kid, Sig: quoteSig, AttestInfo: quote})
}

// attestation is a TPMS_ATTEST.
func attestation(nonce []byte, typ tpm2.TPMST, attested tpm2.TPMUAttest) []byte {
	return tpm2.Marshal(tpm2.TPMSAttest{
		Magic:           tpm2.TPMGeneratedValue,
		Type:            typ,
		QualifiedSigner: tpm2.TPM2BName{Buffer: append([]byte{0x00, 0x0b}, make([]byte, sha256.Size)...)},
		ExtraData:       tpm2.TPM2BData{Buffer: nonce},
		Attested:        attested,
	})
}

// sign makes a TPMT_SIGNATURE.
func sign(key *ecdsa.PrivateKey, message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	return tpm2.Marshal(tpm2.TPMTSignature{
		SigAlg: tpm2.TPMAlgECDSA,
		Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
			Hash:       tpm2.TPMAlgSHA256,
			SignatureR: tpm2.TPM2BECCParameter{Buffer: r.FillBytes(make([]byte, 32))},
			SignatureS: tpm2.TPM2BECCParameter{Buffer: s.FillBytes(make([]byte, 32))},
		}),
	}), nil
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/internal/tpmwire"
)

// signLimit bounds a signature that is waited for without a context: a
// handshake that takes longer has failed.
const signLimit = 30 * time.Second

// errSalt says that the TPM's RSA-PSS is not TLS's.
var errSalt = errors.New("the TPM salts RSA-PSS signatures to another length than the hash's, which TLS 1.3 does not accept")

// signatureAlg is a signature algorithm in TLS's and in the TPM's terms.
type signatureAlg struct {
	tls    tls.SignatureScheme
	scheme tpm2.TPMAlgID
	hash   crypto.Hash
}

// signatureAlgs are those that a key with that scheme may make by its public
// area, the best first.
func signatureAlgs(key crypto.PublicKey, scheme tpmwire.Scheme) []signatureAlg {
	var algs []signatureAlg
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		algs = []signatureAlg{
			{tls.ECDSAWithP256AndSHA256, tpm2.TPMAlgECDSA, crypto.SHA256},
			{tls.ECDSAWithP384AndSHA384, tpm2.TPMAlgECDSA, crypto.SHA384},
			{tls.ECDSAWithP521AndSHA512, tpm2.TPMAlgECDSA, crypto.SHA512},
		}
		// The one that TLS 1.3 knows first.
		slices.SortStableFunc(algs, func(a, b signatureAlg) int {
			return btoi(b.inTLS13(key)) - btoi(a.inTLS13(key))
		})
	case *rsa.PublicKey:
		algs = []signatureAlg{
			{tls.PSSWithSHA256, tpm2.TPMAlgRSAPSS, crypto.SHA256},
			{tls.PSSWithSHA384, tpm2.TPMAlgRSAPSS, crypto.SHA384},
			{tls.PSSWithSHA512, tpm2.TPMAlgRSAPSS, crypto.SHA512},
			{tls.PKCS1WithSHA256, tpm2.TPMAlgRSASSA, crypto.SHA256},
			{tls.PKCS1WithSHA384, tpm2.TPMAlgRSASSA, crypto.SHA384},
			{tls.PKCS1WithSHA512, tpm2.TPMAlgRSASSA, crypto.SHA512},
		}
	}
	if scheme.Alg == tpm2.TPMAlgNull {
		return algs
	}
	return slices.DeleteFunc(algs, func(a signatureAlg) bool {
		hash, _ := tpmwire.HashAlg(a.hash)
		return a.scheme != scheme.Alg || hash != scheme.Hash
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// inTLS13: RFC 8446, section 4.2.3.
func (a signatureAlg) inTLS13(key crypto.PublicKey) bool {
	switch a.tls {
	case tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512:
		return true
	case tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512:
		k, ok := key.(*ecdsa.PublicKey)
		return ok && map[tls.SignatureScheme]int{
			tls.ECDSAWithP256AndSHA256: 256, tls.ECDSAWithP384AndSHA384: 384, tls.ECDSAWithP521AndSHA512: 521,
		}[a.tls] == k.Curve.Params().BitSize
	default:
		return false
	}
}

// verify checks a signature as TLS does.
func (a signatureAlg) verify(key crypto.PublicKey, digest, signature []byte) error {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(key, digest, signature) {
			return errors.New("wrong ECDSA signature")
		}
		return nil
	case *rsa.PublicKey:
		if a.scheme == tpm2.TPMAlgRSASSA {
			return rsa.VerifyPKCS1v15(key, a.hash, digest, signature)
		}
		err := rsa.VerifyPSS(key, a.hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		if err != nil && rsa.VerifyPSS(key, a.hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil {
			return errSalt
		}
		return err
	default:
		return fmt.Errorf("%T signs nothing", key)
	}
}

// Signer is a TIK as a crypto.Signer, such as the PrivateKey of a
// tls.Certificate. It may be used concurrently: signatures take turns with all
// else that the TPM does.
type Signer struct {
	tik *TIK
	ctx context.Context
}

var _ crypto.Signer = (*Signer)(nil)

// Signer is the key as a crypto.Signer. A signature waits for the TPM half a
// minute at most; [Signer.WithContext] says otherwise.
func (i *TIK) Signer() *Signer { return &Signer{tik: i, ctx: context.Background()} }

// WithContext is the same key, whose signatures honour ctx, such as that of
// one handshake (tls.ClientHelloInfo.Context).
func (s *Signer) WithContext(ctx context.Context) crypto.Signer {
	return &Signer{tik: s.tik, ctx: ctx}
}

// Public is the public key: an *ecdsa.PublicKey or an *rsa.PublicKey.
func (s *Signer) Public() crypto.PublicKey { return s.tik.Public() }

// Sign signs a digest. opts is a crypto.Hash, or for RSA-PSS an
// *rsa.PSSOptions whose salt has the hash's length. What the key's scheme does
// not allow is an error. The randomness is the TPM's.
func (s *Signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	alg, err := s.tik.choose(digest, opts)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	ctx, cancel := s.ctx, func() {}
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, signLimit)
	}
	defer cancel()
	signature, err := s.tik.sign(ctx, alg, digest)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return signature, nil
}

// SignatureSchemes are what the key was seen to sign when it was created or
// loaded, the best first: the SupportedSignatureAlgorithms of a
// tls.Certificate.
func (i *TIK) SignatureSchemes() []tls.SignatureScheme {
	var list []tls.SignatureScheme
	for _, a := range i.able {
		list = append(list, a.tls)
	}
	return list
}

// Certificate is a tls.Certificate whose private key is the TIK and whose
// chain is given, in DER, the TIK's own certificate first.
func (i *TIK) Certificate(chain ...[]byte) (tls.Certificate, error) {
	if len(chain) == 0 {
		return tls.Certificate{}, errors.New("no certificate given")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	if key, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(i.Public()) {
		return tls.Certificate{}, errors.New("the certificate is for another key than the TIK")
	}
	return tls.Certificate{
		Certificate:                  chain,
		PrivateKey:                   i.Signer(),
		SupportedSignatureAlgorithms: i.SignatureSchemes(),
		Leaf:                         leaf,
	}, nil
}

// checkTLS13 says why the key is no use for TLS 1.3.
func (i *TIK) checkTLS13() error {
	if slices.ContainsFunc(i.able, func(a signatureAlg) bool { return a.inTLS13(i.Public()) }) {
		return nil
	}
	err := fmt.Errorf("%w for TLS 1.3: it signs %v only", ErrNotTIK, i.SignatureSchemes())
	if i.unable != nil {
		err = fmt.Errorf("%w: %w", err, i.unable)
	}
	return err
}

// choose finds the algorithm that a crypto.Signer is asked for.
func (i *TIK) choose(digest []byte, opts crypto.SignerOpts) (signatureAlg, error) {
	if opts == nil || opts.HashFunc() == 0 {
		return signatureAlg{}, errors.New("the TPM signs digests only: no hash given")
	}
	want := signatureAlg{hash: opts.HashFunc(), scheme: tpm2.TPMAlgECDSA}
	if _, ok := i.Public().(*rsa.PublicKey); ok {
		want.scheme = tpm2.TPMAlgRSASSA
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			want.scheme = tpm2.TPMAlgRSAPSS
			switch pss.SaltLength {
			case rsa.PSSSaltLengthAuto, rsa.PSSSaltLengthEqualsHash, want.hash.Size():
			default:
				return signatureAlg{}, fmt.Errorf("salt of %d bytes: the TPM's has the hash's length", pss.SaltLength)
			}
		}
	}
	if len(digest) != want.hash.Size() {
		return signatureAlg{}, fmt.Errorf("the digest has %d bytes, %v has %d", len(digest), want.hash, want.hash.Size())
	}
	for _, a := range i.able {
		if a.scheme == want.scheme && a.hash == want.hash {
			return a, nil
		}
	}
	return signatureAlg{}, fmt.Errorf("the key does not sign %s with %v, but %v",
		tpmwire.AlgName(want.scheme), want.hash, i.SignatureSchemes())
}

// try has the key sign something that nobody else will.
func (i *TIK) try(ctx context.Context, alg signatureAlg) error {
	message := make([]byte, 32)
	rand.Read(message)
	h := alg.hash.New()
	h.Write(message)
	_, err := i.sign(ctx, alg, h.Sum(nil))
	return err
}

func (i *TIK) sign(ctx context.Context, alg signatureAlg, digest []byte) ([]byte, error) {
	digest = bytes.Clone(digest) // the operation may outlive this call
	return run(ctx, i.key.tpm, func(o *operation) ([]byte, error) {
		return using(o, func(h []tpm2.AuthHandle) ([]byte, error) {
			return o.sign(i.key, h[0], alg, digest)
		}, need{"the TIK", i.key})
	})
}

// sign is TPM2_Sign (Part 3). The signature is verified: a TPM that was
// disturbed may give the private key away by a wrong one.
func (o *operation) sign(k *Key, h tpm2.AuthHandle, alg signatureAlg, digest []byte) ([]byte, error) {
	hash, _ := tpmwire.HashAlg(alg.hash)
	scheme := tpm2.TPMTSigScheme{Scheme: alg.scheme, Details: tpm2.NewTPMUSigScheme(alg.scheme, &tpm2.TPMSSchemeHash{HashAlg: hash})}
	rsp, err := tpm2.Sign{
		KeyHandle: h,
		Digest:    tpm2.TPM2BDigest{Buffer: digest},
		InScheme:  scheme,
		// No ticket: the key is not restricted.
		Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck},
	}.Execute(o)
	if err != nil {
		return nil, fmt.Errorf("TPM2_Sign: %w", err)
	}
	signature, err := signatureBytes(&rsp.Signature)
	if err != nil {
		return nil, fmt.Errorf("TPM2_Sign: %w", err)
	}
	if err := alg.verify(k.public, digest, signature); err != nil {
		if errors.Is(err, errSalt) {
			return nil, err
		}
		return nil, fmt.Errorf("TPM2_Sign: %w: %w", errReplaced, err)
	}
	return signature, nil
}

// signatureBytes is a TPMT_SIGNATURE (Part 2, section 11.3.4) as crypto.Signer
// gives it.
func signatureBytes(s *tpm2.TPMTSignature) ([]byte, error) {
	switch s.SigAlg {
	case tpm2.TPMAlgECDSA:
		sig, err := s.Signature.ECDSA()
		if err != nil {
			return nil, err
		}
		return asn1.Marshal(struct{ R, S *big.Int }{
			new(big.Int).SetBytes(sig.SignatureR.Buffer), new(big.Int).SetBytes(sig.SignatureS.Buffer),
		})
	case tpm2.TPMAlgRSASSA:
		sig, err := s.Signature.RSASSA()
		if err != nil {
			return nil, err
		}
		return sig.Sig.Buffer, nil
	case tpm2.TPMAlgRSAPSS:
		sig, err := s.Signature.RSAPSS()
		if err != nil {
			return nil, err
		}
		return sig.Sig.Buffer, nil
	default:
		return nil, fmt.Errorf("signature of algorithm 0x%04x", uint16(s.SigAlg))
	}
}

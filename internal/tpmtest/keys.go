// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmtest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/kat"
)

// The keys below would be TIKs but for one attribute, or as few as a TPM
// allows. A TPM makes no key that differs in fixedParent alone: for that one
// see [CertifyInfo] and [WithAttributes].

// NotFixedTPM makes a key that differs from a TIK in fixedTPM alone: it cannot
// leave its parent, but its parent can leave the TPM.
func NotFixedTPM(ctx context.Context, t *attester.TPM, alg attester.KeyAlg) (*attester.Key, error) {
	parent, err := t.CreateKey(ctx, nil, storageTemplate())
	if err != nil {
		return nil, fmt.Errorf("parent that may leave the TPM: %w", err)
	}
	return createVariant(ctx, t, parent, alg, func(a *tpm2.TPMAObject) { a.FixedTPM = false })
}

// Duplicable makes a key that may leave the TPM: fixedTPM and fixedParent are
// clear.
func Duplicable(ctx context.Context, t *attester.TPM, alg attester.KeyAlg) (*attester.Key, error) {
	return createVariant(ctx, t, nil, alg, func(a *tpm2.TPMAObject) { a.FixedTPM, a.FixedParent = false, false })
}

// Restricted makes a key that differs from a TIK in restricted alone. It is
// what an AK is.
func Restricted(ctx context.Context, t *attester.TPM, alg attester.KeyAlg) (*attester.Key, error) {
	return createVariant(ctx, t, nil, alg, func(a *tpm2.TPMAObject) { a.Restricted = true })
}

// SignAndDecrypt makes a key that differs from a TIK in decrypt alone. Such a
// key has no scheme (Part 2, section 12.2.3.5), so alg's is not its own.
func SignAndDecrypt(ctx context.Context, t *attester.TPM, alg attester.KeyAlg) (*attester.Key, error) {
	return createWithoutScheme(ctx, t, alg, func(a *tpm2.TPMAObject) { a.Decrypt = true })
}

// DecryptOnly makes a key that decrypts instead of signing.
func DecryptOnly(ctx context.Context, t *attester.TPM, alg attester.KeyAlg) (*attester.Key, error) {
	return createWithoutScheme(ctx, t, alg, func(a *tpm2.TPMAObject) { a.Decrypt, a.SignEncrypt = true, false })
}

// Imported puts a software key into the TPM: sensitiveDataOrigin is clear, and
// so are, as TPM2_Import demands, fixedTPM and fixedParent. alg's scheme and
// size must be the key's.
func Imported(ctx context.Context, t *attester.TPM, alg attester.KeyAlg, key crypto.Signer) (*attester.Key, error) {
	public, err := alg.Template()
	if err != nil {
		return nil, err
	}
	public.ObjectAttributes.FixedTPM = false
	public.ObjectAttributes.FixedParent = false
	public.ObjectAttributes.SensitiveDataOrigin = false
	sensitive := tpm2.TPMTSensitive{SensitiveType: public.Type}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		point, err := key.PublicKey.Bytes()
		if err != nil {
			return nil, fmt.Errorf("importing a key: %w", err)
		}
		d, err := key.Bytes()
		if err != nil {
			return nil, fmt.Errorf("importing a key: %w", err)
		}
		size := (len(point) - 1) / 2
		public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1 : 1+size]},
			Y: tpm2.TPM2BECCParameter{Buffer: point[1+size:]},
		})
		sensitive.Sensitive = tpm2.NewTPMUSensitiveComposite(tpm2.TPMAlgECC, &tpm2.TPM2BECCParameter{Buffer: d})
	case *rsa.PrivateKey:
		public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: key.N.Bytes()})
		sensitive.Sensitive = tpm2.NewTPMUSensitiveComposite(tpm2.TPMAlgRSA,
			&tpm2.TPM2BPrivateKeyRSA{Buffer: key.Primes[0].Bytes()})
	default:
		return nil, fmt.Errorf("importing a key: %T is neither an ECDSA nor an RSA key", key)
	}

	parent, err := t.CreateKey(ctx, nil, storageTemplate())
	if err != nil {
		return nil, fmt.Errorf("importing a key: parent: %w", err)
	}
	var private []byte
	err = t.Do(ctx, func(tpm transport.TPM, keys []tpm2.AuthHandle) error {
		// In the clear: without a seed there is no outer wrapper, without an
		// encryption key no inner one.
		plain := tpm2.Marshal(sensitive)
		rsp, err := tpm2.Import{
			ParentHandle: keys[0],
			ObjectPublic: tpm2.New2B(public),
			Duplicate:    tpm2.TPM2BPrivate{Buffer: tpm2.Marshal(tpm2.TPM2BPrivate{Buffer: plain})},
			Symmetric:    tpm2.TPMTSymDef{Algorithm: tpm2.TPMAlgNull},
		}.Execute(tpm)
		if err != nil {
			return fmt.Errorf("TPM2_Import: %w", err)
		}
		private = rsp.OutPrivate.Buffer
		return nil
	}, parent)
	if err != nil {
		return nil, fmt.Errorf("importing a key: %w", err)
	}
	return t.LoadKey(ctx, parent, tpm2.Marshal(public), private)
}

// CertifyDerived has signer certify a key that differs from a TIK in
// sensitiveDataOrigin alone: an ECDSA key that the TPM derived from a secret
// (Part 3, TPM2_CreateLoaded). Such a key has no private blob and is gone
// afterwards.
func CertifyDerived(ctx context.Context, t *attester.TPM, signer *attester.Key, alg attester.KeyAlg, nonce []byte) (kat.Token, error) {
	template, err := alg.Template()
	if err != nil {
		return kat.Token{}, err
	}
	attributes := template.ObjectAttributes
	attributes.SensitiveDataOrigin = false
	token := kat.Token{TPMVer: "2.0", KID: signer.KID()}
	err = t.Do(ctx, func(tpm transport.TPM, keys []tpm2.AuthHandle) error {
		secret, err := tpm2.CreatePrimary{
			PrimaryHandle: tpm2.TPMRHOwner,
			InPublic:      tpm2.New2B(derivationTemplate()),
		}.Execute(tpm)
		if err != nil {
			return fmt.Errorf("TPM2_CreatePrimary of a derivation parent: %w", err)
		}
		derived, err := tpm2.CreateLoaded{
			ParentHandle: tpm2.AuthHandle{Handle: secret.ObjectHandle, Name: secret.Name, Auth: tpm2.PasswordAuth(nil)},
			InPublic: tpm2.New2BTemplate(&tpm2.TPMTTemplate{
				Type:             template.Type,
				NameAlg:          template.NameAlg,
				ObjectAttributes: attributes,
				Parameters:       template.Parameters,
				Unique: tpm2.TPMSDerive{
					Label:   tpm2.TPM2BLabel{Buffer: []byte("label")},
					Context: tpm2.TPM2BLabel{Buffer: []byte("context")},
				},
			}),
		}.Execute(tpm)
		if err != nil {
			return fmt.Errorf("TPM2_CreateLoaded: %w", err)
		}
		rsp, err := tpm2.Certify{
			ObjectHandle:   tpm2.AuthHandle{Handle: derived.ObjectHandle, Name: derived.Name, Auth: tpm2.PasswordAuth(nil)},
			SignHandle:     keys[0],
			QualifyingData: tpm2.TPM2BData{Buffer: nonce},
		}.Execute(tpm)
		if err != nil {
			return fmt.Errorf("TPM2_Certify: %w", err)
		}
		token.Sig = tpm2.Marshal(rsp.Signature)
		token.CertInfo = rsp.CertifyInfo.Bytes()
		token.PubArea = derived.OutPublic.Bytes()
		return nil
	}, signer)
	if err != nil {
		return kat.Token{}, fmt.Errorf("certifying a derived key: %w", err)
	}
	return token, nil
}

func createVariant(ctx context.Context, t *attester.TPM, parent *attester.Key, alg attester.KeyAlg, change func(*tpm2.TPMAObject)) (*attester.Key, error) {
	template, err := alg.Template()
	if err != nil {
		return nil, err
	}
	change(&template.ObjectAttributes)
	return t.CreateKey(ctx, parent, template)
}

func createWithoutScheme(ctx context.Context, t *attester.TPM, alg attester.KeyAlg, change func(*tpm2.TPMAObject)) (*attester.Key, error) {
	template, err := alg.Template()
	if err != nil {
		return nil, err
	}
	change(&template.ObjectAttributes)
	if parameters, err := template.Parameters.RSADetail(); err == nil {
		parameters.Scheme = tpm2.TPMTRSAScheme{}
	} else if parameters, err := template.Parameters.ECCDetail(); err == nil {
		parameters.Scheme = tpm2.TPMTECCScheme{}
	}
	return t.CreateKey(ctx, nil, template)
}

// storageTemplate is a storage key that may leave the TPM.
func storageTemplate() tpm2.TPMTPublic {
	template := tpm2.ECCSRKTemplate
	template.ObjectAttributes.FixedTPM = false
	template.ObjectAttributes.FixedParent = false
	return template
}

// derivationTemplate is a secret from which a TPM derives keys.
func derivationTemplate() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgKeyedHash,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM:            true,
			FixedParent:         true,
			SensitiveDataOrigin: true,
			UserWithAuth:        true,
			Restricted:          true,
			Decrypt:             true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash, &tpm2.TPMSKeyedHashParms{
			Scheme: tpm2.TPMTKeyedHashScheme{
				Scheme: tpm2.TPMAlgXOR,
				Details: tpm2.NewTPMUSchemeKeyedHash(tpm2.TPMAlgXOR, &tpm2.TPMSSchemeXOR{
					HashAlg: tpm2.TPMAlgSHA256,
					KDF:     tpm2.TPMAlgKDF1SP800108,
				}),
			},
		}),
	}
}

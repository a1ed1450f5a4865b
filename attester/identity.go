// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/internal/tpmwire"
	"github.com/veraison/attested-tls/pat"
)

var (
	// ErrNotAK says that a key is no attestation key: a verifier could not
	// trust what it signs.
	ErrNotAK = errors.New("the key is no attestation key")

	// ErrNotTIK says that a key is no TLS identity key: it does not sign
	// handshakes, or may be somewhere else than in its TPM.
	ErrNotTIK = errors.New("the key is no TLS identity key")
)

// AK is an attestation key: fixed to its TPM, made in it, and restricted to
// signing what the TPM itself made. CreateAK makes one, LoadAK takes one up.
type AK struct{ key *Key }

// TIK is a TLS identity key: fixed to its TPM, made in it, able to sign and to
// do nothing else. CreateTIK makes one, LoadTIK takes one up.
type TIK struct {
	key *Key
	// able is what the key was seen to sign.
	able []signatureAlg
	// unable says why something that its public area allows is not in able.
	unable error
}

// CreateAK makes an attestation key. An algorithm that the TPM lacks is
// [ErrUnsupportedAlgorithm].
func (t *TPM) CreateAK(ctx context.Context, alg KeyAlg) (*AK, error) {
	k, err := t.createSigner(ctx, alg, true)
	if err != nil {
		return nil, fmt.Errorf("creating an attestation key: %w", err)
	}
	return &AK{key: k}, nil
}

// CreateTIK makes a TLS identity key. An algorithm that the TPM lacks is
// [ErrUnsupportedAlgorithm]. TLS 1.3 signs with the hash of the curve's size
// (ecdsa-p384-sha384), and with RSA-PSS; a key of the scheme [RSA] does
// PKCS #1 v1.5 as well, for TLS 1.2.
func (t *TPM) CreateTIK(ctx context.Context, alg KeyAlg) (*TIK, error) {
	k, err := t.createSigner(ctx, alg, false)
	if err != nil {
		return nil, fmt.Errorf("creating a TLS identity key: %w", err)
	}
	i, err := k.TIK(ctx)
	if err != nil {
		return nil, fmt.Errorf("creating a TLS identity key: %w", err)
	}
	return i, nil
}

// LoadAK takes up an attestation key from where: a key file's path, or a
// persistent handle such as 0x81010002. See [Key.AK] for what is refused.
func (t *TPM) LoadAK(ctx context.Context, where string) (*AK, error) {
	k, err := t.loadWhere(ctx, where)
	if err != nil {
		return nil, fmt.Errorf("loading an attestation key: %w", err)
	}
	a, err := k.AK(ctx)
	if err != nil {
		return nil, fmt.Errorf("loading an attestation key: %s: %w", where, err)
	}
	return a, nil
}

// LoadTIK takes up a TLS identity key from where: a key file's path, or a
// persistent handle such as 0x81010003. See [Key.TIK] for what is refused.
func (t *TPM) LoadTIK(ctx context.Context, where string) (*TIK, error) {
	k, err := t.loadWhere(ctx, where)
	if err != nil {
		return nil, fmt.Errorf("loading a TLS identity key: %w", err)
	}
	i, err := k.TIK(ctx)
	if err != nil {
		return nil, fmt.Errorf("loading a TLS identity key: %s: %w", where, err)
	}
	return i, nil
}

func (t *TPM) createSigner(ctx context.Context, alg KeyAlg, restricted bool) (*Key, error) {
	template, err := alg.Template()
	if err != nil {
		return nil, err
	}
	if restricted && alg.Scheme == RSA {
		// Part 1, section 25.1.4: a restricted signing key has a scheme.
		return nil, fmt.Errorf("%v: an attestation key needs a scheme: want rsassa or rsapss", alg)
	}
	template.ObjectAttributes.Restricted = restricted
	return run(ctx, t, func(o *operation) (*Key, error) {
		if err := alg.supported(o); err != nil {
			return nil, err
		}
		return o.create(nil, template)
	})
}

// AK checks that k is an attestation key that a verifier accepts, by its public
// area and by having it sign. A key that is none is [ErrNotAK]; one that needs
// a password or a policy is [ErrPassword] or [ErrPolicy].
func (k *Key) AK(ctx context.Context) (*AK, error) {
	const usable = tpmwire.FixedTPM | tpmwire.FixedParent | tpmwire.SensitiveDataOrigin | tpmwire.Sign | tpmwire.Restricted
	if _, err := k.check(ErrNotAK, usable, tpmwire.Decrypt); err != nil {
		return nil, err
	}
	// The verifier's own code knows which algorithms it accepts. A quote asks
	// for no more than what an AK is for: certifying itself would need its
	// policy if it is adminWithPolicy. Any TPM quotes no PCR at all.
	nonce := make([]byte, maxNonceSize/2)
	rand.Read(nonce)
	token, err := run(ctx, k.tpm, func(o *operation) (pat.Token, error) {
		return using(o, func(h []tpm2.AuthHandle) (pat.Token, error) {
			return o.quote(k, h[0], tpm2.TPMLPCRSelection{}, nonce)
		}, need{"the key", k})
	})
	if err != nil {
		return nil, fmt.Errorf("trying the key: %w", err)
	}
	u, err := pat.Parse(token)
	if err == nil {
		_, err = u.Verify(k.public, nonce)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: a verifier would refuse what it signs: %w", ErrNotAK, err)
	}
	return &AK{key: k}, nil
}

// TIK checks that k is a TLS identity key that a verifier accepts, by its
// public area, and tries which signatures it makes. A key that is none is
// [ErrNotTIK]; one that needs a password or a policy is [ErrPassword] or
// [ErrPolicy].
func (k *Key) TIK(ctx context.Context) (*TIK, error) {
	const usable = tpmwire.FixedTPM | tpmwire.FixedParent | tpmwire.SensitiveDataOrigin | tpmwire.Sign
	public, err := k.check(ErrNotTIK, usable, tpmwire.Restricted|tpmwire.Decrypt)
	if err != nil {
		return nil, err
	}
	if k.object.AdminWithPolicy {
		// Part 3, TPM2_Certify: the certified object's ADMIN role.
		return nil, fmt.Errorf("%w to be certified (adminWithPolicy)", ErrPolicy)
	}
	i := &TIK{key: k}
	for _, alg := range signatureAlgs(k.public, public.Scheme) {
		err := i.try(ctx, alg)
		switch {
		case err == nil:
			i.able = append(i.able, alg)
		case errors.Is(err, ErrPassword), errors.Is(err, ErrPolicy):
			return nil, fmt.Errorf("trying the key: %w", err)
		case isFormatOne(err), errors.Is(err, errSalt): // not with this hash, not so
			i.unable = errors.Join(i.unable, fmt.Errorf("%v: %w", alg.tls, err))
		default:
			return nil, fmt.Errorf("trying the key: %w", err)
		}
	}
	if len(i.able) == 0 {
		if i.unable == nil {
			i.unable = fmt.Errorf("its scheme is %v", public.Scheme)
		}
		return nil, fmt.Errorf("%w: it makes no signature that TLS knows: %w", ErrNotTIK, i.unable)
	}
	return i, nil
}

// check checks the attributes (Part 2, section 8.3.2).
func (k *Key) check(not error, set, clear tpmwire.Attributes) (tpmwire.Public, error) {
	p, err := tpmwire.ParsePublic(k.pubArea)
	if err != nil {
		return tpmwire.Public{}, fmt.Errorf("%w: %w", not, err)
	}
	var problems []string
	for _, a := range []struct {
		bit     tpmwire.Attributes
		isSet   string
		isClear string
	}{
		{bit: tpmwire.Sign, isClear: "it does not sign"},
		{bit: tpmwire.Decrypt, isSet: "it decrypts as well"},
		{bit: tpmwire.FixedTPM, isClear: "it may leave the TPM"},
		{bit: tpmwire.FixedParent, isClear: "it may be given another parent"},
		{bit: tpmwire.SensitiveDataOrigin, isClear: "it was not made in the TPM"},
		{
			bit:     tpmwire.Restricted,
			isSet:   "it signs nothing but what the TPM made, so no handshake",
			isClear: "it signs whatever it is given, not only what the TPM made",
		},
	} {
		if set&^p.Attributes&a.bit != 0 {
			problems = append(problems, fmt.Sprintf("%s (%v is not set)", a.isClear, a.bit))
		}
		if clear&p.Attributes&a.bit != 0 {
			problems = append(problems, fmt.Sprintf("%s (%v is set)", a.isSet, a.bit))
		}
	}
	if len(problems) > 0 {
		return tpmwire.Public{}, fmt.Errorf("%w: %s", not, strings.Join(problems, "; "))
	}
	if !k.object.UserWithAuth {
		// Part 1, section 19.3: without it only the policy authorises use.
		return tpmwire.Public{}, fmt.Errorf("%w to be used (userWithAuth is not set)", ErrPolicy)
	}
	return p, nil
}

// Public is the public key: an *ecdsa.PublicKey or an *rsa.PublicKey.
func (a *AK) Public() crypto.PublicKey { return a.key.Public() }

// KID is the UEID that names the AK in evidence and endorsements.
func (a *AK) KID() []byte { return a.key.KID() }

// PEM is the public key as PEM SubjectPublicKeyInfo, as it is provisioned.
func (a *AK) PEM() string { return a.key.PEM() }

// Key is the AK as a key.
func (a *AK) Key() *Key {
	if a == nil {
		return nil
	}
	return a.key
}

// Public is the public key: an *ecdsa.PublicKey or an *rsa.PublicKey.
func (i *TIK) Public() crypto.PublicKey { return i.key.Public() }

// PubArea is the key's TPMT_PUBLIC.
func (i *TIK) PubArea() []byte { return i.key.PubArea() }

// Key is the TIK as a key.
func (i *TIK) Key() *Key {
	if i == nil {
		return nil
	}
	return i.key
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package signed

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/veraison/attested-tls/endorsements"
)

// Options say who signs. The signer's name is required.
type Options struct {
	// Signer is the organisation that signs.
	Signer endorsements.Signer
	// KeyID names the key for those who trust it by itself. It may be empty.
	KeyID []byte
	// Chain is the certificate of the key and those that lead to a root, each in
	// DER. It may be empty; Veraison since v0.0.2603 takes no signed CoRIM
	// without one.
	Chain [][]byte
	// NotBefore and NotAfter bound the signature's validity, in whole seconds and
	// inclusively. Both zero is no bound; NotBefore alone is refused.
	NotBefore, NotAfter time.Time
}

// Sign signs an unsigned CoRIM of either dialect, byte for byte. The media type
// of the result is that of [endorsements.Dialect.MediaType]. The key is ECDSA on
// P-256, P-384 or P-521, or Ed25519, and may be in a TPM.
//
// What Verify would refuse at any time is refused: a CoRIM that does not decode,
// a certificate that may not sign or is another key's, and a key that makes
// wrong signatures.
func Sign(corim []byte, key crypto.Signer, o Options) ([]byte, error) {
	if _, err := endorsements.Decode(corim); err != nil {
		return nil, fmt.Errorf("CoRIM to be signed: %w", err)
	}
	if key == nil {
		return nil, errors.New("no key to sign with")
	}
	alg, err := algorithmOf(key.Public())
	if err != nil {
		return nil, fmt.Errorf("key to sign with: %w", err)
	}
	if len(o.Chain) > 0 {
		chain, err := parseChain(o.Chain)
		if err != nil {
			return nil, err
		}
		if !sameKey(chain[0].PublicKey, key.Public()) {
			return nil, inChain(0, errors.New("expected the certificate of the key to sign with, found another key's"))
		}
		if err := checkLeaf(chain[0]); err != nil {
			return nil, err
		}
	}
	headers, err := o.headers(alg)
	if err != nil {
		return nil, err
	}
	signer, err := cose.NewSigner(alg, hashNamer{key})
	if err != nil {
		return nil, fmt.Errorf("key to sign with: %w", err)
	}
	data, err := cose.Sign1(rand.Reader, signer, headers, corim, nil)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	// Keys outside this process have faults of their own.
	u, err := endorsements.ReadSigned(data)
	if err == nil {
		_, err = u.Corim()
	}
	if err == nil {
		err = checkSignature(u, key.Public())
	}
	if err != nil {
		return nil, fmt.Errorf("checking what was signed: %w", err)
	}
	return data, nil
}

func (o Options) headers(alg cose.Algorithm) (cose.Headers, error) {
	u := endorsements.UnverifiedSigned{
		Algorithm: int64(alg), KeyID: o.KeyID, Chain: o.Chain, Signer: o.Signer, NotBefore: o.NotBefore, NotAfter: o.NotAfter,
	}
	protected, err := u.ProtectedHeader()
	if err != nil {
		return cose.Headers{}, err
	}
	raw, err := cbor.Marshal(protected)
	if err != nil {
		return cose.Headers{}, fmt.Errorf("protected header: %w", err)
	}
	h := cose.Headers{RawProtected: raw, RawUnprotected: []byte{0xa0}} // an empty map
	if err := h.UnmarshalFromRaw(); err != nil {
		return cose.Headers{}, fmt.Errorf("protected header: %w", err)
	}
	return h, nil
}

// hashNamer tells a signer which hash made a digest, which go-cose leaves out
// and TPMs need to know.
type hashNamer struct{ crypto.Signer }

func (s hashNamer) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts == nil {
		for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			if h.Size() == len(digest) {
				opts = h
			}
		}
	}
	return s.Signer.Sign(random, digest, opts)
}

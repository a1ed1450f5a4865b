// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// ueidRAND is the type byte of a UEID that is a random-looking identifier (RFC
// 9711, section 4.2.1.1).
const ueidRAND = 0x01

// Key is an asymmetric key that one TPM can use. It is kept outside the TPM,
// encrypted by it, or in the TPM at a persistent handle. A Key's attributes are
// anything: [AK] and [TIK] are keys whose attributes are known.
type Key struct {
	tpm     *TPM
	parent  *Key // nil for the storage root key
	pubArea []byte
	object  tpm2.TPMAObject // pubArea's
	private tpm2.TPM2BPrivate
	name    tpm2.TPM2BName
	public  crypto.PublicKey
	kid     []byte
	pem     string

	// persistent is the handle of a key that the TPM keeps itself, and 0 for
	// one that it does not. The former has no private blob and no parent.
	persistent tpm2.TPMHandle

	// What follows is guarded by tpm.slot.

	// qualified is the key's Qualified Name (Part 1, section 16.2), by which
	// attestations name their signer; nil until the key was loaded.
	qualified []byte
	// saved is the loaded key as TPM2_ContextSave gives it, which spares
	// making the parents again. Void after a TPM reset.
	saved *tpm2.TPMSContext
}

// CreateKey makes a key of any template, below parent or, if that is nil, the
// storage root key.
//
// It is the way to keys that CreateAK and CreateTIK do not make. A verifier
// refuses a TIK that may leave the TPM, was not made in it, or can do more
// than sign, and an AK that signs what the TPM did not make is no AK.
func (t *TPM) CreateKey(ctx context.Context, parent *Key, template tpm2.TPMTPublic) (*Key, error) {
	if parent != nil {
		if err := t.own(parent); err != nil {
			return nil, err
		}
	}
	return run(ctx, t, func(o *operation) (*Key, error) { return o.create(parent, template) })
}

// LoadKey takes up a key from its public area (a TPMT_PUBLIC) and private
// blob (the content of a TPM2B_PRIVATE), as this TPM made them below parent
// or, if that is nil, the storage root key. It fails if the TPM does not load
// them.
func (t *TPM) LoadKey(ctx context.Context, parent *Key, pubArea, private []byte) (*Key, error) {
	if parent != nil {
		if err := t.own(parent); err != nil {
			return nil, err
		}
	}
	k, err := newKey(t, parent, slices.Clone(pubArea), slices.Clone(private))
	if err != nil {
		return nil, err
	}
	return run(ctx, t, func(o *operation) (*Key, error) {
		_, err := o.load(k)
		return k, err
	})
}

// Public is the public key: an *ecdsa.PublicKey or an *rsa.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// PubArea is the key's TPMT_PUBLIC.
func (k *Key) PubArea() []byte { return slices.Clone(k.pubArea) }

// PrivateBlob is the content of the key's TPM2B_PRIVATE: the private part,
// encrypted by its parent. A key at a persistent handle has none.
func (k *Key) PrivateBlob() []byte { return slices.Clone(k.private.Buffer) }

// KID names the key in evidence and endorsements: a UEID of type RAND with the
// SHA-256 of the DER SubjectPublicKeyInfo.
func (k *Key) KID() []byte { return slices.Clone(k.kid) }

// PEM is the public key as PEM SubjectPublicKeyInfo.
func (k *Key) PEM() string { return k.pem }

func newKey(t *TPM, parent *Key, pubArea, private []byte) (*Key, error) {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](pubArea)
	if err != nil {
		return nil, fmt.Errorf("public area: %w", err)
	}
	// go-tpm neither minds bytes that are missing nor bytes left over.
	if !bytes.Equal(tpm2.Marshal(public), pubArea) {
		return nil, errors.New("public area: it is not one whole TPMT_PUBLIC")
	}
	name, err := tpm2.ObjectName(public)
	if err != nil {
		return nil, fmt.Errorf("name of the public area: %w", err)
	}
	key, err := tpm2.Pub(*public)
	if err != nil {
		return nil, fmt.Errorf("public area: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return &Key{
		tpm:     t,
		parent:  parent,
		pubArea: pubArea,
		object:  public.ObjectAttributes,
		private: tpm2.TPM2BPrivate{Buffer: private},
		name:    *name,
		public:  key,
		kid:     append([]byte{ueidRAND}, sum[:]...),
		pem:     string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}, nil
}

// create makes a key (Part 3, TPM2_Create) without a password.
func (o *operation) create(parent *Key, template tpm2.TPMTPublic) (*Key, error) {
	p, err := o.loadParent(parent)
	if err != nil {
		return nil, err
	}
	rsp, err := tpm2.Create{ParentHandle: p, InPublic: tpm2.New2B(template)}.Execute(o)
	if err != nil {
		return nil, fmt.Errorf("TPM2_Create: %w", err)
	}
	return newKey(o.tpm, parent, rsp.OutPublic.Bytes(), rsp.OutPrivate.Buffer)
}

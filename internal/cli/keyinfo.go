// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"

	keyfile "github.com/foxboron/go-tpm-keyfiles"
	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/internal/tpmwire"
)

// keyFilePEM is the PEM type of a TSS2 key file.
const keyFilePEM = "TSS2 PRIVATE KEY"

// keyInfo is what there is to say of a public key, in a TPM or not.
type keyInfo struct {
	Kind      string `json:"kind"`
	Algorithm string `json:"algorithm"`
	// KID is the key's identifier in evidence and endorsements: a UEID.
	KID       string `json:"kid"`
	KIDBase64 string `json:"kid-base64url"`
	// What follows is of a TPM's key alone.
	Role       string   `json:"role,omitempty"`
	Scheme     string   `json:"scheme,omitempty"`
	NameAlg    string   `json:"name-algorithm,omitempty"`
	Name       string   `json:"name,omitempty"`
	Attributes []string `json:"attributes,omitempty"`
	Parent     string   `json:"parent,omitempty"`
	PEM        string   `json:"public-key"`
}

// attributeMeanings are the attributes of Part 2, section 8.3.2, in words.
var attributeMeanings = map[string]string{
	"fixedTPM":             "cannot leave its TPM",
	"stClear":              "gone at the next TPM restart",
	"fixedParent":          "cannot be given another parent",
	"sensitiveDataOrigin":  "was made in its TPM",
	"userWithAuth":         "used with its password, which may be empty",
	"adminWithPolicy":      "administered under its policy only",
	"firmwareLimited":      "of no use after a change of the TPM's firmware",
	"svnLimited":           "of no use with an older TPM firmware",
	"noDA":                 "wrong passwords are not counted",
	"encryptedDuplication": "leaves its TPM encrypted only",
	"restricted":           "signs only what the TPM made",
	"decrypt":              "decrypts",
	"sign":                 "signs",
	"x509sign":             "signs certificates only",
}

// The roles of a TPM's keys, by their attributes.
const (
	roleAK  = "attestation key (AK)"
	roleTIK = "TLS identity key (TIK)"
)

func role(a tpmwire.Attributes) string {
	const both = tpmwire.FixedTPM | tpmwire.FixedParent | tpmwire.SensitiveDataOrigin | tpmwire.Sign
	switch {
	case a&both != both || a&tpmwire.Decrypt != 0:
		return "neither an attestation key nor a TLS identity key"
	case a&tpmwire.Restricted != 0:
		return roleAK
	default:
		return roleTIK
	}
}

// publicKeyInfo describes a public key that is in no TPM, or not known to be.
func publicKeyInfo(kind string, key crypto.PublicKey) (*keyInfo, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	kid := keyID(der)
	return &keyInfo{
		Kind:      kind,
		Algorithm: keyType(key),
		KID:       hex.EncodeToString(kid),
		KIDBase64: base64.RawURLEncoding.EncodeToString(kid),
		PEM:       string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}, nil
}

// keyID names a key as attester.Key.KID does: a UEID of type RAND (RFC 9711,
// section 4.2.1.1) with the SHA-256 of the DER SubjectPublicKeyInfo.
func keyID(spki []byte) []byte {
	sum := sha256.Sum256(spki)
	return append([]byte{0x01}, sum[:]...)
}

func keyType(key crypto.PublicKey) string {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("%T", key)
}

// tpmKeyInfo describes the key of a TPMT_PUBLIC.
func tpmKeyInfo(kind string, pubArea []byte) (*keyInfo, crypto.PublicKey, error) {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](pubArea)
	if err != nil {
		return nil, nil, fmt.Errorf("public area: %w", err)
	}
	// go-tpm minds neither bytes that are missing nor bytes left over.
	if !bytes.Equal(tpm2.Marshal(public), pubArea) {
		return nil, nil, errors.New("public area: it is not one whole TPMT_PUBLIC")
	}
	if public.Type != tpm2.TPMAlgRSA && public.Type != tpm2.TPMAlgECC {
		return nil, nil, fmt.Errorf("public area: an object of type %s, want an ECC or RSA key", tpmwire.AlgName(public.Type))
	}
	key, err := tpm2.Pub(*public)
	if err != nil {
		return nil, nil, fmt.Errorf("public area: %w", err)
	}
	name, err := tpm2.ObjectName(public)
	if err != nil {
		return nil, nil, fmt.Errorf("name of the public area: %w", err)
	}
	info, err := publicKeyInfo(kind, key)
	if err != nil {
		return nil, nil, err
	}
	// Type and name algorithm stand before the attributes.
	attributes := tpmwire.Attributes(binary.BigEndian.Uint32(pubArea[4:]))
	info.Role = role(attributes)
	info.NameAlg = tpmwire.AlgName(public.NameAlg)
	info.Name = hex.EncodeToString(name.Buffer)
	if attributes != 0 {
		info.Attributes = strings.Split(attributes.String(), "|")
	}
	info.Scheme = "not one of this program's"
	if p, err := tpmwire.ParsePublic(pubArea); err == nil {
		if info.Scheme = p.Scheme.String(); info.Scheme == "null" {
			info.Scheme = "any"
		}
	}
	return info, key, nil
}

// maxTPM2B is more than any TPM's key has, and less than what a CoRIM's first
// bytes would be as a size.
const maxTPM2B = 2 << 10

// parseTPM2B takes the size off a TPM2B_PUBLIC or TPM2B_PRIVATE.
func parseTPM2B(data []byte) ([]byte, error) {
	if len(data) < 2 || len(data) > maxTPM2B || int(binary.BigEndian.Uint16(data)) != len(data)-2 {
		return nil, errors.New("its size is not what it says")
	}
	return data[2:], nil
}

// keyFileInfo describes a TSS2 key file, its DER within.
func keyFileInfo(der []byte) (*keyInfo, crypto.PublicKey, error) {
	f, err := keyfile.Parse(der)
	if err != nil {
		return nil, nil, fmt.Errorf("TSS2 key file: %w", err)
	}
	info, key, err := tpmKeyInfo("TSS2 key file", f.Pubkey.Bytes())
	if err != nil {
		return nil, nil, fmt.Errorf("TSS2 key file: %w", err)
	}
	switch {
	case f.Keytype.Equal(keyfile.OIDImportableKey):
		info.Kind += ", yet to be imported"
	case f.Keytype.Equal(keyfile.OIDSealedKey):
		info.Kind += ", sealed data"
	}
	info.Parent = fmt.Sprintf("0x%08x", uint32(f.Parent))
	if f.Parent == tpm2.TPMRHOwner {
		info.Parent = "the storage root key of the owner hierarchy"
	}
	return info, key, nil
}

// print writes the key for a person.
func (k *keyInfo) print(w io.Writer, withPEM bool) {
	t := newTable()
	t.row("kind", k.Kind)
	if k.Role != "" {
		t.row("role", k.Role)
	}
	algorithm := k.Algorithm
	if k.Scheme != "" {
		algorithm += ", scheme " + k.Scheme
	}
	t.row("algorithm", algorithm)
	t.row("kid", k.KID)
	t.row("", k.KIDBase64+" (base64url)")
	if k.Name != "" {
		t.row("name", k.Name)
	}
	if k.Parent != "" {
		t.row("parent", k.Parent)
	}
	for i, a := range k.Attributes {
		head := ""
		if i == 0 {
			head = "attributes"
		}
		meaning := attributeMeanings[a]
		if meaning == "" {
			meaning = "reserved"
		}
		t.row(head, fmt.Sprintf("%-20s %s", a, meaning))
	}
	t.print(w)
	if withPEM {
		fmt.Fprint(w, k.PEM)
	}
}

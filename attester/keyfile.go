// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"context"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"

	keyfile "github.com/foxboron/go-tpm-keyfiles"
	"github.com/google/go-tpm/tpm2"
)

const (
	// maxKeyFile is more than any key file has, a policy included.
	maxKeyFile = 64 << 10

	keyFileType = "TSS2 PRIVATE KEY"
)

// KeyFile is the key as a TSS2 key file in PEM, which OpenSSL's tpm2 provider
// and tpm2-tools read: the public area and the private part, encrypted by the
// TPM. Without that TPM it is worth nothing; with it whoever has the file can
// use the key, which has no password.
func (k *Key) KeyFile() ([]byte, error) {
	parent := tpm2.TPMRHOwner
	switch {
	case k.persistent != 0:
		return nil, fmt.Errorf("the key is kept by the TPM at handle %v: it has no private part to write", handleName(k.persistent))
	case k.parent == nil:
	case k.parent.persistent != 0:
		parent = k.parent.persistent
	default:
		return nil, errors.New("a key file names a key's parent by handle, and this key's parent has none: save the parent first")
	}
	var b bytes.Buffer
	if err := keyfile.Encode(&b, keyfile.NewTPMKey(keyfile.OIDLoadableKey,
		tpm2.BytesAs2B[tpm2.TPMTPublic](k.pubArea), k.private, keyfile.WithParent(parent))); err != nil {
		return nil, fmt.Errorf("encoding the key file: %w", err)
	}
	return b.Bytes(), nil
}

// LoadKeyFile takes up a key from a TSS2 key file in PEM, as [Key.KeyFile],
// OpenSSL's tpm2 provider or tpm2_encodeobject write it. Its parent is the
// storage root key or a key at a persistent handle. A key that needs a policy
// is [ErrPolicy].
func (t *TPM) LoadKeyFile(ctx context.Context, data []byte) (*Key, error) {
	f, err := parseKeyFile(data)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	var parent *Key
	if isPersistent(f.parent) {
		if parent, err = t.LoadHandle(ctx, f.parent); err != nil {
			return nil, fmt.Errorf("key file: parent: %w", err)
		}
	}
	k, err := t.LoadKey(ctx, parent, f.public, f.private)
	if errors.Is(err, tpm2.TPMRCIntegrity) {
		return nil, fmt.Errorf("key file: it was made in another TPM or below another parent than it names: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	return k, nil
}

// keyFile is what this package uses of a key file.
type keyFile struct {
	parent          tpm2.TPMHandle
	public, private []byte
}

func parseKeyFile(data []byte) (keyFile, error) {
	if len(data) > maxKeyFile {
		return keyFile{}, fmt.Errorf("it has %d bytes, at most %d are read", len(data), maxKeyFile)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return keyFile{}, errors.New("it is not PEM")
	}
	if block.Type != keyFileType {
		return keyFile{}, fmt.Errorf("it holds a %.40q, want a %q", block.Type, keyFileType)
	}
	if err := checkKeyFile(block.Bytes); err != nil {
		return keyFile{}, err
	}
	f, err := keyfile.Parse(block.Bytes)
	if err != nil {
		return keyFile{}, err
	}
	// emptyAuth is not looked at: tpm2_encodeobject 5.4 writes the
	// opposite of what is so (tpm2-tools issue 3458). The TPM knows.
	switch {
	case f.Keytype.Equal(keyfile.OIDImportableKey):
		return keyFile{}, errors.New("it holds a key that has yet to be imported (tpm2_import)")
	case f.Keytype.Equal(keyfile.OIDSealedKey):
		return keyFile{}, errors.New("it holds sealed data, not a key")
	case len(f.Policy) > 0, len(f.AuthPolicy) > 0:
		return keyFile{}, ErrPolicy
	case len(f.Secret.Buffer) > 0:
		return keyFile{}, errors.New("it holds a secret, which a loadable key has not")
	}
	parent := f.Parent
	if parent != tpm2.TPMRHOwner && !isPersistent(parent) {
		return keyFile{}, fmt.Errorf("its parent is %v: want the owner hierarchy (%v) or a persistent handle",
			handleName(parent), handleName(tpm2.TPMRHOwner))
	}
	return keyFile{parent: parent, public: f.Pubkey.Bytes(), private: f.Privkey.Buffer}, nil
}

// checkKeyFile checks what go-tpm-keyfiles passes over: that nothing is left
// over, and that no field is there that it does not know, such as rsaParent,
// which would change the key's parent.
func checkKeyFile(der []byte) error {
	var sequence asn1.RawValue
	rest, err := asn1.Unmarshal(der, &sequence)
	if err != nil {
		return fmt.Errorf("it is not DER: %w", err)
	}
	if len(rest) > 0 {
		return errors.New("it has bytes left over")
	}
	var fields []asn1.RawValue
	for rest = sequence.Bytes; len(rest) > 0; {
		var field asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &field); err != nil {
			return fmt.Errorf("it is not DER: %w", err)
		}
		// [0] emptyAuth, [1] policy, [2] secret, [3] authPolicy, [4] description
		if field.Class == asn1.ClassContextSpecific {
			if field.Tag > 4 {
				return fmt.Errorf("it has field [%d], which is not known", field.Tag)
			}
			continue
		}
		fields = append(fields, field)
	}
	// type, parent, pubkey, privkey
	if len(fields) != 4 {
		return fmt.Errorf("it has %d fields, want 4", len(fields))
	}
	for _, f := range fields[2:] {
		if len(f.Bytes) < 2 || int(f.Bytes[0])<<8|int(f.Bytes[1]) != len(f.Bytes)-2 {
			return errors.New("a part of the key is not as long as it says")
		}
	}
	return nil
}

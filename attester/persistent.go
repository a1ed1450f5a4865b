// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/google/go-tpm/tpm2"
)

// isPersistent: Part 2, section 7.2: TPM_HT_PERSISTENT.
func isPersistent(h tpm2.TPMHandle) bool { return h>>24 == tpm2.TPMHandle(tpm2.TPMHTPersistent) }

func handleName(h tpm2.TPMHandle) string { return fmt.Sprintf("0x%08x", uint32(h)) }

// LoadHandle takes up the key that the TPM keeps at a persistent handle
// (0x81000000 to 0x81ffffff). No key there is [fs.ErrNotExist].
func (t *TPM) LoadHandle(ctx context.Context, h tpm2.TPMHandle) (*Key, error) {
	if !isPersistent(h) {
		return nil, fmt.Errorf("handle %v is not a persistent one (0x81…)", handleName(h))
	}
	k, err := run(ctx, t, func(o *operation) (*Key, error) {
		rsp, err := o.readPersistent(h)
		if err != nil {
			return nil, err
		}
		if rsp == nil {
			return nil, fmt.Errorf("there is no key: %w", fs.ErrNotExist)
		}
		k, err := newKey(t, nil, rsp.OutPublic.Bytes(), nil)
		if err != nil {
			return nil, err
		}
		k.persistent, k.qualified = h, rsp.QualifiedName.Buffer
		return k, nil
	})
	if err != nil {
		return nil, fmt.Errorf("handle %v: %w", handleName(h), err)
	}
	return k, nil
}

// readPersistent returns nil when there is no object at h.
func (o *operation) readPersistent(h tpm2.TPMHandle) (*tpm2.ReadPublicResponse, error) {
	rsp, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(o)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("TPM2_ReadPublic: %w", err)
	}
	return rsp, nil
}

// persist keeps k at h (Part 3, TPM2_EvictControl).
func (t *TPM) persist(ctx context.Context, k *Key, h tpm2.TPMHandle, replace bool) error {
	if k.persistent != 0 {
		return fmt.Errorf("the key is at handle %v already", handleName(k.persistent))
	}
	_, err := run(ctx, t, func(o *operation) (struct{}, error) {
		var none struct{}
		old, err := o.readPersistent(h)
		if err != nil {
			return none, err
		}
		if old != nil {
			switch {
			case bytes.Equal(old.Name.Buffer, k.name.Buffer):
				return none, nil // as asked for
			case !replace:
				return none, fmt.Errorf("another key is there: %w", fs.ErrExist)
			}
		}
		loaded, err := o.load(k)
		if err != nil {
			return none, err
		}
		if old != nil {
			if err := o.evictControl(h, old.Name, h); err != nil {
				return none, fmt.Errorf("taking the old key away: %w", err)
			}
		}
		if err := o.evictControl(loaded.Handle, k.name, h); err != nil {
			if old != nil {
				err = fmt.Errorf("%w (the old key is gone)", err)
			}
			return none, err
		}
		return none, nil
	})
	return err
}

func (o *operation) evictControl(object tpm2.TPMHandle, name tpm2.TPM2BName, h tpm2.TPMHandle) error {
	_, err := tpm2.EvictControl{
		Auth:             tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Name: tpm2.HandleName(tpm2.TPMRHOwner), Auth: tpm2.PasswordAuth(nil)},
		ObjectHandle:     &tpm2.NamedHandle{Handle: object, Name: name},
		PersistentHandle: h,
	}.Execute(o)
	switch {
	case isBadAuth(err):
		return fmt.Errorf("the owner hierarchy has a password: TPM2_EvictControl: %w", err)
	case err != nil:
		return fmt.Errorf("TPM2_EvictControl: %w", err)
	default:
		return nil
	}
}

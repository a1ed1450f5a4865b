// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

const (
	// transientSlots is how many transient objects every TPM has room for (PC
	// Client Platform TPM Profile, TPM_PT_HR_TRANSIENT_MIN), and Linux's
	// resource manager for each of its clients.
	transientSlots = 3

	// maxResidents keys stay in the TPM between operations: an AK and a TIK.
	maxResidents = 2
)

// resident is a key that stayed in the TPM after the operation that loaded it.
type resident struct {
	key    *Key
	handle tpm2.TPMHandle
}

// errReplaced says that a handle was used that holds another object than it
// did: the TPM was reset, or another program flushed the key.
var errReplaced = errors.New("this is not the key's doing: another object has its place in the TPM")

// need is a key that an operation needs, and what for.
type need struct {
	what string
	key  *Key
}

// using runs use with keys loaded. Keys that stayed in the TPM since an earlier
// operation may be gone, or another object in their place: use must check whose
// doing its result is, and is then run again with the keys loaded anew.
func using[T any](o *operation, use func(keys []tpm2.AuthHandle) (T, error), needs ...need) (T, error) {
	var zero T
	for again := false; ; again = true {
		o.used = o.used[:0]
		handles := make([]tpm2.AuthHandle, 0, len(needs))
		stayed := false
		for _, n := range needs {
			stayed = stayed || o.findResident(n.key) >= 0
			h, err := o.load(n.key)
			if err != nil {
				return zero, fmt.Errorf("loading %s: %w", n.what, err)
			}
			handles = append(handles, h)
		}
		v, err := use(handles)
		if err == nil {
			return v, nil
		}
		if again || !stayed || !isAboutHandles(err) {
			return zero, authHint(err)
		}
		lost := false
		for _, n := range needs {
			gone, lerr := o.lost(n.key)
			if lerr != nil {
				return zero, errors.Join(err, lerr)
			}
			lost = lost || gone
		}
		if !lost {
			return zero, authHint(err)
		}
	}
}

// isAboutHandles reports whether another object at a handle may be behind err.
// Part 2, section 6.6: errors of format one are about a handle, a session or a
// parameter, and the warnings REFERENCE_H0 to _S6 about a handle that is void.
// Not so a TPM that is busy, full or in lockout.
func isAboutHandles(err error) bool {
	var rc tpm2.TPMRC
	if !errors.As(err, &rc) {
		return errors.Is(err, errReplaced)
	}
	return isFormatOne(err) || rc >= tpm2.TPMRCReferenceH0 && rc <= tpm2.TPMRCReferenceS6
}

// isFormatOne: Part 2, section 6.6.2, bit 7.
func isFormatOne(err error) bool {
	var rc tpm2.TPMRC
	return errors.As(err, &rc) && rc&0x80 != 0
}

// load makes k usable until the operation ends. The key stays in the TPM
// afterwards while there is room. On the way there is one more object in the
// TPM than afterwards.
func (o *operation) load(k *Key) (tpm2.AuthHandle, error) {
	if k.persistent != 0 {
		return k.handle(k.persistent), o.learnName(k, k.persistent)
	}
	if i := o.findResident(k); i >= 0 {
		r := o.tpm.residents[i]
		o.tpm.residents = append(slices.Delete(o.tpm.residents, i, i+1), r) // the last used comes last
		o.used = append(o.used, k)
		return k.handle(r.handle), nil
	}
	h, err := o.loadAnew(k)
	if err != nil {
		return tpm2.AuthHandle{}, err
	}
	// From now on it is not for the operation's end to flush.
	o.forget(h.Handle)
	o.tpm.residents = append(o.tpm.residents, resident{k, h.Handle})
	o.used = append(o.used, k)
	return h, nil
}

// loadAnew loads a key that is not in the TPM. The operation's end flushes it.
func (o *operation) loadAnew(k *Key) (tpm2.AuthHandle, error) {
	if k.saved != nil {
		rsp, err := tpm2.ContextLoad{Context: *k.saved}.Execute(o)
		if err == nil {
			return k.handle(rsp.LoadedHandle), nil
		}
		if !isResponse(err) || errors.Is(err, tpm2.TPMRCObjectMemory) {
			return tpm2.AuthHandle{}, fmt.Errorf("TPM2_ContextLoad: %w", roomHint(err))
		}
		// A TPM reset voids saved contexts (Part 1, section 30), not keys.
		k.saved = nil
	}
	parent, err := o.loadParent(k.parent)
	if err != nil {
		return tpm2.AuthHandle{}, err
	}
	rsp, err := tpm2.Load{
		ParentHandle: parent,
		InPrivate:    k.private,
		InPublic:     tpm2.BytesAs2B[tpm2.TPMTPublic](k.pubArea),
	}.Execute(o)
	if err != nil {
		return tpm2.AuthHandle{}, fmt.Errorf("TPM2_Load: %w", roomHint(err))
	}
	if slices.Contains(o.live, parent.Handle) {
		if err := o.flush(parent.Handle); err != nil {
			return tpm2.AuthHandle{}, fmt.Errorf("flushing the parent key: %w", err)
		}
	}
	if err := o.learnName(k, rsp.ObjectHandle); err != nil {
		return tpm2.AuthHandle{}, err
	}
	saved, err := tpm2.ContextSave{SaveHandle: rsp.ObjectHandle}.Execute(o)
	switch {
	case err == nil:
		k.saved = &saved.Context
	case !isResponse(err):
		return tpm2.AuthHandle{}, fmt.Errorf("TPM2_ContextSave: %w", err)
	}
	return k.handle(rsp.ObjectHandle), nil
}

// learnName asks for the Qualified Name of k, which is at h.
func (o *operation) learnName(k *Key, h tpm2.TPMHandle) error {
	if k.qualified != nil {
		return nil
	}
	rsp, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(o)
	if err != nil {
		return fmt.Errorf("TPM2_ReadPublic: %w", err)
	}
	if !bytes.Equal(rsp.Name.Buffer, k.name.Buffer) {
		return errReplaced
	}
	k.qualified = rsp.QualifiedName.Buffer
	return nil
}

// loadParent loads parent or, if that is nil, makes the storage root key.
func (o *operation) loadParent(parent *Key) (tpm2.AuthHandle, error) {
	if parent != nil {
		load := o.loadAnew // a parent needs no room afterwards
		if parent.persistent != 0 {
			load = o.load
		}
		h, err := load(parent)
		if err != nil {
			return tpm2.AuthHandle{}, fmt.Errorf("parent key: %w", err)
		}
		return h, nil
	}
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHOwner,
		InPublic:      tpm2.New2B(storageRootTemplate()),
	}.Execute(o)
	if isBadAuth(err) {
		return tpm2.AuthHandle{}, fmt.Errorf("storage root key: the owner hierarchy has a password: TPM2_CreatePrimary: %w", err)
	}
	if err != nil {
		return tpm2.AuthHandle{}, fmt.Errorf("storage root key: TPM2_CreatePrimary: %w", roomHint(err))
	}
	return tpm2.AuthHandle{Handle: rsp.ObjectHandle, Name: rsp.Name, Auth: tpm2.PasswordAuth(nil)}, nil
}

func (k *Key) handle(h tpm2.TPMHandle) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: h, Name: k.name, Auth: tpm2.PasswordAuth(nil)}
}

func (o *operation) findResident(k *Key) int {
	return slices.IndexFunc(o.tpm.residents, func(r resident) bool { return r.key == k })
}

// lost reports whether k, which stayed in the TPM, is not there any more, and
// takes it off the account if so.
func (o *operation) lost(k *Key) (bool, error) {
	i := o.findResident(k)
	if i < 0 {
		return false, nil
	}
	h := o.tpm.residents[i].handle
	rsp, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(o)
	if err != nil && !isResponse(err) {
		return false, fmt.Errorf("TPM2_ReadPublic: %w", err)
	}
	if err == nil && bytes.Equal(rsp.Name.Buffer, k.name.Buffer) {
		return false, nil
	}
	o.tpm.residents = slices.Delete(o.tpm.residents, i, i+1)
	return true, nil
}

// evict takes a key that stayed in the TPM out of it. What another program may
// have put in its place is left alone.
func (o *operation) evict(k *Key) error {
	gone, err := o.lost(k)
	if err == nil && !gone {
		err = o.flush(o.tpm.residents[o.findResident(k)].handle)
	}
	if err != nil {
		return fmt.Errorf("flushing a key that stayed in the TPM: %w", err)
	}
	return nil
}

// evictOne evicts the least recently used key that this operation does not
// need, if there is one.
func (o *operation) evictOne() (bool, error) {
	for _, r := range o.tpm.residents {
		if !slices.Contains(o.used, r.key) {
			return true, o.evict(r.key)
		}
	}
	return false, nil
}

// evictOthers evicts every key but those that this operation needs.
func (o *operation) evictOthers() error {
	for {
		evicted, err := o.evictOne()
		if err != nil || !evicted {
			return err
		}
	}
}

// makeRoom evicts keys until another object fits. A resource manager does not
// say that there is no room in a way that could be told from other failures, so
// the room is counted beforehand.
func (o *operation) makeRoom() error {
	for {
		n := len(o.tpm.residents)
		for _, h := range o.live {
			if h>>24 == tpm2.TPMHandle(tpm2.TPMHTTransient) {
				n++
			}
		}
		if n < transientSlots {
			return nil
		}
		if evicted, err := o.evictOne(); err != nil || !evicted {
			return err // without room the TPM says so
		}
	}
}

// roomHint explains what others left in the TPM.
func roomHint(err error) error {
	if errors.Is(err, tpm2.TPMRCObjectMemory) {
		return fmt.Errorf("objects of other programs fill the TPM "+
			"(use a resource manager, /dev/tpmrm0, or flush them with tpm2_flushcontext -t): %w", err)
	}
	return err
}

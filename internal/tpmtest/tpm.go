// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmtest

import (
	"context"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/veraison/attested-tls/attester"
)

// HashAlg is the TPM_ALG_ID of SHA-1, SHA-256, SHA-384 or SHA-512.
func HashAlg(h crypto.Hash) (tpm2.TPMAlgID, error) {
	switch h {
	case crypto.SHA1:
		return tpm2.TPMAlgSHA1, nil
	case crypto.SHA256:
		return tpm2.TPMAlgSHA256, nil
	case crypto.SHA384:
		return tpm2.TPMAlgSHA384, nil
	case crypto.SHA512:
		return tpm2.TPMAlgSHA512, nil
	default:
		return 0, fmt.Errorf("hash %v is not one of a TPM", h)
	}
}

// KeyAlgs are all algorithms that package attester knows, whether or not a TPM
// has them.
func KeyAlgs() []attester.KeyAlg {
	var algs []attester.KeyAlg
	for _, s := range []struct {
		scheme attester.Scheme
		bits   []int
	}{
		{attester.ECDSA, []int{256, 384, 521}},
		{attester.RSASSA, []int{2048, 3072, 4096}},
		{attester.RSAPSS, []int{2048, 3072, 4096}},
	} {
		for _, bits := range s.bits {
			for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
				algs = append(algs, attester.KeyAlg{Scheme: s.scheme, Bits: bits, Hash: hash})
			}
		}
	}
	return algs
}

// ExtendPCR extends a PCR of one bank with digest, which has the bank's size
// (Part 3, TPM2_PCR_Extend).
func ExtendPCR(ctx context.Context, t *attester.TPM, bank crypto.Hash, pcr int, digest []byte) error {
	alg, err := HashAlg(bank)
	if err != nil {
		return err
	}
	if len(digest) != bank.Size() {
		return fmt.Errorf("extending PCR %d: digest of %d bytes, want %d", pcr, len(digest), bank.Size())
	}
	err = t.Do(ctx, func(tpm transport.TPM, _ []tpm2.AuthHandle) error {
		_, err := tpm2.PCRExtend{
			PCRHandle: tpm2.AuthHandle{
				Handle: tpm2.TPMHandle(pcr),
				Name:   tpm2.HandleName(tpm2.TPMHandle(pcr)),
				Auth:   tpm2.PasswordAuth(nil),
			},
			Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: alg, Digest: digest}}},
		}.Execute(tpm)
		return err
	})
	if err != nil {
		return fmt.Errorf("extending PCR %d: %w", pcr, err)
	}
	return nil
}

// PCRDigest is the digest that a quote over sel has when the PCRs have values
// : the hash of the AK's scheme over
// the banks in sel's order, PCRs ascending.
func PCRDigest(h crypto.Hash, sel attester.Selection, values map[crypto.Hash]map[int][]byte) []byte {
	d := h.New()
	for _, bank := range sel {
		for _, pcr := range slices.Sorted(slices.Values(bank.PCRs)) {
			d.Write(values[bank.Bank][pcr])
		}
	}
	return d.Sum(nil)
}

// Handles lists the transient objects and the sessions, loaded and saved, that
// are in the TPM (Part 2, section 6.12: TPM_CAP_HANDLES). Between operations
// there should be none.
func Handles(ctx context.Context, t *attester.TPM) ([]tpm2.TPMHandle, error) {
	var handles []tpm2.TPMHandle
	err := t.Do(ctx, func(tpm transport.TPM, _ []tpm2.AuthHandle) error {
		for _, typ := range []tpm2.TPMHT{tpm2.TPMHTTransient, tpm2.TPMHTLoadedSession, tpm2.TPMHTSavedSession} {
			rsp, err := tpm2.GetCapability{
				Capability:    tpm2.TPMCapHandles,
				Property:      uint32(typ) << 24,
				PropertyCount: 64,
			}.Execute(tpm)
			if err != nil {
				return err
			}
			list, err := rsp.CapabilityData.Data.Handles()
			if err != nil {
				return err
			}
			handles = append(handles, list.Handle...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing the TPM's handles: %w", err)
	}
	return handles, nil
}

// AllocateBanks has the TPM keep the PCRs of these banks alone from its next
// reset on (Part 3, TPM2_PCR_Allocate). The platform hierarchy must have no
// password, as in a new swtpm.
func AllocateBanks(ctx context.Context, t *attester.TPM, banks ...crypto.Hash) error {
	var list tpm2.TPMLPCRSelection
	for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		alg, err := HashAlg(h)
		if err != nil {
			return err
		}
		mask := []byte{0, 0, 0}
		if slices.Contains(banks, h) {
			mask = []byte{0xff, 0xff, 0xff}
		}
		list.PCRSelections = append(list.PCRSelections, tpm2.TPMSPCRSelection{Hash: alg, PCRSelect: mask})
	}
	// go-tpm does not have the command.
	body := binary.BigEndian.AppendUint32(nil, uint32(tpm2.TPMRHPlatform))
	auth := tpm2.Marshal(tpm2.TPMSAuthCommand{Handle: tpm2.TPMRSPW})
	body = binary.BigEndian.AppendUint32(body, uint32(len(auth)))
	body = append(body, auth...)
	body = append(body, tpm2.Marshal(list)...)
	command := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTSessions))
	command = binary.BigEndian.AppendUint32(command, uint32(10+len(body)))
	command = binary.BigEndian.AppendUint32(command, uint32(tpm2.TPMCCPCRAllocate))
	command = append(command, body...)

	err := t.Do(ctx, func(tpm transport.TPM, _ []tpm2.AuthHandle) error {
		rsp, err := tpm.Send(command)
		if err != nil {
			return err
		}
		if rc := tpm2.TPMRC(binary.BigEndian.Uint32(rsp[6:])); rc != tpm2.TPMRCSuccess {
			return rc
		}
		// Header, parameter size, allocationSuccess.
		if len(rsp) < 15 || rsp[14] != 1 {
			return errors.New("the TPM cannot allocate these banks")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("TPM2_PCR_Allocate: %w", err)
	}
	return nil
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// readAttempts bounds how often PCRs that change while they are read are read
// again.
const readAttempts = 8

// ReadPCRs reads the selected PCRs, by bank and index, all of them as they
// were at one moment. The values are what the TPM says, unsigned: to make
// reference values from on a machine in a known state, not to decide by.
func (t *TPM) ReadPCRs(ctx context.Context, sel Selection) (map[crypto.Hash]map[int][]byte, error) {
	selection, err := sel.marshal()
	if err != nil {
		return nil, fmt.Errorf("reading PCRs: %w", err)
	}
	values, err := run(ctx, t, func(o *operation) (map[crypto.Hash]map[int][]byte, error) {
		for range readAttempts {
			values, err := o.readPCRs(selection)
			if !errors.Is(err, errPCRsChanged) {
				return values, err
			}
		}
		return nil, errPCRsChanged
	})
	if err != nil {
		return nil, fmt.Errorf("reading PCRs: %w", err)
	}
	return values, nil
}

var errPCRsChanged = errors.New("the PCRs change while they are read")

// readPCRs repeats TPM2_PCR_Read (Part 3), which returns eight digests at most
// and says which.
func (o *operation) readPCRs(want tpm2.TPMLPCRSelection) (map[crypto.Hash]map[int][]byte, error) {
	values := make(map[crypto.Hash]map[int][]byte)
	var rest []tpm2.TPMSPCRSelection
	for _, bank := range want.PCRSelections {
		rest = append(rest, tpm2.TPMSPCRSelection{Hash: bank.Hash, PCRSelect: append([]byte(nil), bank.PCRSelect...)})
	}
	var counter uint32
	for first := true; len(rest) > 0; first = false {
		rsp, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: rest}}.Execute(o)
		if err != nil {
			return nil, fmt.Errorf("TPM2_PCR_Read: %w", o.explainBanks(err, want))
		}
		if first {
			counter = rsp.PCRUpdateCounter
		} else if counter != rsp.PCRUpdateCounter {
			return nil, errPCRsChanged
		}
		digests := rsp.PCRValues.Digests
		if len(digests) == 0 {
			return nil, o.wrongSelection(tpm2.TPMLPCRSelection{}, tpm2.TPMLPCRSelection{PCRSelections: rest})
		}
		const mismatch = "TPM2_PCR_Read: the values are not those of the PCRs that the TPM names"
		for _, bank := range rsp.PCRSelectionOut.PCRSelections {
			hash, err := bank.Hash.Hash()
			if err != nil {
				return nil, fmt.Errorf("TPM2_PCR_Read: %w", err)
			}
			for _, pcr := range selected(bank.PCRSelect) {
				if len(digests) == 0 || len(digests[0].Buffer) != hash.Size() || !deselect(rest, bank.Hash, pcr) {
					return nil, errors.New(mismatch)
				}
				if values[hash] == nil {
					values[hash] = make(map[int][]byte)
				}
				values[hash][pcr] = digests[0].Buffer
				digests = digests[1:]
			}
		}
		if len(digests) != 0 {
			return nil, errors.New(mismatch)
		}
		for len(rest) > 0 && len(selected(rest[0].PCRSelect)) == 0 {
			rest = rest[1:]
		}
	}
	return values, nil
}

// deselect takes a PCR out of a selection; false if it is not in there.
func deselect(list []tpm2.TPMSPCRSelection, bank tpm2.TPMAlgID, pcr int) bool {
	for _, b := range list {
		if b.Hash == bank && pcr/8 < len(b.PCRSelect) && b.PCRSelect[pcr/8]&(1<<(pcr%8)) != 0 {
			b.PCRSelect[pcr/8] &^= 1 << (pcr % 8)
			return true
		}
	}
	return false
}

// wrongSelection says that the TPM gave other PCRs than those asked for, and
// which it has.
func (o *operation) wrongSelection(got, want tpm2.TPMLPCRSelection) error {
	allocated := "unknown"
	if list, err := o.allocated(); err == nil {
		allocated = describe(list)
	}
	return fmt.Errorf("the TPM lacks PCRs: asked for %s, got %s, allocated are %s",
		describe(want), describe(got), allocated)
}

// explainBanks says which banks the TPM has when it does not know one that was
// asked for.
func (o *operation) explainBanks(err error, want tpm2.TPMLPCRSelection) error {
	if !errors.Is(err, tpm2.TPMRCHash) {
		return err
	}
	return fmt.Errorf("%w: %w", o.wrongSelection(tpm2.TPMLPCRSelection{}, want), err)
}

// allocated asks for the PCRs that the TPM has (Part 2, section 6.12:
// TPM_CAP_PCRS).
func (o *operation) allocated() (tpm2.TPMLPCRSelection, error) {
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapPCRs, PropertyCount: 1}.Execute(o)
	if err != nil {
		return tpm2.TPMLPCRSelection{}, err
	}
	list, err := rsp.CapabilityData.Data.AssignedPCR()
	if err != nil {
		return tpm2.TPMLPCRSelection{}, err
	}
	return *list, nil
}

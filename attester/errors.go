// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

var (
	// ErrClosed is the error of an operation on a TPM that was closed.
	ErrClosed = errors.New("the TPM is closed")

	// ErrLockout says that the TPM protects its passwords against guessing and
	// refuses for now. Trying again at once makes nothing better: it ends by
	// itself, after minutes or hours, or with tpm2_dictionarylockout.
	ErrLockout = errors.New("the TPM is in lockout")

	// ErrPassword says that a key cannot be used without its password, which
	// this package does not have.
	ErrPassword = errors.New("the key needs its password")

	// ErrPolicy says that a key can be used under its policy only, which this
	// package does not follow.
	ErrPolicy = errors.New("the key needs its policy")
)

// lockoutHint makes an error of a TPM in lockout an ErrLockout.
func lockoutHint(err error) error {
	if errors.Is(err, tpm2.TPMRCLockout) && !errors.Is(err, ErrLockout) {
		return fmt.Errorf("%w: %w", ErrLockout, err)
	}
	return err
}

// authHint says what a key's use lacked.
func authHint(err error) error {
	switch {
	case isBadAuth(err), errors.Is(err, tpm2.TPMRCAuthMissing):
		return fmt.Errorf("%w: %w", ErrPassword, err)
	case errors.Is(err, tpm2.TPMRCAuthUnavailable), errors.Is(err, tpm2.TPMRCPolicyFail):
		return fmt.Errorf("%w: %w", ErrPolicy, err)
	default:
		return err
	}
}

// isBadAuth: Part 3, section 5.6: AUTH_FAIL is counted against the password's
// guessing, BAD_AUTH is not.
func isBadAuth(err error) bool {
	return errors.Is(err, tpm2.TPMRCAuthFail) || errors.Is(err, tpm2.TPMRCBadAuth)
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/attester"
)

const (
	defaultTPM = "device:/dev/tpmrm0"
	tpmEnv     = "ATLS_TPM"
)

// tpmFlags name a TPM.
type tpmFlags struct{ uri string }

func (f *tpmFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.uri, "tpm", "", "the TPM: device:PATH, swtpm:unix:PATH, swtpm:tcp:HOST:PORT, or simulator:,\n"+
		"whose keys are gone when the command ends (default $"+tpmEnv+", else "+defaultTPM+")")
}

// withTPM opens the TPM that the flags name for as long as use runs.
func (a *app) withTPM(ctx context.Context, f tpmFlags, use func(*attester.TPM) error) error {
	uri := cmp.Or(f.uri, a.env.Getenv(tpmEnv), defaultTPM)
	scheme, _, _ := strings.Cut(uri, ":")
	if !slices.Contains([]string{"device", "swtpm", "simulator"}, scheme) {
		return usageErrorf("TPM %q is not known: want device:PATH, swtpm:unix:PATH, swtpm:tcp:HOST:PORT or simulator:", uri)
	}
	t, err := attester.Open(ctx, uri, simulators()...)
	if err != nil {
		ee := tpmErrorf("%w", err)
		if f.uri == "" && a.env.Getenv(tpmEnv) == "" && errors.Is(err, fs.ErrNotExist) {
			return ee.withHint("this machine seems to have no TPM: name another one with --tpm or $%s", tpmEnv)
		}
		return ee
	}
	err = use(t)
	if cerr := t.Close(); err == nil && cerr != nil {
		return tpmErrorf("close the TPM: %w", cerr)
	}
	return err
}

// loadKey takes up a key from a key file or a persistent handle.
func (a *app) loadKey(ctx context.Context, t *attester.TPM, where string) (*attester.Key, error) {
	h, isHandle, err := parseHandle(where)
	if err != nil {
		return nil, err
	}
	if isHandle {
		k, err := t.LoadHandle(ctx, h)
		if err != nil {
			return nil, tpmErrorf("key at %s: %w", where, err)
		}
		return k, nil
	}
	data, err := a.readFile(where)
	if err != nil {
		return nil, err
	}
	k, err := t.LoadKeyFile(ctx, data)
	if err != nil {
		return nil, keyError(where, err)
	}
	return k, nil
}

// loadAK takes up an attestation key.
func (a *app) loadAK(ctx context.Context, t *attester.TPM, where string) (*attester.AK, error) {
	k, err := a.loadKey(ctx, t, where)
	if err != nil {
		return nil, err
	}
	ak, err := k.AK(ctx)
	if err != nil {
		return nil, keyError(where, err)
	}
	return ak, nil
}

// loadTIK takes up a TLS identity key.
func (a *app) loadTIK(ctx context.Context, t *attester.TPM, where string) (*attester.TIK, error) {
	k, err := a.loadKey(ctx, t, where)
	if err != nil {
		return nil, err
	}
	tik, err := k.TIK(ctx)
	if err != nil {
		return nil, keyError(where, err)
	}
	return tik, nil
}

// keyError tells a file that is at fault from a TPM that is.
func keyError(where string, err error) *exitError {
	var rc tpm2.TPMRC
	switch {
	case errors.Is(err, attester.ErrNotAK):
		return inputErrorf("%s: %w", where, err).withHint(`"atls key create ak" makes an attestation key`)
	case errors.Is(err, attester.ErrNotTIK):
		return inputErrorf("%s: %w", where, err).withHint(`"atls key create tik" makes a TLS identity key`)
	case errors.Is(err, tpm2.TPMRCIntegrity):
		return inputErrorf("%s: %w", where, err).withHint("keys work in the TPM that made them only, and with the parent that they were made below")
	case errors.As(err, &rc), errors.Is(err, attester.ErrLockout), errors.Is(err, attester.ErrPassword),
		errors.Is(err, attester.ErrPolicy), errors.Is(err, attester.ErrUnsupportedAlgorithm), errors.Is(err, attester.ErrClosed),
		is[*fs.PathError](err), errors.Is(err, io.EOF), errors.Is(err, context.Canceled):
		return tpmErrorf("%s: %w", where, err)
	}
	return inputErrorf("%s: %w", where, err)
}

// parseHandle takes what starts with 0x for a persistent handle, as package
// attester does; a file of such a name is ./0x81010002.
func parseHandle(where string) (h tpm2.TPMHandle, isHandle bool, err error) {
	digits, ok := strings.CutPrefix(where, "0x")
	if !ok {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || n>>24 != uint64(tpm2.TPMHTPersistent) {
		return 0, false, usageErrorf("%s is not a persistent handle: want 0x81000000 to 0x81ffffff", where)
	}
	return tpm2.TPMHandle(n), true, nil
}

// maxFile is more than anything has that the program reads.
const maxFile = 4 << 20

// readFile reads a file, or standard input for "-".
func (a *app) readFile(path string) ([]byte, error) {
	var r io.Reader = a.env.Stdin
	name := "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, inputErrorf("%w", err)
		}
		defer f.Close()
		r, name = f, path
	}
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, inputErrorf("read %s: %w", name, err)
	}
	if len(data) > maxFile {
		return nil, inputErrorf("%s has more than %d MiB", name, maxFile>>20)
	}
	return data, nil
}

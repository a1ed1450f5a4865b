// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/attester"
)

func (a *app) keyImportCommand() *cobra.Command {
	var (
		tpm    tpmFlags
		place  placeFlags
		parent string
	)
	cmd := &cobra.Command{
		Use:   "import ak|tik (PUBLIC PRIVATE | KEYFILE) (-o FILE | --handle HANDLE)",
		Short: "Take up a key that another tool made in the TPM",
		Long: `Take up a key that another tool made in this TPM, and keep it where this program
finds it: as a TSS2 key file or at a persistent handle.

PUBLIC and PRIVATE are a TPM2B_PUBLIC and a TPM2B_PRIVATE as tpm2_create writes
them. They were made below the storage root key that the file format prescribes
(an ECC P-256 primary key of the owner hierarchy) unless --parent says otherwise.
KEYFILE is a TSS2 key file, as tpm2_encodeobject and OpenSSL write it.

The key is loaded and tried. One that is not restricted, fixed to its TPM and a
signing key is not taken for an AK, whatever it is called.`,
		Example: `  tpm2_create -C 0x81000001 -G ecc256:ecdsa-sha256:null -u ak.pub -r ak.priv \
      -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign'
  atls key import ak ak.pub ak.priv --parent 0x81000001 -o ak.pem
  atls key import tik tik.pem --handle 0x81010003`,
		Args:      roleArgs(1, 2),
		ValidArgs: []string{"ak", "tik"},
	}
	tpm.register(cmd)
	cmd.Flags().StringVar(&parent, "parent", "", "persistent handle of the key below which PUBLIC and PRIVATE were made")
	place.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := place.check(); err != nil {
			return err
		}
		if parent != "" && len(args) == 2 {
			return usageErrorf("--parent: a key file names its parent itself")
		}
		if parent != "" {
			if _, isHandle, err := parseHandle(parent); err != nil || !isHandle {
				return usageErrorf("--parent: %s is not a persistent handle: want 0x81000000 to 0x81ffffff", parent)
			}
		}
		ctx := cmd.Context()
		return a.withTPM(ctx, tpm, func(t *attester.TPM) error {
			k, err := a.importKey(ctx, t, args[1:], parent)
			if err != nil {
				return err
			}
			if args[0] == "ak" {
				_, err = k.AK(ctx)
			} else {
				_, err = k.TIK(ctx)
			}
			if err != nil {
				return keyError(args[1], err)
			}
			return a.keep(ctx, t, k, place)
		})
	}
	return cmd
}

// importKey loads a key from a key file, or from its two parts.
func (a *app) importKey(ctx context.Context, t *attester.TPM, files []string, parent string) (*attester.Key, error) {
	if len(files) == 1 {
		return a.loadKey(ctx, t, files[0])
	}
	public, err := a.readTPM2B(files[0], "TPM2B_PUBLIC")
	if err != nil {
		return nil, err
	}
	private, err := a.readTPM2B(files[1], "TPM2B_PRIVATE")
	if err != nil {
		return nil, err
	}
	var below *attester.Key
	if parent != "" {
		if below, err = a.loadKey(ctx, t, parent); err != nil {
			return nil, err
		}
	}
	k, err := t.LoadKey(ctx, below, public, private)
	if err != nil {
		return nil, keyError(files[0], err)
	}
	return k, nil
}

func (a *app) readTPM2B(path, what string) ([]byte, error) {
	data, err := a.readFile(path)
	if err != nil {
		return nil, err
	}
	content, err := parseTPM2B(data)
	if err != nil {
		return nil, inputErrorf("%s: it is no %s: %w", path, what, err)
	}
	return content, nil
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/attester"
)

func (a *app) keyCommand() *cobra.Command {
	return group("key", "Make and show the keys of a TPM",
		`Make, import and show the two keys that attested TLS needs in a TPM: an
attestation key (AK), which signs evidence and whose public part is provisioned
at the verifier, and a TLS identity key (TIK), which signs handshakes.

A key is kept in a TSS2 key file (PEM), which only its TPM can use and which
OpenSSL's tpm2 provider and tpm2-tools read, or in the TPM at a persistent
handle (0x81000000 to 0x81ffffff).`,
		a.keyCreateCommand(), a.keyShowCommand(), a.keyImportCommand(), a.keyCSRCommand())
}

// placeFlags say where a key is kept: in a file or at a handle.
type placeFlags struct {
	outputFlags
	handle string
	json   bool
}

func (f *placeFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.path, "output", "o", "", `write a key file; "-" is standard output`)
	cmd.Flags().StringVar(&f.handle, "handle", "", "keep the key in the TPM at this persistent handle, such as 0x81010002")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace what is there")
	cmd.MarkFlagsOneRequired("output", "handle")
	cmd.MarkFlagsMutuallyExclusive("output", "handle")
	jsonFlag(cmd, &f.json)
}

func (f *placeFlags) check() error {
	if f.handle == "" {
		return f.outputFlags.check()
	}
	_, isHandle, err := parseHandle(f.handle)
	if err == nil && !isHandle {
		err = usageErrorf("%s is not a persistent handle: want 0x81000000 to 0x81ffffff", f.handle)
	}
	return err
}

// keep puts the key where the flags say, and shows it.
func (a *app) keep(ctx context.Context, t *attester.TPM, k *attester.Key, f placeFlags) error {
	if f.handle == "" {
		data, err := k.KeyFile()
		if err != nil {
			return err
		}
		if err := a.write(f.outputFlags, data, 0o600); err != nil || f.path == "-" {
			return err
		}
		return a.showKey(k, "TSS2 key file "+f.path, f.json)
	}
	save := t.SaveKey
	if f.force {
		save = t.ReplaceKey
	}
	err := save(ctx, k, f.handle)
	switch {
	case errors.Is(err, fs.ErrExist):
		return inputErrorf("%w", err).withHint("--force replaces the key that is there, which is then gone")
	case err != nil:
		return tpmErrorf("%w", err)
	}
	return a.showKey(k, "persistent handle "+f.handle, f.json)
}

func (a *app) showKey(k *attester.Key, kind string, asJSON bool) error {
	info, _, err := tpmKeyInfo(kind, k.PubArea())
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(info)
	}
	info.print(&a.out, false)
	return nil
}

// roleArgs wants ak or tik, and n more arguments.
func roleArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return usageErrorf("%q needs to know which key: ak or tik", cmd.CommandPath())
		case args[0] != "ak" && args[0] != "tik":
			return usageErrorf("%q is no kind of key: want ak or tik", args[0])
		case len(args)-1 < least || len(args)-1 > most:
			return usageErrorf("%q takes %s, not %d more", cmd.UseLine(), "ak or tik and what follows there", len(args)-1)
		}
		return nil
	}
}

func (a *app) keyCreateCommand() *cobra.Command {
	var (
		tpm   tpmFlags
		place placeFlags
		alg   string
	)
	cmd := &cobra.Command{
		Use:   "create ak|tik (-o FILE | --handle HANDLE)",
		Short: "Make an attestation key or a TLS identity key in a TPM",
		Long: `Make a key in a TPM: an attestation key (ak), restricted to signing what the TPM
itself made, or a TLS identity key (tik). Both are fixed to the TPM and made in
it. A key is tried before it is kept.

Algorithms: ecdsa-p256-sha256, ecdsa-p384-sha384, ecdsa-p521-sha512,
rsapss-2048-sha256, rsassa-2048-sha256 and their like with 3072 and 4096 bits,
and for a TIK that has to serve TLS 1.2 as well rsa-2048. Not every TPM has all.`,
		Example: `  atls key create ak -o ak.pem
  atls key create tik --alg ecdsa-p384-sha384 -o tik.pem
  atls key create ak --tpm swtpm:unix:/run/tpm.sock --handle 0x81010002`,
		Args:      roleArgs(0, 0),
		ValidArgs: []string{"ak", "tik"},
	}
	tpm.register(cmd)
	cmd.Flags().StringVar(&alg, "alg", "ecdsa-p256-sha256", "the key's algorithm")
	oneOf(cmd, "alg", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "ecdsa-p521-sha512",
		"rsapss-2048-sha256", "rsapss-3072-sha256", "rsapss-4096-sha256", "rsassa-2048-sha256", "rsassa-3072-sha256", "rsassa-4096-sha256", "rsa-2048")
	place.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		keyAlg, err := attester.ParseKeyAlg(alg)
		if err != nil {
			return usageErrorf("--alg: %w", err)
		}
		if args[0] == "ak" && keyAlg.Scheme == attester.RSA {
			return usageErrorf("--alg %s: an attestation key needs a scheme", alg).withHint("use rsassa or rsapss in place of rsa")
		}
		if err := place.check(); err != nil {
			return err
		}
		return a.withTPM(ctx, tpm, func(t *attester.TPM) error {
			k, err := createKey(ctx, t, args[0], keyAlg)
			if err != nil {
				return tpmErrorf("%w", err)
			}
			return a.keep(ctx, t, k, place)
		})
	}
	return cmd
}

func createKey(ctx context.Context, t *attester.TPM, role string, alg attester.KeyAlg) (*attester.Key, error) {
	if role == "tik" {
		tik, err := t.CreateTIK(ctx, alg)
		return tik.Key(), err
	}
	ak, err := t.CreateAK(ctx, alg)
	if err == nil {
		_, err = ak.Key().AK(ctx) // try it
	}
	return ak.Key(), err
}

func (a *app) keyShowCommand() *cobra.Command {
	var (
		tpm                      tpmFlags
		asJSON, pemOnly, kidOnly bool
	)
	cmd := &cobra.Command{
		Use:   "show KEY",
		Short: "Show a key: its identifier, algorithm, attributes and public key",
		Long: `Show a key: its identifier (kid) in evidence and endorsements, its algorithm, its
attributes in words, its TPM name, and its public key.

KEY is a TSS2 key file, a TPM2B_PUBLIC as tpm2_create and tpm2_readpublic write
it, a PEM public key, or a persistent handle. For a handle alone the TPM is asked.`,
		Example: `  atls key show ak.pem
  atls key show --pem 0x81010002 > ak.pub
  atls key show --json tik.pem`,
		Args: cobra.ExactArgs(1),
	}
	tpm.register(cmd)
	jsonFlag(cmd, &asJSON)
	cmd.Flags().BoolVar(&pemOnly, "pem", false, "print the public key alone, as PEM")
	cmd.Flags().BoolVar(&kidOnly, "kid", false, "print the key identifier alone, in hexadecimal")
	cmd.MarkFlagsMutuallyExclusive("json", "pem", "kid")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		info, err := a.lookAtKey(cmd.Context(), tpm, args[0])
		if err != nil {
			return err
		}
		switch {
		case asJSON:
			return a.printJSON(info)
		case pemOnly:
			fmt.Fprint(&a.out, info.PEM)
		case kidOnly:
			fmt.Fprintln(&a.out, info.KID)
		default:
			info.print(&a.out, true)
		}
		return nil
	}
	return cmd
}

func (a *app) lookAtKey(ctx context.Context, tpm tpmFlags, where string) (*keyInfo, error) {
	_, isHandle, err := parseHandle(where)
	if err != nil {
		return nil, err
	}
	if !isHandle {
		info, _, err := a.publicKeyFile(where)
		return info, err
	}
	var info *keyInfo
	err = a.withTPM(ctx, tpm, func(t *attester.TPM) error {
		k, err := a.loadKey(ctx, t, where)
		if err != nil {
			return err
		}
		info, _, err = tpmKeyInfo("persistent handle "+where, k.PubArea())
		return err
	})
	return info, err
}

// publicKeyFile reads the public key of a file of any kind that has one.
func (a *app) publicKeyFile(path string) (*keyInfo, crypto.PublicKey, error) {
	data, err := a.readFile(path)
	if err != nil {
		return nil, nil, err
	}
	info, key, err := parsePublicKey(data)
	if err != nil {
		return nil, nil, inputErrorf("%s: %w", path, err).
			withHint("a key is a TSS2 key file, a PEM public key or certificate, or a TPM2B_PUBLIC")
	}
	return info, key, nil
}

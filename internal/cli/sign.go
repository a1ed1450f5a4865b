// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/endorsements/signed"
)

func (a *app) signCommand() *cobra.Command {
	var (
		tpm                 tpmFlags
		out                 outputFlags
		key, chain, keyID   string
		signer              endorsements.Signer
		notBefore, notAfter string
	)
	cmd := &cobra.Command{
		Use:   "sign FILE --key KEY --signer NAME -o FILE",
		Short: "Sign a CoRIM",
		Long: `Sign an unsigned CoRIM of either dialect (COSE_Sign1), as it is.

KEY is a private key in PEM (PKCS #8 or SEC 1, without a password): ECDSA on P-256,
P-384 or P-521, or Ed25519. It may also be a signing key in the TPM: a TSS2 key
file or a persistent handle. Certificates that lead from the key to a root go into
the message with --chain; Veraison since v0.0.2603 wants them.`,
		Example: `  atls sign machine.cbor --key signer.pem --signer 'Example Inc.' -o machine.cose
  atls sign machine.cbor --key signer.pem --chain signer-chain.pem --signer 'Example Inc.' \
      --not-after 2027-01-31 -o machine.cose`,
		Args: cobra.ExactArgs(1),
	}
	fs := cmd.Flags()
	fs.StringVar(&key, "key", "", "the signing key: PEM, a TSS2 key file or a persistent handle (required)")
	tpm.register(cmd)
	fs.StringVar(&chain, "chain", "", "PEM certificates, the key's own first")
	fs.StringVar(&keyID, "key-id", "", "name the key so, in hexadecimal, for those who trust it by itself")
	fs.StringVar(&signer.Name, "signer", "", "the organisation that signs (required)")
	fs.StringVar(&signer.URI, "signer-uri", "", "a URI that identifies it")
	fs.StringVar(&notBefore, "not-before", "", "when the signature begins to be valid, such as 2026-01-31 or 2026-01-31T12:00:00Z")
	fs.StringVar(&notAfter, "not-after", "", "when the signature ceases to be valid")
	out.register(cmd, "")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		o := signed.Options{Signer: signer}
		var err error
		switch {
		case key == "":
			return usageErrorf("--key is needed")
		case signer.Name == "":
			return usageErrorf("--signer is needed: the name of the organisation that signs")
		}
		if o.KeyID, err = hex.DecodeString(keyID); err != nil {
			return usageErrorf("--key-id: %q is not hexadecimal", keyID)
		}
		if o.NotBefore, err = parseTime(notBefore); err != nil {
			return usageErrorf("--not-before: %w", err)
		}
		if o.NotAfter, err = parseTime(notAfter); err != nil {
			return usageErrorf("--not-after: %w", err)
		}
		if !o.NotBefore.IsZero() && !o.NotAfter.After(o.NotBefore) {
			return usageErrorf("--not-before needs a later --not-after")
		}
		if err := out.check(); err != nil {
			return err
		}
		if err := a.checkBinary(out, true); err != nil {
			return err
		}
		data, err := a.readFile(args[0])
		if err != nil {
			return err
		}
		if _, err := endorsements.Decode(data); err != nil {
			return inputErrorf("%s: %w", args[0], err)
		}
		if chain != "" {
			if o.Chain, err = a.readCertificates(chain); err != nil {
				return err
			}
		}
		return a.withSigner(ctx, tpm, key, func(s crypto.Signer) error {
			message, err := signed.Sign(data, s, o)
			if ee := asExitError(err); ee != nil {
				return exitErrorf(ee.code, "sign %s: %w", args[0], err)
			}
			if err != nil {
				return inputErrorf("sign %s: %w", args[0], err)
			}
			return a.write(out, message, 0o644)
		})
	}
	return cmd
}

// withSigner has a private key for as long as use runs.
func (a *app) withSigner(ctx context.Context, tpm tpmFlags, where string, use func(crypto.Signer) error) error {
	_, isHandle, err := parseHandle(where)
	if err != nil {
		return err
	}
	if !isHandle {
		data, err := a.readFile(where)
		if err != nil {
			return err
		}
		if block, _ := pem.Decode(data); block == nil || block.Type != keyFilePEM {
			key, err := parsePrivateKey(block)
			if err != nil {
				return inputErrorf("%s: %w", where, err)
			}
			return use(key)
		}
	}
	return a.withTPM(ctx, tpm, func(t *attester.TPM) error {
		tik, err := a.loadTIK(ctx, t, where)
		if err != nil {
			return err
		}
		return use(tpmSigner{tik.Signer().WithContext(ctx)})
	})
}

// tpmSigner is a signer whose failures are the TPM's.
type tpmSigner struct{ crypto.Signer }

func (s tpmSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := s.Signer.Sign(random, digest, opts)
	if err != nil {
		return nil, tpmErrorf("%w", err)
	}
	return signature, nil
}

// parsePrivateKey never repeats what it was given: it may be a key.
func parsePrivateKey(block *pem.Block) (crypto.Signer, error) {
	if block == nil {
		return nil, errors.New("it holds no private key in PEM")
	}
	switch block.Type {
	case "PRIVATE KEY":
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("private key: %w", err)
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, errors.New("the private key is not one that signs")
		}
		return signer, nil
	case "EC PRIVATE KEY":
		key, err := x509.ParseECPrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("private key: %w", err)
		}
		return key, nil
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("the private key needs a password, which this program does not ask for: openssl pkcs8 takes it off")
	}
	return nil, fmt.Errorf("a PEM block %.40q, want a PRIVATE KEY", block.Type)
}

// readCertificates reads PEM certificates as DER, and nothing else.
func (a *app) readCertificates(path string) ([][]byte, error) {
	rest, err := a.readFile(path)
	if err != nil {
		return nil, err
	}
	var chain [][]byte
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, inputErrorf("%s: a PEM block %.40q, want certificates alone", path, block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, inputErrorf("%s: certificate %d: %w", path, len(chain)+1, err)
		}
		chain = append(chain, block.Bytes)
	}
	if len(chain) == 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, inputErrorf("%s: want PEM certificates and nothing else", path)
	}
	return chain, nil
}

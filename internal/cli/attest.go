// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
)

// attestFlags name the keys and PCRs that evidence is made with.
type attestFlags struct {
	tpm           tpmFlags
	ak, tik, pcrs string
}

func (f *attestFlags) register(cmd *cobra.Command) {
	f.tpm.register(cmd)
	cmd.Flags().StringVar(&f.ak, "ak", "", "the attestation key: a key file or a persistent handle")
	cmd.Flags().StringVar(&f.tik, "tik", "", "the TLS identity key: a key file or a persistent handle")
	pcrsFlag(cmd, &f.pcrs)
}

func pcrsFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "pcrs", "", "PCRs as tpm2-tools write them, such as sha256:0,1,7+sha384:0")
}

func parsePCRs(s string) (attester.Selection, error) {
	sel, err := attester.ParseSelection(s)
	if err != nil {
		return nil, usageErrorf("--pcrs: %w", err).withHint("want banks and PCRs, such as sha256:0,1,7+sha384:0")
	}
	return sel, nil
}

// given reports whether any of the flags is.
func (f *attestFlags) given() bool { return f.ak != "" || f.tik != "" || f.pcrs != "" }

// need says which of the flags are missing.
func (f *attestFlags) need() error {
	var missing []string
	for _, m := range []struct{ name, value string }{{"--ak", f.ak}, {"--tik", f.tik}, {"--pcrs", f.pcrs}} {
		if m.value == "" {
			missing = append(missing, m.name)
		}
	}
	if len(missing) > 0 {
		return usageErrorf("evidence needs %s", strings.Join(missing, ", "))
	}
	return nil
}

// withAttester makes an attester of what the flags name for as long as use
// runs.
func (a *app) withAttester(ctx context.Context, f attestFlags, use func(*attester.Attester) error) error {
	if err := f.need(); err != nil {
		return err
	}
	sel, err := parsePCRs(f.pcrs)
	if err != nil {
		return err
	}
	return a.withTPM(ctx, f.tpm, func(t *attester.TPM) error {
		ak, err := a.loadAK(ctx, t, f.ak)
		if err != nil {
			return err
		}
		tik, err := a.loadTIK(ctx, t, f.tik)
		if err != nil {
			return err
		}
		at, err := attester.NewAttester(ctx, attester.AttestConfig{AK: ak, TIK: tik, Selection: sel})
		if err != nil {
			return tpmErrorf("%w", err)
		}
		return use(at)
	})
}

func (a *app) attestCommand() *cobra.Command {
	var (
		flags         attestFlags
		out           outputFlags
		nonce, format string
	)
	cmd := &cobra.Command{
		Use:   "attest --ak KEY --tik KEY --pcrs PCRS --nonce NONCE",
		Short: "Make evidence for a nonce",
		Long: `Make evidence for a nonce that a verifier chose: the attestation key certifies the
TLS identity key and quotes the PCRs.

Formats: bundle is the evidence as it is
(` + bundle.MediaType + `);
cmw-cbor and cmw-json have a conceptual message wrapper around it (RFC 9999).`,
		Example: `  atls attest --ak ak.pem --tik tik.pem --pcrs sha256:0,1,7 --nonce @nonce.bin -o evidence.cbor
  atls attest --ak 0x81010002 --tik 0x81010003 --pcrs sha256:all+sha384:0 \
      --nonce 8f1d3c0a5b2e4f60 --format cmw-json`,
		Args: cobra.NoArgs,
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&nonce, "nonce", "", nonceUsage)
	cmd.Flags().StringVar(&format, "format", "bundle", "bundle, cmw-cbor or cmw-json")
	oneOf(cmd, "format", "bundle", "cmw-cbor", "cmw-json")
	out.register(cmd, "-")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		wrap, err := wrapper(format)
		if err != nil {
			return err
		}
		if nonce == "" {
			return usageErrorf("evidence needs --nonce").withHint(`"atls verify --verifier" asks a verifier for one`)
		}
		n, err := a.parseNonce(nonce)
		if err != nil {
			return err
		}
		if err := out.check(); err != nil {
			return err
		}
		if err := a.checkBinary(out, format != "cmw-json"); err != nil {
			return err
		}
		return a.withAttester(ctx, flags, func(at *attester.Attester) error {
			evidence, err := at.Bundle(ctx, n)
			if err != nil {
				return tpmErrorf("%w", err)
			}
			data, err := wrap(evidence)
			if err != nil {
				return err
			}
			return a.write(out, data, 0o644)
		})
	}
	return cmd
}

// checkBinary keeps what is not text off a terminal.
func (a *app) checkBinary(out outputFlags, binary bool) error {
	if binary && out.path == "-" && a.env.StdoutTTY {
		return usageErrorf("the output is not text, and standard output is a terminal").withHint("name a file with -o")
	}
	return nil
}

func wrapper(format string) (func([]byte) ([]byte, error), error) {
	switch format {
	case "bundle":
		return func(b []byte) ([]byte, error) { return b, nil }, nil
	case "cmw-cbor":
		return bundle.WrapCBOR, nil
	case "cmw-json":
		return func(b []byte) ([]byte, error) {
			text, err := bundle.WrapJSON(b)
			return append(text, '\n'), err
		}, nil
	}
	return nil, usageErrorf("--format %q: want bundle, cmw-cbor or cmw-json", format)
}

// evidenceFile reads evidence of any format and returns the bundle.
func (a *app) evidenceFile(path string) ([]byte, error) {
	data, err := a.readFile(path)
	if err != nil {
		return nil, err
	}
	evidence, _, err := parseEvidence(data)
	if err != nil {
		return nil, inputErrorf("%s: it is no evidence that this program reads: %w", path, err).withHint(`"atls inspect" says what a file is`)
	}
	return evidence, nil
}

// parseEvidence finds the bundle in evidence of any format, which it names.
func parseEvidence(data []byte) (evidence []byte, format string, err error) {
	if len(data) == 0 {
		return nil, "", errors.New("it is empty")
	}
	switch {
	case data[0]>>5 == 5: // a CBOR map
		evidence, format = data, "bundle"
	case data[0] == '[', data[0] == ' ', data[0] == '\n', data[0] == '\t', data[0] == '\r':
		format = "CMW in JSON"
	default:
		format = "CMW in CBOR"
	}
	if evidence == nil {
		if evidence, err = bundle.Unwrap(data); err != nil {
			return nil, "", err
		}
	}
	if _, _, err := bundle.Decode(evidence); err != nil {
		return nil, "", err
	}
	return evidence, format, nil
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/tpmwire"
	"github.com/veraison/attested-tls/pat"
)

// endorseFlags say what is endorsed.
type endorseFlags struct {
	tpm                 tpmFlags
	out                 outputFlags
	dialect             dialectFlag
	ak, akPub           string
	kid                 string
	pcrs                string
	values              []string
	quote, nonce        string
	class, vendor       string
	model, id           string
	anchorOnly          bool
	stateOnly           bool
	notBefore, notAfter string
}

func (a *app) endorseCommand() *cobra.Command {
	var f endorseFlags
	cmd := &cobra.Command{
		Use:   "endorse --class UUID (--ak KEY | --ak-pub FILE) [--pcrs PCRS] [--pcr-values FILE]… -o FILE",
		Short: "Make endorsements (a CoRIM) of a machine",
		Long: `Make a CoRIM that endorses a machine: its attestation key as trust anchor, and the
values of its PCRs as reference state of its class, or one of the two.

The attestation key is one in a TPM (--ak), or a public key in a file (--ak-pub:
PEM, a TPM2B_PUBLIC or a TSS2 key file). A public key that is only PEM says
nothing of its attributes: whoever gives it has to know that it is one.

The PCR values are read from the TPM, or from files as tpm2_pcrread prints them.
Each file is one reference state, and a state has all of the PCRs that evidence
has to quote, no more and no fewer: --pcrs chooses them from a file that has more.
With --quote a piece of evidence says which PCRs are meant. A quote has a digest
of the values alone, so the values have to be given too; that they are the quoted
ones, and that the attestation key signed the quote, is checked. Whether the quote
is fresh is checked with --nonce.

The same input gives the same bytes. What a CoRIM says counts for whoever
provisions it: read the values on a machine in a known good state.`,
		Example: `  atls endorse --class cd1f0e55-26f9-460d-b9d8-f7fde171787c --ak ak.pem \
      --pcrs sha256:0,1,2,7 -o machine.cbor
  tpm2_pcrread sha256:0,1,2,7 > pcrs.txt
  atls endorse --class cd1f0e55-26f9-460d-b9d8-f7fde171787c --ak-pub ak.pub \
      --pcr-values pcrs.txt --vendor Example --model Server-1 -o machine.cbor
  atls endorse --class cd1f0e55-26f9-460d-b9d8-f7fde171787c --reference-state \
      --pcr-values firmware-1.txt --pcr-values firmware-2.txt -o states.cbor`,
		Args: cobra.NoArgs,
	}
	f.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		corim, err := a.endorse(cmd.Context(), &f)
		if err != nil {
			return err
		}
		data, err := corim.Encode(f.dialect.value)
		if err != nil {
			return inputErrorf("make the CoRIM: %w", err)
		}
		return a.write(f.out, data, 0o644)
	}
	return cmd
}

func (f *endorseFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.class, "class", "", "the class of machines, a UUID of its owner's choice (required)")
	fs.StringVar(&f.vendor, "vendor", "", "the class's vendor, for people")
	fs.StringVar(&f.model, "model", "", "the class's model, for people")
	f.tpm.register(cmd)
	fs.StringVar(&f.ak, "ak", "", "the attestation key in the TPM: a key file or a persistent handle")
	fs.StringVar(&f.akPub, "ak-pub", "", "the attestation key's public part: PEM, TPM2B_PUBLIC or a key file")
	fs.StringVar(&f.kid, "kid", "", "the attestation key's identifier, a UEID in hexadecimal (default: of its public key)")
	pcrsFlag(cmd, &f.pcrs)
	fs.StringArrayVar(&f.values, "pcr-values", nil, "PCR values as tpm2_pcrread prints them, a reference state (repeatable)")
	fs.StringVar(&f.quote, "quote", "", "evidence that says which PCRs are meant, and that --pcr-values has to fit")
	fs.StringVar(&f.nonce, "nonce", "", "what --quote was made for; "+nonceUsage)
	fs.BoolVar(&f.anchorOnly, "trust-anchor", false, "make the trust anchor alone")
	fs.BoolVar(&f.stateOnly, "reference-state", false, "make the reference state alone")
	fs.StringVar(&f.id, "id", "", "the CoRIM's identifier, text or a UUID (default: derived from the content)")
	fs.StringVar(&f.notBefore, "not-before", "", "when the CoRIM begins to be valid, such as 2026-01-31 or 2026-01-31T12:00:00Z")
	fs.StringVar(&f.notAfter, "not-after", "", "when the CoRIM ceases to be valid")
	f.dialect.register(cmd)
	f.out.register(cmd, "")
	cmd.MarkFlagsMutuallyExclusive("trust-anchor", "reference-state")
	cmd.MarkFlagsMutuallyExclusive("ak", "ak-pub")
}

// check refuses what fits together in no way.
func (f *endorseFlags) check() error {
	switch {
	case f.class == "":
		return usageErrorf("--class is needed").withHint("uuidgen makes one, once for each kind of machine")
	case f.stateOnly && f.kid != "":
		return usageErrorf("--kid is for a trust anchor, and --reference-state makes none")
	case f.stateOnly && f.quote == "" && f.ak+f.akPub != "":
		return usageErrorf("--reference-state makes no trust anchor, and takes no key").withHint("with --quote the key checks the quote")
	case f.anchorOnly && (f.pcrs != "" || len(f.values) > 0 || f.quote != ""):
		return usageErrorf("--trust-anchor makes no reference state, and takes no PCRs")
	case !f.stateOnly && f.ak+f.akPub == "":
		return usageErrorf("a trust anchor needs --ak or --ak-pub").withHint("--reference-state makes a reference state alone")
	case f.quote != "" && f.ak+f.akPub == "":
		return usageErrorf("--quote needs --ak or --ak-pub, whose signature it has")
	case f.quote != "" && len(f.values) != 1:
		return usageErrorf("--quote needs one --pcr-values: a quote has no values, only their digest")
	case f.quote != "" && f.pcrs != "":
		return usageErrorf("--quote says itself which PCRs are meant: leave out --pcrs")
	case f.nonce != "" && f.quote == "":
		return usageErrorf("--nonce is for --quote")
	case !f.anchorOnly && len(f.values) == 0 && f.pcrs == "":
		return usageErrorf("a reference state needs --pcrs to read from the TPM, or --pcr-values").withHint("--trust-anchor makes a trust anchor alone")
	}
	return nil
}

// attestationKey is what a trust anchor is made of.
type attestationKey struct {
	kid []byte
	pem string
	key crypto.PublicKey
}

func (a *app) endorse(ctx context.Context, f *endorseFlags) (*endorsements.Corim, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	c := &endorsements.Corim{ID: f.id}
	var err error
	if c.NotBefore, err = parseTime(f.notBefore); err != nil {
		return nil, usageErrorf("--not-before: %w", err)
	}
	if c.NotAfter, err = parseTime(f.notAfter); err != nil {
		return nil, usageErrorf("--not-after: %w", err)
	}
	var sel attester.Selection
	if f.pcrs != "" {
		if sel, err = parsePCRs(f.pcrs); err != nil {
			return nil, err
		}
	}
	if err := f.out.check(); err != nil {
		return nil, err
	}
	if err := a.checkBinary(f.out, true); err != nil {
		return nil, err
	}
	ak, read, err := a.endorseFromTPM(ctx, f, sel)
	if err != nil {
		return nil, err
	}
	if f.akPub != "" {
		if ak, err = a.publicAK(f.akPub); err != nil {
			return nil, err
		}
	}
	if f.kid != "" {
		if ak.kid, err = hex.DecodeString(f.kid); err != nil {
			return nil, usageErrorf("--kid: %q is not hexadecimal", f.kid)
		}
	}
	if !f.stateOnly {
		anchor, err := endorsements.NewTrustAnchor(f.class, ak.kid, ak.pem)
		if err != nil {
			return nil, endorseError(err)
		}
		c.Anchors = []endorsements.TrustAnchor{anchor}
	}
	states, err := a.readStates(f, ak, sel)
	if err != nil {
		return nil, err
	}
	if read != nil {
		states = append(states, read)
	}
	for _, values := range states {
		state, err := endorsements.NewReferenceState(f.class, values)
		if err != nil {
			return nil, endorseError(err)
		}
		c.States = append(c.States, state)
	}
	if f.vendor != "" || f.model != "" {
		c.Classes = []endorsements.ClassDescription{{Class: strings.ToLower(f.class), Vendor: f.vendor, Model: f.model}}
	}
	if c.ID == "" {
		c.ID = contentID(c, f.vendor, f.model)
	}
	return c, nil
}

// endorseError tells flags that are at fault from files that are.
func endorseError(err error) error {
	text := err.Error()
	if strings.HasPrefix(text, "class: ") || strings.HasPrefix(text, "kid: ") {
		return usageErrorf("--%w", err)
	}
	return inputErrorf("%w", err)
}

// endorseFromTPM reads the key and the PCRs that come from the TPM.
func (a *app) endorseFromTPM(ctx context.Context, f *endorseFlags, sel attester.Selection) (ak attestationKey, values []endorsements.PCRValue, err error) {
	readPCRs := !f.anchorOnly && len(f.values) == 0
	if f.ak == "" && !readPCRs {
		return ak, nil, nil
	}
	err = a.withTPM(ctx, f.tpm, func(t *attester.TPM) error {
		if f.ak != "" {
			k, err := a.loadAK(ctx, t, f.ak)
			if err != nil {
				return err
			}
			ak = attestationKey{kid: k.KID(), pem: k.PEM(), key: k.Public()}
		}
		if !readPCRs {
			return nil
		}
		read, err := t.ReadPCRs(ctx, sel)
		if err != nil {
			return tpmErrorf("%w", err)
		}
		for bank, digests := range read {
			for index, digest := range digests {
				values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: index}, Digest: digest})
			}
		}
		return nil
	})
	return ak, values, err
}

// publicAK reads an attestation key's public part. Where the file says that it
// is none it is refused.
func (a *app) publicAK(path string) (attestationKey, error) {
	info, key, err := a.publicKeyFile(path)
	if err != nil {
		return attestationKey{}, err
	}
	if info.Role != "" && info.Role != roleAK {
		return attestationKey{}, inputErrorf("%s: the key is no attestation key: its attributes are %s", path, strings.Join(info.Attributes, "|")).
			withHint("an attestation key has fixedTPM, fixedParent, sensitiveDataOrigin, sign and restricted, and not decrypt")
	}
	text, err := endorsements.MarshalKeyPEM(key)
	if err != nil {
		return attestationKey{}, inputErrorf("%s: %w", path, err)
	}
	kid, err := hex.DecodeString(info.KID)
	return attestationKey{kid: kid, pem: text, key: key}, err
}

// readStates reads the states that files have.
func (a *app) readStates(f *endorseFlags, ak attestationKey, sel attester.Selection) ([][]endorsements.PCRValue, error) {
	var quote *quoted
	if f.quote != "" {
		var err error
		if quote, err = a.readQuote(f, ak); err != nil {
			return nil, err
		}
		sel = quote.selection
	}
	var states [][]endorsements.PCRValue
	for _, path := range f.values {
		data, err := a.readFile(path)
		if err != nil {
			return nil, err
		}
		p, err := parsePCRValues(data)
		if err != nil {
			return nil, inputErrorf("%s: %w", path, err).withHint("PCR values are read as tpm2_pcrread prints them")
		}
		values, err := p.take(sel)
		if err != nil {
			return nil, inputErrorf("%s: %w", path, err)
		}
		if sel == nil && len(p.passedOver) > 0 {
			a.warn("%s: bank %s is not endorsed", path, strings.Join(p.passedOver, ", "))
		}
		if quote != nil {
			digest, err := p.digest(quote.claims.Hash, quote.claims.Selection)
			if err != nil {
				return nil, inputErrorf("%s: %w", path, err)
			}
			if !bytes.Equal(digest, quote.claims.PCRDigest) {
				return nil, inputErrorf("%s: these are not the values that %s quotes", path, f.quote).
					withHint("read both at one time: a PCR may have been extended in between")
			}
		}
		states = append(states, values)
	}
	return states, nil
}

// quoted is a quote that the attestation key signed.
type quoted struct {
	claims    pat.Claims
	selection attester.Selection
}

func (a *app) readQuote(f *endorseFlags, ak attestationKey) (*quoted, error) {
	evidence, err := a.evidenceFile(f.quote)
	if err != nil {
		return nil, err
	}
	_, token, err := bundle.Decode(evidence)
	if err != nil {
		return nil, inputErrorf("%s: %w", f.quote, err)
	}
	if !bytes.Equal(token.KID, ak.kid) {
		return nil, inputErrorf("%s: the quote names the attestation key %x, not %x", f.quote, token.KID, ak.kid)
	}
	u, err := pat.Parse(token)
	if err != nil {
		return nil, inputErrorf("%s: %w", f.quote, err)
	}
	// Without a nonce to hold it against the quote is for whatever it says.
	attest, err := tpmwire.ParseAttest(token.AttestInfo, tpm2.TPMSTAttestQuote)
	if err != nil {
		return nil, inputErrorf("%s: %w", f.quote, err)
	}
	nonce := attest.ExtraData
	if f.nonce != "" {
		if nonce, err = a.parseNonce(f.nonce); err != nil {
			return nil, err
		}
	}
	v, err := u.Verify(ak.key, nonce)
	if err != nil {
		return nil, refusedErrorf("%s: %w", f.quote, err)
	}
	q := &quoted{claims: v.Claims()}
	if q.selection, err = parseQuoted(q.claims.Selection); err != nil {
		return nil, inputErrorf("%s: %w", f.quote, err)
	}
	return q, nil
}

func parseQuoted(s tpmwire.Selection) (attester.Selection, error) {
	sel, err := attester.ParseSelection(s.String())
	if err != nil {
		return nil, fmt.Errorf("what it quotes cannot be endorsed: %w", err)
	}
	return sel, nil
}

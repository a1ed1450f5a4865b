// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/x509"
	"errors"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/endorsements/signed"
)

// corimFlags are endorsements in files, and who may have signed them.
type corimFlags struct {
	files   []string
	signers []string
	roots   string
}

func (f *corimFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&f.files, "corim", nil, "endorsements to appraise by: a CoRIM file (repeatable)")
	fs.StringArrayVar(&f.signers, "corim-signer", nil, "take CoRIMs that this key signed, and no unsigned ones: a file with the public key (repeatable)")
	fs.StringVar(&f.roots, "corim-roots", "", "take CoRIMs whose signers' certificates lead to these (PEM), and no unsigned ones")
}

// readTrustedCorims reads CoRIM files: unsigned ones, or if a signer is named
// signed ones.
func (a *app) readTrustedCorims(f *corimFlags) ([]*endorsements.Corim, error) {
	var trust signed.Policy
	for _, path := range f.signers {
		_, key, err := a.publicKeyFile(path)
		if err != nil {
			return nil, err
		}
		if err := signed.CheckKey(key); err != nil {
			return nil, inputErrorf("%s: %w", path, err)
		}
		trust.Keys = append(trust.Keys, key)
	}
	if f.roots != "" {
		certs, err := a.readCertificates(f.roots)
		if err != nil {
			return nil, err
		}
		trust.Roots = x509.NewCertPool()
		for _, der := range certs {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, inputErrorf("%s: %w", f.roots, err)
			}
			trust.Roots.AddCert(cert)
		}
	}
	var corims []*endorsements.Corim
	for _, path := range f.files {
		data, err := a.readFile(path)
		if err != nil {
			return nil, err
		}
		c, err := decodeCorim(data, trust)
		if err != nil {
			ee := inputErrorf("%s: %w", path, err)
			if errors.Is(err, endorsements.ErrSigned) {
				ee = ee.withHint("--corim-signer or --corim-roots says whose signature to trust")
			}
			return nil, ee
		}
		corims = append(corims, c)
	}
	return corims, nil
}

func decodeCorim(data []byte, trust signed.Policy) (*endorsements.Corim, error) {
	if len(trust.Keys) == 0 && trust.Roots == nil {
		return endorsements.Decode(data)
	}
	v, err := signed.Verify(data, trust)
	if err != nil {
		return nil, err
	}
	return v.Corim, nil
}

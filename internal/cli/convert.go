// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/endorsements"
)

func (a *app) convertCommand() *cobra.Command {
	var (
		dialect dialectFlag
		out     outputFlags
	)
	cmd := &cobra.Command{
		Use:   "convert --dialect v1|v2-text|v2 FILE -o FILE",
		Short: "Write a CoRIM in another dialect",
		Long: `Write a CoRIM in a dialect: v1 is what Veraison takes until v0.0.2602, v2-text
from v0.0.2603 to v0.0.2608, v2 later. The content stays the same; what a dialect
has no words for is an error. A signed CoRIM is not converted, for its signature
would be void: convert what was signed, and sign it anew.`,
		Example: "  atls convert --dialect v1 machine.cbor -o machine-v1.cbor",
		Args:    cobra.ExactArgs(1),
	}
	dialect.register(cmd)
	out.register(cmd, "")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !cmd.Flags().Changed("dialect") {
			return usageErrorf("--dialect is needed: v1, v2-text or v2")
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
		converted, err := endorsements.Convert(data, dialect.value)
		if err != nil {
			return inputErrorf("%s: %w", args[0], err)
		}
		return a.write(out, converted, 0o644)
	}
	return cmd
}

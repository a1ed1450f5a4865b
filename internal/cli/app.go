// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/spf13/cobra"
)

// app is one run of the program.
type app struct {
	env Env
	// out becomes standard output if the command succeeds.
	out bytes.Buffer
	// ran says that a command began: errors before that are of usage.
	ran bool
	// speak has messages come one at a time.
	speak sync.Mutex
}

// Main runs the command that env.Args name and returns the exit code.
func Main(ctx context.Context, env Env) int {
	a := &app{env: env}
	root := a.rootCommand()
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(&a.out)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		if _, werr := env.Stdout.Write(a.out.Bytes()); werr != nil {
			err = fmt.Errorf("write to standard output: %w", werr)
		}
	}
	if err == nil {
		return exitOK
	}
	return a.fail(ctx, cmd, err)
}

// fail tells of an error and returns its exit code.
func (a *app) fail(ctx context.Context, cmd *cobra.Command, err error) int {
	if !a.ran {
		hint := fmt.Sprintf("see %q", cmd.CommandPath()+" --help")
		// A command's own hint, such as "did you mean", is in its text.
		text, own, _ := strings.Cut(err.Error(), "\n\n")
		if own = strings.Join(strings.Fields(own), " "); own != "" {
			hint = strings.ToLower(own[:1]) + own[1:]
		}
		if ee := asExitError(err); ee != nil {
			text, hint = ee.Error(), cmp.Or(ee.hint, hint)
		}
		a.complain(text, hint)
		return exitUsage
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		a.complain("interrupted: "+err.Error(), "")
		return exitFailure
	}
	ee := classify(err)
	a.complain(err.Error(), ee.hint)
	return ee.code
}

// complain writes a message for a person.
func (a *app) complain(text, hint string) {
	fmt.Fprintf(a.env.Stderr, "atls: %s\n", text)
	if hint != "" {
		fmt.Fprintf(a.env.Stderr, "hint: %s\n", hint)
	}
}

// warn writes what does not stop the command.
func (a *app) warn(format string, args ...any) {
	fmt.Fprintf(a.env.Stderr, "atls: warning: "+format+"\n", args...)
}

// rootCommand builds the tree of commands anew: cobra keeps flags in it.
func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "atls",
		Short: "TPM evidence, its endorsements and its verification",
		Long: `atls makes what attested TLS rests on, and shows it: keys in a TPM, endorsements
of machines for a Veraison verifier, evidence, and the verifier's results.

Files are named by their path; "-" is standard input or standard output. A
result goes to standard output and everything else to standard error. A command
that fails prints nothing on standard output, leaves no file behind, and says by
its exit code what went wrong: see "atls help exit-codes".`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(
		a.keyCommand(),
		a.attestCommand(),
		a.endorseCommand(),
		a.verifyCommand(),
		a.serveCommand(),
		a.connectCommand(),
		a.demoCommand(),
		a.earCommand(),
		a.convertCommand(),
		a.signCommand(),
		a.inspectCommand(),
		a.provisionCommand(),
		a.versionCommand(),
		exitCodesTopic(),
	)
	a.finish(root)
	return root
}

// finish has every command note that it began.
func (a *app) finish(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			a.ran = true
			return run(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		a.finish(sub)
	}
}

// group is a command that only has other commands.
func group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  long,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageErrorf("unknown command %q for %q", args[0], cmd.CommandPath())
			}
			return usageErrorf("%q needs a command", cmd.CommandPath())
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	c.AddCommand(commands...)
	return c
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// outputFlags are -o and --force: where a command's result goes.
type outputFlags struct {
	path  string
	force bool
}

// register adds the flags; def is the path without -o, "-" for standard
// output, and empty if one has to be given.
func (o *outputFlags) register(cmd *cobra.Command, def string) {
	usage := `write to this file; "-" is standard output`
	if def == "" {
		usage += " (required)"
	}
	cmd.Flags().StringVarP(&o.path, "output", "o", def, usage)
	cmd.Flags().BoolVar(&o.force, "force", false, "overwrite the output file")
}

// check finds out before any work whether the file could be written.
func (o *outputFlags) check() error {
	switch o.path {
	case "":
		return usageErrorf("an output file is needed").withHint(`name it with -o, or "-o -" for standard output`)
	case "-":
		return nil
	}
	if st, err := os.Stat(filepath.Dir(o.path)); err != nil {
		return inputErrorf("output: %w", err)
	} else if !st.IsDir() {
		return inputErrorf("output: %s is no folder", filepath.Dir(o.path))
	}
	st, err := os.Lstat(o.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return inputErrorf("output: %w", err)
	case !st.Mode().IsRegular():
		// It would be replaced, not written to.
		return inputErrorf("output: %s is no regular file", o.path).withHint(`"-o -" is standard output`)
	case !o.force:
		return existsError(o.path)
	}
	return nil
}

func existsError(path string) error {
	return inputErrorf("%s is there already", path).withHint("--force overwrites it")
}

// write puts the result where the flags say: a file is written whole or not at
// all, with mode.
func (a *app) write(o outputFlags, data []byte, mode fs.FileMode) error {
	if o.path == "-" {
		a.out.Write(data)
		return nil
	}
	if err := o.check(); err != nil {
		return err
	}
	if err := writeFile(o.path, data, mode, o.force); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return existsError(o.path)
		}
		return inputErrorf("write %s: %w", o.path, err)
	}
	return nil
}

// writeFile writes a file beside its place and moves it there. Without force a
// file that is there, also since a moment ago, is fs.ErrExist.
func writeFile(path string, data []byte, mode fs.FileMode, force bool) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		// After a rename there is nothing to remove.
		_ = os.Remove(f.Name())
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	switch {
	case err != nil:
	case force:
		err = os.Rename(f.Name(), path)
	default:
		// Unlike a rename, a link fails if there is a file, whoever made it.
		err = os.Link(f.Name(), path)
	}
	if err != nil {
		return err
	}
	// The name, too, shall survive a power cut; not every file system can.
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
	return nil
}

// oneOf has the shell complete a flag whose values are known.
func oneOf(cmd *cobra.Command, flag string, values ...string) {
	// The one error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// jsonFlag adds --json.
func jsonFlag(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVar(to, "json", false, "print JSON")
}

// printJSON prints a value for programs.
func (a *app) printJSON(v any) error {
	data, err := marshalJSON(v)
	if err != nil {
		return err
	}
	a.out.Write(data)
	return nil
}

func marshalJSON(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make JSON: %w", err)
	}
	return append(data, '\n'), nil
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Command generate makes the test vectors of package testvectors anew, all of
// them, from a TPM simulator in this process:
//
//	go run ./testvectors/generate
//
// Nothing in them is kept from one run to the next but their names and what
// they are expected to give, which is written in this program. It appraises
// each vector and writes none unless every one gave what was intended, for the
// intended reason. Vectors in the directory that it no longer makes are
// deleted; other files stay.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"github.com/veraison/attested-tls/testvectors"
	"github.com/veraison/attested-tls/testvectors/internal/verdict"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("generate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", filepath.FromSlash("testvectors/data"), "the `directory` that the vectors are written to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	old, err := vectorsIn(*out)
	if err != nil {
		return err
	}
	start := time.Now()
	files, err := generate(ctx)
	if err != nil {
		return err
	}
	old = slices.DeleteFunc(old, func(name string) bool { return files[name] != nil })
	if err := write(*out, files, old); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d vectors in %s, %d deleted, %v\n", len(files), *out, len(old), time.Since(start).Round(time.Millisecond))
	return nil
}

// generate makes the content of all vectors' files, by name.
func generate(ctx context.Context) (_ map[string][]byte, err error) {
	l, err := openLab(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.tpm.Close()) }()
	cases, err := allCases(ctx, l)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	var failed []error
	for _, c := range cases {
		content, err := l.make(ctx, &c)
		if name := c.name + testvectors.Ext; files[name] == nil {
			files[name] = content
		} else if err == nil {
			err = errors.New("there is another vector of this name")
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", c.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return files, errors.Join(failed...)
}

// make makes a case's file and sees to it that the vector gives what was
// intended.
func (l *lab) make(ctx context.Context, c *vectorCase) ([]byte, error) {
	s, err := l.newScene(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("setting the scene: %w", err)
	}
	// Whatever a vector is refused for was not there before the change.
	before, err := s.vector()
	if err != nil {
		return nil, err
	}
	if r, err := verdict.Of(before, time.Now()); err != nil {
		return nil, err
	} else if err := affirming().verify(r, s); err != nil {
		return nil, fmt.Errorf("before the change: %w", err)
	}
	if c.change != nil {
		if err := c.change(ctx, s); err != nil {
			return nil, err
		}
	}
	v, err := s.vector()
	if err != nil {
		return nil, err
	}
	r, err := verdict.Of(v, time.Now())
	if err != nil {
		return nil, err
	}
	if err := c.want.verify(r, s); err != nil {
		return nil, err
	}
	v.Comment, v.Spec, v.Want = c.comment, c.spec, r.Outcome
	return v.Marshal()
}

// vectorsIn returns the names of the vectors' files in dir.
func vectorsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("looking for vectors: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && filepath.Ext(e.Name()) == testvectors.Ext {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// write writes files to dir and deletes old ones.
func write(dir string, files map[string][]byte, old []string) error {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("writing a vector: %w", err)
		}
	}
	for _, name := range old {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("deleting an old vector: %w", err)
		}
	}
	return nil
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCreateAndDump(t *testing.T) {
	ctx := context.Background()
	// A name that a careless data source string would cut short.
	file := filepath.Join(t.TempDir(), "a store?x=1#2.sqlite")

	if err := run(ctx, []string{"create", file}, nil); err != nil {
		t.Fatalf("create: %v", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatalf("the file is not where it was asked for: %v", err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode = %v, want 0600", got)
	}

	db, err := open(file, "rw")
	if err != nil {
		t.Fatal(err)
	}
	const insert = `INSERT INTO kvstore (kv_key, kv_val) VALUES (?, ?)`
	for _, kv := range [][2]string{{"b", `{"n":1}`}, {"a", `{"n":2}`}, {"b", `{"n":1}`}} {
		if _, err := db.ExecContext(ctx, insert, kv[0], kv[1]); err != nil {
			t.Fatalf("insert: %v", err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	// A second create must leave what is there.
	if err := run(ctx, []string{"create", file}, nil); err != nil {
		t.Fatalf("second create: %v", err)
	}

	var out bytes.Buffer
	if err := run(ctx, []string{"dump", file}, &out); err != nil {
		t.Fatalf("dump: %v", err)
	}
	want := "b\t{\"n\":1}\na\t{\"n\":2}\nb\t{\"n\":1}\n"
	if out.String() != want {
		t.Errorf("dump = %q, want %q", out.String(), want)
	}
}

func TestRefusals(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.sqlite")
	other := filepath.Join(dir, "other.txt")
	if err := os.WriteFile(other, []byte(strings.Repeat("not a database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}

	for _, args := range [][]string{nil, {"create"}, {"dump"}, {"dump", "a", "b"}, {"drop", "a"}} {
		if err := run(ctx, args, nil); !errors.Is(err, errUsage) {
			t.Errorf("run(%q) = %v, want the usage error", args, err)
		}
	}
	if err := run(ctx, []string{"dump", missing}, nil); err == nil {
		t.Error("dump of a missing file succeeded")
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dump created the file it was to read: %v", err)
	}
	if err := run(ctx, []string{"create", other}, nil); err == nil {
		t.Error("create over a file that is not a database succeeded")
	}
	if err := run(ctx, []string{"create", filepath.Join(dir, "no", "such", "dir")}, nil); err == nil {
		t.Error("create in a missing folder succeeded")
	}
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Command store-init makes the SQLite files that a Veraison deployment keeps
// its trust anchors, endorsements and policies in, and prints what is in one.
//
// The VTS opens its SQL stores but never creates the table in them, and the
// sqlite3 command line is not on every machine.
package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"

	_ "github.com/mattn/go-sqlite3" // the driver that the VTS itself is linked with
)

const usage = `usage:
  store-init create FILE...   make each FILE a store; one that is a store already is left as it is
  store-init dump FILE        print FILE's entries, oldest first, as KEY<TAB>VALUE lines
`

// The table that Veraison's kvstore package expects, under its default name.
// There is no key in it: what is added twice is there twice.
const createTable = `CREATE TABLE IF NOT EXISTS kvstore (kv_key text NOT NULL, kv_val text NOT NULL)`

var errUsage = errors.New("wrong arguments")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "store-init: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) < 2 {
		return errUsage
	}
	switch command, files := args[0], args[1:]; {
	case command == "create":
		for _, file := range files {
			if err := create(ctx, file); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
		return nil
	case command == "dump" && len(files) == 1:
		if err := dump(ctx, files[0], out); err != nil {
			return fmt.Errorf("%s: %w", files[0], err)
		}
		return nil
	}
	return errUsage
}

func create(ctx context.Context, file string) error {
	// SQLite would make it readable by everyone, and whoever can write to a
	// store decides which devices are trusted.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("creating file: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("creating file: %w", err)
	}

	db, err := open(file, "rw")
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, createTable); err != nil {
		return errors.Join(fmt.Errorf("creating table: %w", err), db.Close())
	}
	return db.Close()
}

func dump(ctx context.Context, file string, out io.Writer) (err error) {
	db, err := open(file, "ro")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	rows, err := db.QueryContext(ctx, `SELECT kv_key, kv_val FROM kvstore ORDER BY rowid`)
	if err != nil {
		return fmt.Errorf("reading table: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()

	w := bufio.NewWriter(out)
	for rows.Next() {
		var key, val string
		if err := rows.Scan(&key, &val); err != nil {
			return fmt.Errorf("reading entry: %w", err)
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\n", key, val); err != nil {
			return fmt.Errorf("printing entry: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading table: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing entries: %w", err)
	}
	return nil
}

// open takes the file as a URI, so that no character in its name is read as an
// option, and with a mode, so that SQLite never creates a file by itself.
func open(file, mode string) (*sql.DB, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("resolving path: %w", err)
	}
	uri := url.URL{Scheme: "file", Path: abs, RawQuery: url.Values{"mode": {mode}}.Encode()}
	db, err := sql.Open("sqlite3", uri.String())
	if err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	return db, nil
}

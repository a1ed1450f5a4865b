// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/go-tpm/tpm2"
)

// SaveKey keeps k at where: a key file's path, or a persistent handle such as
// 0x81010002, as tpm2-tools take them. What is there already is not
// overwritten, but the error is [fs.ErrExist]; the same key at the handle
// already is no error.
//
// A file is written whole or not at all, for its owner's eyes alone (mode
// 0600). A handle takes space in the TPM's memory, of which there is little.
func (t *TPM) SaveKey(ctx context.Context, k *Key, where string) error {
	return t.saveKey(ctx, k, where, false)
}

// ReplaceKey keeps k at where as SaveKey does, in place of what is there. Of a
// file the old or the new one is there at any moment. At a handle there is for
// a moment nothing.
func (t *TPM) ReplaceKey(ctx context.Context, k *Key, where string) error {
	return t.saveKey(ctx, k, where, true)
}

func (t *TPM) saveKey(ctx context.Context, k *Key, where string, replace bool) error {
	err := t.own(k)
	if err == nil {
		var h tpm2.TPMHandle
		var isHandle bool
		if h, isHandle, err = parseWhere(where); err == nil {
			if isHandle {
				err = t.persist(ctx, k, h, replace)
			} else {
				err = writeKeyFile(k, where, replace)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("saving a key at %s: %w", where, err)
	}
	return nil
}

// loadWhere is the opposite of SaveKey.
func (t *TPM) loadWhere(ctx context.Context, where string) (*Key, error) {
	h, isHandle, err := parseWhere(where)
	if err != nil {
		return nil, err
	}
	if isHandle {
		return t.LoadHandle(ctx, h)
	}
	data, err := readLimited(where, maxKeyFile)
	if err != nil {
		return nil, err
	}
	k, err := t.LoadKeyFile(ctx, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return k, nil
}

// parseWhere takes 0x and digits for a handle. A file of such a name is
// ./0x81010002.
func parseWhere(where string) (h tpm2.TPMHandle, isHandle bool, err error) {
	if where == "" {
		return 0, false, errors.New("no place named: want a path or a persistent handle such as 0x81010002")
	}
	if len(where) < 2 || where[:2] != "0x" {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(where[2:], 16, 32)
	if err != nil || !isPersistent(tpm2.TPMHandle(n)) {
		return 0, false, fmt.Errorf("%s is not a persistent handle: want 0x81000000 to 0x81ffffff", where)
	}
	return tpm2.TPMHandle(n), true, nil
}

// readLimited reads a file, and of what has no end (a device, a pipe) no more
// than one byte above the limit.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

func writeKeyFile(k *Key, path string, replace bool) error {
	data, err := k.KeyFile()
	if err != nil {
		return err
	}
	return writeFile(path, data, replace)
}

// writeFile writes a file that is whole or not there, whatever happens
// meanwhile. Unless it replaces, it fails with fs.ErrExist if there is one.
func writeFile(path string, data []byte, replace bool) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if rerr := os.Remove(f.Name()); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if replace {
		err = os.Rename(f.Name(), path)
	} else {
		// Unlike a rename, a link fails if there is a file, whoever made it.
		err = os.Link(f.Name(), path)
	}
	if err != nil {
		return err
	}
	// The name, too, shall survive a power cut; not every file system can.
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
	return nil
}

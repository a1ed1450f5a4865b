// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/veraison/attested-tls/endorsements"
)

// corimFiles are the files that the arguments name, sorted and each once. Of a
// folder, they are those with the name of a CoRIM, at any depth.
func corimFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		if arg == "-" {
			return nil, usageErrorf("standard input cannot be provisioned: name a file")
		}
		st, err := os.Stat(arg)
		if err != nil {
			return nil, inputErrorf("%w", err)
		}
		if !st.IsDir() {
			files = append(files, filepath.Clean(arg))
			continue
		}
		before := len(files)
		if err := filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && isCorimName(path) {
				files = append(files, path)
			}
			return err
		}); err != nil {
			return nil, inputErrorf("%w", err)
		}
		if len(files) == before {
			return nil, inputErrorf("%s: there is no *.cbor, *.corim or *.cose in it", arg)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func isCorimName(path string) bool {
	switch filepath.Ext(path) {
	case ".cbor", ".corim", ".cose":
		return true
	}
	return false
}

// outcome is what became of a file.
type outcome string

const (
	pending   outcome = ""
	accepted  outcome = "accepted"
	skipped   outcome = "accepted-before" // in an earlier run
	duplicate outcome = "duplicate"       // the content of another file of this run
	bad       outcome = "bad"             // not fit for being sent
	refused   outcome = "refused"         // by the verifier
	failed    outcome = "failed"          // certainly not taken, for another reason
	doubtful  outcome = "in-doubt"
)

// provisionItem is one file on its way. Its content is not kept: there may be
// many.
type provisionItem struct {
	path      string
	id        string // the CoRIM's
	dialect   endorsements.Dialect
	signed    bool
	anchors   []reportAnchor
	stateful  bool // it has reference states
	hash      [sha256.Size]byte
	mediaType string

	outcome outcome
	reason  string
	since   time.Time // when a doubt arose
	asked   bool      // the verifier about it
}

func (i *provisionItem) end(o outcome, format string, args ...any) {
	i.outcome, i.reason = o, fmt.Sprintf(format, args...)
}

// key is what the report knows the item by: what is sent.
func (i *provisionItem) key() string { return hex.EncodeToString(i.hash[:]) }

// readItem reads a file and tells what is in it. Bad ones have that outcome.
func readItem(path string, now time.Time) *provisionItem {
	i := &provisionItem{path: path}
	data, err := readCorimFile(path)
	if err != nil {
		i.end(bad, "%v", err)
		return i
	}
	i.hash = sha256.Sum256(data)
	c, signed, err := decodeAny(data, now)
	if err != nil {
		i.end(bad, "%v", err)
		return i
	}
	i.id, i.dialect, i.signed, i.stateful = c.ID, c.Dialect, signed, len(c.States) > 0
	for _, anchor := range c.Anchors {
		i.anchors = append(i.anchors, newReportAnchor(anchor))
	}
	if len(c.Anchors) == 0 && len(c.States) == 0 {
		i.end(bad, "it endorses nothing")
	}
	return i
}

// decodeAny reads a CoRIM that is valid at a time, and looks into a signed one without verifying it:
// that is the verifier's business.
func decodeAny(data []byte, now time.Time) (c *endorsements.Corim, signed bool, err error) {
	c, err = endorsements.Decode(data)
	if errors.Is(err, endorsements.ErrSigned) {
		signed = true
		var u *endorsements.UnverifiedSigned
		if u, err = endorsements.ReadSigned(data); err == nil {
			err = u.CheckValidity(now)
		}
		if err == nil {
			c, err = u.Corim()
		}
	}
	if err == nil {
		err = c.CheckValidity(now)
	}
	return c, signed, err
}

func readCorimFile(path string) ([]byte, error) {
	// Before it is opened: opening a named pipe waits for a writer.
	st, err := os.Stat(path)
	if err == nil && !st.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	if err != nil {
		// The path is said elsewhere.
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, err
	}
	defer f.Close()
	const most = endorsements.MaxSignedSize
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) == 0:
		return nil, errors.New("it is empty")
	case len(data) > most:
		return nil, fmt.Errorf("it has more than %d KiB", most>>10)
	}
	return data, nil
}

// prepare settles in which form the item is sent: as it is, or converted.
func (i *provisionItem) prepare(r *provisionRun) {
	target := r.dialect
	if i.signed {
		// A conversion would break the signature.
		target = i.dialect
	}
	mediaType, ok := r.capabilities.MediaType(target, i.signed)
	switch {
	case !ok && i.signed:
		i.end(failed, "the deployment takes no signed CoRIMs of this profile in dialect %s", target)
		return
	case !ok:
		i.end(failed, "the deployment takes no unsigned CoRIMs of this profile%s; it takes: %s", inDialect(target), orNothing(r.capabilities.MediaTypes))
		return
	}
	i.mediaType = mediaType
	if i.signed || target == i.dialect {
		return
	}
	data, err := i.content(target, false)
	if err != nil {
		i.end(bad, "%v", err)
		return
	}
	i.dialect, i.hash = target, sha256.Sum256(data)
}

// content reads what is to be sent; checked, it has to be what was planned.
func (i *provisionItem) content(d endorsements.Dialect, checked bool) ([]byte, error) {
	data, err := readCorimFile(i.path)
	if err != nil {
		return nil, err
	}
	if checked && sha256.Sum256(data) == i.hash {
		return data, nil
	}
	if !i.signed {
		if data, err = endorsements.Convert(data, d); err != nil {
			return nil, err
		}
	}
	if checked && sha256.Sum256(data) != i.hash {
		return nil, errors.New("the file has changed since it was checked")
	}
	return data, nil
}

func inDialect(d endorsements.Dialect) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf(" in dialect %s", d)
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return fmt.Sprint(list)
}

// read reads the files.
func (r *provisionRun) read(ctx context.Context, paths []string) error {
	now := time.Now()
	for _, path := range paths {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.items = append(r.items, readItem(path, now))
	}
	return nil
}

// newReportAnchor describes a trust anchor. Key and Spelling are digests.
func newReportAnchor(a endorsements.TrustAnchor) reportAnchor {
	digest := func(b []byte) string {
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:16])
	}
	// A key that was decoded can be encoded.
	spki, _ := x509.MarshalPKIXPublicKey(a.Key)
	return reportAnchor{KID: hex.EncodeToString(a.KID), Class: a.Class, Key: digest(spki), Spelling: digest([]byte(a.PEM))}
}

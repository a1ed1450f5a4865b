// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/veraison/attested-tls/internal/apihttp"
)

// The report is a journal: JSON lines that are only ever added. Before a file is
// sent, a line "sending" is on the disk; what became of it is a line after. So
// what was on its way when the program, or the machine, stopped is known to be in
// doubt. What is sent is known by its SHA-256 and the service's URL.

// reportEvent is what a line says.
type reportEvent string

const (
	eventSending  reportEvent = "sending"
	eventAccepted reportEvent = "accepted"
	eventRefused  reportEvent = "refused"  // the verifier does not take it
	eventFailed   reportEvent = "failed"   // it was certainly not taken
	eventDoubtful reportEvent = "in-doubt" // the answer is lost
	eventFound    reportEvent = "found"    // it was in doubt, and is there
	eventAbsent   reportEvent = "absent"   // it was in doubt, and is not there
)

// reportLine is a line of a report.
type reportLine struct {
	Time      time.Time      `json:"time"`
	Event     reportEvent    `json:"event"`
	URL       string         `json:"url"`
	SHA256    string         `json:"sha256"`
	File      string         `json:"file,omitempty"`
	MediaType string         `json:"media-type,omitempty"`
	Corim     string         `json:"corim,omitempty"` // its identifier
	Anchors   []reportAnchor `json:"anchors,omitempty"`
	Reason    string         `json:"reason,omitempty"`
}

// reportAnchor is a trust anchor in a report, to find out that a key identifier
// is to get a second key.
type reportAnchor struct {
	KID   string `json:"kid"` // hexadecimal
	Class string `json:"class"`
	// Key and Spelling are digests of the key and of its PEM.
	Key      string `json:"key"`
	Spelling string `json:"spelling"`
}

// known is what a report says of one content.
type known struct {
	event   reportEvent // the last
	time    time.Time
	file    string
	corim   string
	anchors []reportAnchor
	// accepted is when the deployment took it, or was found to have it. It stays
	// whatever comes of sending it again; "absent" alone ends it.
	accepted time.Time
}

func (k known) there() bool   { return !k.accepted.IsZero() && !k.inDoubt() }
func (k known) inDoubt() bool { return k.event == eventSending || k.event == eventDoubtful }

// report is an open report. A nil one keeps nothing.
type report struct {
	path string
	url  string
	file reportFile
	past map[string]known // by SHA-256

	mu      sync.Mutex // of whole, written and broken, and of writing
	whole   int64      // the length of the whole lines
	written int        // how many by this run
	broken  error      // why nothing more can be written
	syncMu  sync.Mutex // of synced, and of syncing
	synced  int
}

// reportFile is an *os.File, but where a test has a disk fail.
type reportFile interface {
	io.ReadWriteCloser
	Stat() (fs.FileInfo, error)
	Sync() error
	Truncate(size int64) error
}

// maxReportLine bounds a line: the largest CoRIM has some 3,500 trust anchors.
const maxReportLine = 4 << 20

// defaultReport is where the report of a deployment is kept.
func (a *app) defaultReport(service string) (string, error) {
	state := a.env.Getenv("XDG_STATE_HOME")
	if home := a.env.Getenv("HOME"); state == "" && home != "" {
		state = filepath.Join(home, ".local", "state")
	}
	if !filepath.IsAbs(state) {
		return "", errors.New("neither $XDG_STATE_HOME nor $HOME says where")
	}
	dir := filepath.Join(state, "atls")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(service))
	return filepath.Join(dir, "provision-"+hex.EncodeToString(sum[:8])+".jsonl"), nil
}

// openReport opens the report that the flags name, reads it and locks it.
func (r *provisionRun) openReport() error {
	if r.flags.noReport {
		return nil
	}
	path := r.flags.report
	if path == "" {
		var err error
		if path, err = r.app.defaultReport(r.client.URL()); err != nil {
			return inputErrorf("the report: %w", err).withHint("name a file with --report")
		}
	}
	var err error
	if r.report, err = openReport(path, r.client.URL(), !r.flags.dryRun); err != nil {
		return inputErrorf("the report %s: %w", path, err)
	}
	return nil
}

var errReportLocked = errors.New("another run is using it")

// openReport opens a report for one service and locks it if it is to be
// written. Nothing is changed, and no file made, before begin.
func openReport(path, service string, write bool) (_ *report, err error) {
	r := &report{path: path, url: oneSpelling(service), past: map[string]known{}}
	mode := os.O_RDONLY
	if write {
		mode = os.O_RDWR | os.O_APPEND
	}
	file, err := os.OpenFile(path, mode, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, nil
	case err != nil:
		return nil, err
	}
	if write {
		err = lockFile(file)
	}
	if err == nil {
		r.whole, err = r.read(file)
	}
	if err != nil {
		_ = file.Close() // the error that led here is the news
		return nil, err
	}
	r.file = file
	return r, nil
}

// oneSpelling is a deployment's URL as the client spells it: the reports of old
// have others.
func oneSpelling(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	apihttp.Normalize(u)
	return u.String()
}

// begin makes the report ready for lines.
func (r *report) begin() error {
	if r == nil {
		return nil
	}
	if r.file != nil {
		// What is behind the last whole line was cut off while it was written,
		// and so before anything was sent because of it.
		if st, err := r.file.Stat(); err != nil || st.Size() == r.whole {
			return err
		}
		return r.file.Truncate(r.whole)
	}
	file, err := os.OpenFile(r.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return errReportLocked // since a moment ago
	}
	if err != nil {
		return err
	}
	r.file = file
	if err := lockFile(file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(r.path))
}

// read takes up what the report says of the service, and returns the length of
// its whole lines.
func (r *report) read(from io.Reader) (whole int64, err error) {
	in := bufio.NewReaderSize(from, 64<<10)
	for n := 1; ; n++ {
		line, err := readLine(in)
		switch {
		case errors.Is(err, io.EOF):
			return whole, nil
		case err != nil:
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
		whole += int64(len(line))
		if err := r.take(line); err != nil {
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
	}
}

// readLine reads a whole line; what has no end is io.EOF.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxReportLine:
			return nil, fmt.Errorf("it has more than %d bytes", maxReportLine)
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return nil, err
		default:
			return line, nil
		}
	}
}

// take folds a line into what is known.
func (r *report) take(text []byte) error {
	var line reportLine
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&line); err != nil {
		return fmt.Errorf("not a line of a report: %w", err)
	}
	// Two lines run together are not one: the second would be lost.
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return errors.New("not a line of a report: something follows its end")
	}
	if b, err := hex.DecodeString(line.SHA256); err != nil || len(b) != sha256.Size || line.URL == "" || line.Time.IsZero() {
		return errors.New("not a line of a report: sha256, url or time is missing")
	}
	switch line.Event {
	case eventSending, eventAccepted, eventRefused, eventFailed, eventDoubtful, eventFound, eventAbsent:
	default:
		return fmt.Errorf("not a line of a report: unknown event %.40q", line.Event)
	}
	if oneSpelling(line.URL) != r.url {
		return nil
	}
	k := r.past[line.SHA256]
	switch line.Event {
	case eventAccepted, eventFound:
		k.accepted = line.Time
	case eventAbsent:
		k.accepted = time.Time{}
	}
	k.event, k.time, k.file, k.corim = line.Event, line.Time, cmp.Or(line.File, k.file), cmp.Or(line.Corim, k.corim)
	if line.Anchors != nil {
		k.anchors = line.Anchors
	}
	r.past[line.SHA256] = k
	return nil
}

// add writes a line. When add returns, the line survives this process; durable
// lines survive the machine.
func (r *report) add(i *provisionItem, e reportEvent, reason string, durable bool) error {
	if r == nil {
		return nil
	}
	line := reportLine{Time: time.Now().UTC(), Event: e, URL: r.url, SHA256: i.key(), File: i.path, Reason: reason}
	if e == eventSending {
		line.MediaType, line.Corim, line.Anchors = i.mediaType, i.id, i.anchors
	}
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	n, err := r.write(append(data, '\n'))
	if err == nil && durable {
		err = r.syncTo(n)
	}
	if err != nil {
		return fmt.Errorf("report %s: %w", r.path, err)
	}
	return nil
}

// write writes a line. After an error nothing more is written: what came next
// would be behind a piece of a line, and not be read.
func (r *report) write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		return 0, r.broken
	}
	if _, err := r.file.Write(line); err != nil {
		// The next run takes a piece of a line off, too, if it is the last.
		r.broken = errors.Join(err, r.file.Truncate(r.whole))
		return 0, r.broken
	}
	r.whole += int64(len(line))
	r.written++
	return r.written, nil
}

// usable is false once a line could not be written.
func (r *report) usable() bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken == nil
}

// syncTo brings lines 1 to n to the disk. Those who wait for it at the same time
// share one sync.
func (r *report) syncTo(n int) error {
	r.syncMu.Lock()
	defer r.syncMu.Unlock()
	if r.synced >= n {
		return nil
	}
	r.mu.Lock()
	written, broken := r.written, r.broken
	r.mu.Unlock()
	if broken != nil {
		return broken
	}
	if err := r.file.Sync(); err != nil {
		// A second sync may say nothing of what the first has lost.
		r.mu.Lock()
		r.broken = err
		r.mu.Unlock()
		return err
	}
	r.synced = written
	return nil
}

// sync brings all lines to the disk.
func (r *report) sync() error {
	if r == nil || r.file == nil {
		return nil
	}
	if err := r.file.Sync(); err != nil {
		return inputErrorf("the report %s: %w", r.path, err)
	}
	return nil
}

func (r *report) close() {
	if r != nil && r.file != nil {
		_ = r.file.Close() // synced before, and closing gives the lock back
	}
}

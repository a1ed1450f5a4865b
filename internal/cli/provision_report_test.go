// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/provisioning"
)

const reportURL = "https://provisioning.example"

// reopen reads a report as the next run does.
func reopen(t *testing.T, path string) *report {
	t.Helper()
	r, err := openReport(path, reportURL, true)
	require.NoError(t, err)
	t.Cleanup(r.close)
	return r
}

func itemOf(text string) *provisionItem {
	return &provisionItem{path: text + ".cbor", hash: sha256.Sum256([]byte(text)), mediaType: "a/b",
		anchors: []reportAnchor{{KID: "01", Class: "c", Key: "k", Spelling: "s"}}}
}

func TestReportRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	r := reopen(t, path)
	_, err := os.Stat(path)
	require.ErrorIs(t, err, fs.ErrNotExist, "made before anything was sent")
	require.NoError(t, r.begin())
	for name, events := range map[string][]reportEvent{
		"accepted": {eventSending, eventAccepted},
		"again":    {eventSending, eventAccepted, eventSending, eventFailed},
		"anew":     {eventSending, eventFound, eventSending, eventRefused},
		"reopened": {eventSending, eventAccepted, eventSending},
		"gone":     {eventSending, eventAccepted, eventSending, eventDoubtful, eventAbsent, eventSending, eventFailed},
		"found":    {eventSending, eventFound},
		"refused":  {eventSending, eventRefused},
		"failed":   {eventSending, eventFailed},
		"absent":   {eventSending, eventDoubtful, eventAbsent},
		"sending":  {eventSending},
		"lost":     {eventSending, eventDoubtful},
	} {
		for _, e := range events {
			require.NoError(t, r.add(itemOf(name), e, "", e == eventSending))
		}
	}
	r.close()

	r = reopen(t, path)
	for name, want := range map[string]struct{ there, inDoubt bool }{
		"accepted": {there: true}, "found": {there: true},
		"again": {there: true}, "anew": {there: true},
		"reopened": {inDoubt: true}, "gone": {},
		"refused": {}, "failed": {}, "absent": {}, "never": {},
		"sending": {inDoubt: true}, "lost": {inDoubt: true},
	} {
		k := r.past[itemOf(name).key()]
		require.Equal(t, want.there, k.there(), name)
		require.Equal(t, want.inDoubt, k.inDoubt(), name)
		if name != "never" {
			require.Equal(t, itemOf(name).anchors, k.anchors)
			require.Equal(t, name+".cbor", k.file)
		}
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())

	// Another deployment knows nothing of it.
	other, err := openReport(path, "https://other.example", false)
	require.NoError(t, err)
	require.Empty(t, other.past)
}

// A line that was cut off is not there; the next one is whole.
func TestReportCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	r := reopen(t, path)
	require.NoError(t, r.begin())
	require.NoError(t, r.add(itemOf("one"), eventSending, "", true))
	require.NoError(t, r.add(itemOf("one"), eventAccepted, "", false))
	r.close()
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	first := bytes.IndexByte(whole, '\n') + 1
	for cut := range len(whole) {
		require.NoError(t, os.WriteFile(path, whole[:cut], 0o600))
		r := reopen(t, path)
		require.Equal(t, cut >= first, r.past[itemOf("one").key()].inDoubt(), cut)
		require.NoError(t, r.begin())
		require.NoError(t, r.add(itemOf("two"), eventAccepted, "", true))
		r.close()
		r = reopen(t, path)
		require.True(t, r.past[itemOf("two").key()].there())
		r.close()
	}
}

// fullDisk has room for some bytes, and takes as much of a line as fits.
type fullDisk struct {
	*os.File
	room int
}

func (d *fullDisk) Write(b []byte) (int, error) {
	n, err := d.File.Write(b[:min(len(b), d.room)])
	d.room -= n
	if err == nil && n < len(b) {
		err = syscall.ENOSPC
	}
	return n, err
}

// A line that does not fit leaves nothing behind, and none comes after it, even
// where there is room again.
func TestReportDiskFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	r := reopen(t, path)
	require.NoError(t, r.begin())
	disk := &fullDisk{File: r.file.(*os.File), room: 1 << 10}
	r.file = disk
	require.NoError(t, r.add(itemOf("one"), eventSending, "", true))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	disk.room = 20
	require.ErrorIs(t, r.add(itemOf("one"), eventAccepted, "", true), syscall.ENOSPC)
	disk.room = 1 << 20
	require.ErrorIs(t, r.add(itemOf("two"), eventSending, "", true), syscall.ENOSPC)
	require.False(t, r.usable())
	now, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(whole), string(now))
	r.close()
	r = reopen(t, path)
	require.True(t, r.past[itemOf("one").key()].inDoubt())
	require.Len(t, r.past, 1)
}

// badDisk takes all and keeps, perhaps, nothing.
type badDisk struct{ *os.File }

func (badDisk) Sync() error { return syscall.EIO }

func TestReportSyncFails(t *testing.T) {
	r := reopen(t, filepath.Join(t.TempDir(), "report"))
	require.NoError(t, r.begin())
	good := r.file
	r.file = badDisk{good.(*os.File)}
	require.ErrorIs(t, r.add(itemOf("one"), eventSending, "", true), syscall.EIO)
	r.file = good
	require.ErrorIs(t, r.add(itemOf("two"), eventSending, "", true), syscall.EIO)
	require.False(t, r.usable())
}

// One deployment has one report, however its URL was spelled once.
func TestReportSpellings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	spellings := []string{reportURL, "https://Provisioning.Example", reportURL + ":443", reportURL + "/"}
	var lines string
	for i, url := range spellings {
		lines += fmt.Sprintf(`{"time":"2026-01-01T00:00:00Z","event":"accepted","url":%q,"sha256":%q}`+"\n", url, itemOf(fmt.Sprint(i)).key())
	}
	lines += fmt.Sprintf(`{"time":"2026-01-01T00:00:00Z","event":"accepted","url":%q,"sha256":%q}`+"\n", reportURL+":8443", itemOf("other").key())
	require.NoError(t, os.WriteFile(path, []byte(lines), 0o600))
	for _, url := range spellings {
		r, err := openReport(path, url, false)
		require.NoError(t, err)
		require.Len(t, r.past, len(spellings), url)
		r.close()
	}
	var state app
	state.env.Getenv = func(string) string { return t.TempDir() }
	first := ""
	for _, url := range spellings {
		client, err := provisioning.New(url, provisioning.Config{})
		require.NoError(t, err)
		path, err := state.defaultReport(client.URL())
		require.NoError(t, err)
		require.Equal(t, cmp.Or(first, filepath.Base(path)), filepath.Base(path))
		first = filepath.Base(path)
	}
}

func TestReportLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	first, second := reopen(t, path), reopen(t, path)
	require.NoError(t, first.begin())
	// It was not there when the second run looked.
	require.ErrorIs(t, second.begin(), errReportLocked)
	_, err := openReport(path, reportURL, true)
	require.ErrorIs(t, err, errReportLocked)
	first.close()
	require.NotNil(t, reopen(t, path).file)
}

func TestBadReport(t *testing.T) {
	const good = `{"time":"2026-01-01T00:00:00Z","event":"accepted","url":"https://x","sha256":"` +
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" + `"}`
	for name, tc := range map[string]struct{ line, want string }{
		"no JSON":       {"x", "line 2: not a line of a report"},
		"unknown field": {strings.Replace(good, "{", `{"x":1,`, 1), "unknown field"},
		"unknown event": {strings.Replace(good, "accepted", "eaten", 1), `unknown event "eaten"`},
		"short digest":  {strings.Replace(good, "e3b0", "", 1), "sha256"},
		"no URL":        {strings.Replace(good, "https://x", "", 1), "url"},
		"no time":       {strings.Replace(good, "2026", "0001", 1), "time"},
		"two lines":     {good + good, "something follows"},
		"glued":         {good + "x", "something follows"},
		"empty":         {"", "not a line of a report"},
		"too long":      {strings.Repeat(" ", maxReportLine) + good, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "report")
			require.NoError(t, os.WriteFile(path, []byte(good+"\n"+tc.line+"\n"), 0o600))
			r, err := openReport(path, reportURL, true)
			require.ErrorContains(t, err, tc.want)
			require.Nil(t, r)
		})
	}
}

// Many at a time: every line is whole.
func TestReportConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	r := reopen(t, path)
	require.NoError(t, r.begin())
	var all sync.WaitGroup
	const n = 50
	for i := range n {
		all.Go(func() {
			if err := r.add(itemOf(fmt.Sprint(i)), eventSending, "", true); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	r.close()
	require.Len(t, reopen(t, path).past, n)
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","event":"sending","url":"https://provisioning.example","sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","anchors":[{"kid":"01"}]}` + "\n"))
	f.Add([]byte("{}\n"))
	f.Add([]byte("{\"time\":"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &report{url: reportURL, past: map[string]known{}}
		whole, err := r.read(bytes.NewReader(data))
		switch {
		case err != nil:
		case whole > int64(len(data)), whole > 0 && data[whole-1] != '\n', bytes.IndexByte(data[whole:], '\n') >= 0:
			t.Fatalf("%d of %d bytes are whole lines", whole, len(data))
		}
		for key := range r.past {
			if len(key) != 64 {
				t.Fatalf("taken up: %q", key)
			}
		}
	})
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"
	"time"
)

// Store is where a deployment keeps what is provisioned.
type Store int

const (
	// Memory forgets everything when the deployment stops or restarts.
	Memory Store = iota
	// SQLite keeps it in files in Config.Dir.
	SQLite
)

// String names the store.
func (s Store) String() string {
	switch s {
	case Memory:
		return "memory"
	case SQLite:
		return "sqlite"
	}
	return fmt.Sprintf("Store(%d)", int(s))
}

// User is one that HTTP's basic authentication lets in. Veraison reads the name
// in lower case.
type User struct{ Name, Password string }

const (
	defaultStartTimeout = 15 * time.Second
	defaultLogLevel     = "info"
)

// Config says what to start.
type Config struct {
	// BinDir holds the services, as deploy/build.sh leaves them. See FindBinDir.
	BinDir string
	// PluginDir holds the plugins that the VTS loads: every *.plugin in it.
	PluginDir string
	// Dir takes the configuration, signing key, stores and logs. It is made
	// when it is missing. One that an earlier deployment used gives the new
	// one that deployment's key and SQLite stores.
	Dir string
	// Store is where provisioned data goes.
	Store Store
	// Provisioner has to authenticate himself to the provisioning service; nil
	// lets everybody provision.
	Provisioner *User
	// LogLevel is debug, info, warn or error; empty means info.
	LogLevel string
	// Env is added to the environment of the services, and so of the plugins.
	Env []string
	// StartTimeout limits a start, beside the caller's context; zero means 15 s.
	StartTimeout time.Duration
}

// checked returns the configuration with its defaults filled in and its paths
// made absolute, or says what is wrong with it.
func (c Config) checked() (Config, error) {
	for _, p := range []struct {
		name string
		path *string
	}{{"BinDir", &c.BinDir}, {"PluginDir", &c.PluginDir}, {"Dir", &c.Dir}} {
		if *p.path == "" {
			return c, fmt.Errorf("%s is not set", p.name)
		}
		abs, err := filepath.Abs(*p.path)
		if err != nil {
			return c, fmt.Errorf("resolving %s: %w", p.name, err)
		}
		*p.path = abs
	}
	if c.Store != Memory && c.Store != SQLite {
		return c, fmt.Errorf("there is no store %v", c.Store)
	}
	if u := c.Provisioner; u != nil && (u.Name == "" || u.Password == "" || strings.ToLower(u.Name) != u.Name) {
		return c, errors.New("the provisioner needs a name in lower case, and a password")
	}
	if c.LogLevel == "" {
		c.LogLevel = defaultLogLevel
	}
	if c.StartTimeout <= 0 {
		c.StartTimeout = defaultStartTimeout
	}

	binaries := []string{string(VTS), string(Provisioning), string(Verification)}
	if c.Store == SQLite {
		binaries = append(binaries, storeInit)
	}
	for _, name := range binaries {
		if err := checkExecutable(filepath.Join(c.BinDir, name)); err != nil {
			return c, fmt.Errorf("%w (run make veraison)", err)
		}
	}
	if err := checkPluginDir(c.PluginDir); err != nil {
		return c, err
	}
	return c, checkMachineID()
}

func checkExecutable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("veraison binary: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("veraison binary: %s is not an executable file", path)
	}
	return nil
}

// checkPluginDir catches what the VTS does not: without any plugin it starts,
// and then refuses every media type.
func checkPluginDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("plugins folder: %w", err)
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) == ".plugin" {
			return nil
		}
	}
	return fmt.Errorf("plugins folder: no *.plugin in %s", dir)
}

// checkMachineID is here because the verification service puts the machine's
// id into its session ids, and answers 500 to every new session when there is
// no such file. That happens in bare containers.
func checkMachineID() error {
	if runtime.GOOS != "linux" {
		return nil
	}
	var err error
	for _, file := range []string{"/var/lib/dbus/machine-id", "/etc/machine-id"} {
		if _, err = os.ReadFile(file); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the verification service needs a machine id (an empty /etc/machine-id will do): %w", err)
}

// settings are the values of the configuration template.
type settings struct {
	PluginDir  string
	SigningKey string
	LogLevel   string

	// The one user that may provision, and the bcrypt hash of his password; none
	// if it is empty.
	Provisioner, PasswordHash string

	Store Store
	// Data sources, for SQLite only.
	TrustAnchors, Endorsements, Policies string

	// host:port
	VTSAddress, ProvisioningAddress, VerificationAddress string
}

//go:embed veraison.yaml.tmpl
var configTemplate string

// render returns the services' configuration file.
func (s settings) render() ([]byte, error) {
	tmpl, err := template.New("veraison.yaml").Funcs(template.FuncMap{"quote": quoteYAML}).Parse(configTemplate)
	if err != nil {
		return nil, fmt.Errorf("parsing configuration template: %w", err)
	}
	var out bytes.Buffer
	if err := tmpl.Execute(&out, s); err != nil {
		return nil, fmt.Errorf("rendering configuration: %w", err)
	}
	return out.Bytes(), nil
}

// quoteYAML relies on YAML taking every JSON string.
func quoteYAML(s string) (string, error) {
	quoted, err := json.Marshal(s)
	return string(quoted), err
}

// sqliteSource is the data source name of a SQLite file: a URI, so that no
// character of the path is taken for an option, and one that does not create
// the file, so that a store that went missing is an error and not an empty one.
func sqliteSource(file string) string {
	uri := url.URL{Scheme: "file", Path: file, RawQuery: url.Values{"mode": {"rw"}}.Encode()}
	return uri.String()
}

// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package scheme

import (
	"net/rpc"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/veraison/services/plugin"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/earresult"
	"github.com/veraison/attested-tls/plugin/internal/config"
)

// PluginType is the name that the host dispenses the handler by:
// handler/plugin.go, RegisterSchemeHandler, v0.0.2603.
const PluginType = "scheme-handler"

// Name is the plugin's name: that of Veraison's own plugin, so that a host that
// finds both says so instead of choosing. Since v0.0.2605 it is also what the
// host's configuration calls the plugin by (handler/util.go,
// PluginNameFromScheme).
const Name = "parsec_tpm-scheme-plugin"

// Handler is the scheme-handler. Make it with NewHandler.
type Handler struct {
	cfg config.Config
	log hclog.Logger
	now func() time.Time
}

// What the plugin framework of Veraison v0.0.2501, which serves the handler
// here, asks of everything that it serves.
var _ plugin.IPluggable = (*Handler)(nil)

// NewHandler makes a handler with the configuration that the plugin has without
// a file: see NewHandlerWith.
func NewHandler(log hclog.Logger, now func() time.Time) *Handler {
	return NewHandlerWith(config.Default(), log, now)
}

// NewHandlerWith makes a handler that takes what cfg says as far as a plugin has
// a say here, and logs to log; nil discards. now is asked whether a CoRIM is
// within its validity; nil is the machine's clock.
//
// The host verifies signed CoRIMs, against roots of its own, and hands over what
// was signed. So the limits of cfg hold, and where it takes no unsigned CoRIM
// the plugin has no media type for one. Who may sign is the host's to say.
func NewHandlerWith(cfg config.Config, log hclog.Logger, now func() time.Time) *Handler {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	if now == nil {
		now = time.Now
	}
	return &Handler{cfg: cfg, log: log, now: now}
}

// Register adds the handler to those that plugin.Serve serves.
func (h *Handler) Register() error {
	return plugin.RegisterImplementation[plugin.IPluggable](PluginType, h, &plugin.RPCChannel[plugin.IPluggable]{
		GetServer: func(plugin.IPluggable) any {
			if h.cfg.TakesSigned() {
				h.log.Warn("this Veraison verifies signed CoRIMs itself: vts.ca-certs and the system's roots say who may sign, not trusted-signers and roots-file")
			}
			if err := h.cfg.CheckHostVerifies(); err != nil {
				h.log.Error("no CoRIMs are accepted", "error", err)
			}
			return NewServer(h)
		},
		GetClient: func(*rpc.Client) any { return nil }, // a plugin is no host
	})
}

// GetName returns Name.
func (h *Handler) GetName() string { return Name }

// GetAttestationScheme returns PARSEC_TPM.
func (h *Handler) GetAttestationScheme() string { return earresult.Submod }

// GetSupportedMediaTypes returns all of them.
func (h *Handler) GetSupportedMediaTypes() []string {
	return append(h.provisioning(), h.verification()...)
}

// provisioning returns the media types of CoRIMs, which the host matches letter
// for letter (handler/schemeimplementationwrapper.go, v0.0.2603).
func (h *Handler) provisioning() []string {
	if h.cfg.CheckHostVerifies() != nil {
		return []string{} // nothing is provisioned by who knows whom
	}
	signed := endorsements.DialectV2.MediaType(true)
	if !h.cfg.AcceptUnsigned {
		return []string{signed}
	}
	return []string{endorsements.DialectV2.MediaType(false), signed}
}

func (h *Handler) verification() []string { return []string{bundle.MediaType} }

// Package open connects to the store that a configuration asks for: a switch,
// not import side effects. It turns the configuration's words into a store's
// own settings (files into TLS, SRV records into addresses) and holds nothing.
package open

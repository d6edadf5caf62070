package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/config"
)

// settings reads what is known about the cluster before anybody is asked: the
// configuration file (-c, the environment's, or the usual one, which alone may
// be missing), the environment, and --dcs-url over both. nil: nothing is known.
func (a *app) settings() (*config.File, error) {
	path, err := a.configPath()
	if err != nil {
		return nil, err
	}
	dcsURL := a.dcsURL
	if dcsURL == "" {
		dcsURL = getenv(a.opts.Env, "DCS_URL")
	}
	if path == "" && dcsURL == "" && !configured(a.opts.Env) {
		return nil, nil
	}
	f, _, err := config.Load(path, a.opts.Env)
	if err != nil || dcsURL == "" {
		return f, err
	}
	address, err := parseStoreAddress(dcsURL)
	if err != nil {
		return nil, err
	}
	f.Store = address.section
	if address.namespace != "" {
		f.Namespace = address.namespace
	}
	f.RestAPI.ConnectAddress = "" // the file's own member may be of another cluster
	return f, nil
}

// configPath returns the file to read, empty for none.
func (a *app) configPath() (string, error) {
	path := a.configFile
	for _, name := range []string{"MATRIARCH_CONFIG_FILE", "PATRONICTL_CONFIG_FILE"} {
		if path == "" {
			path = getenv(a.opts.Env, name)
		}
	}
	if path != "" {
		// Settings in the environment do not excuse that the named one is missing.
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("configuration file: %w", err)
		}
		return path, nil
	}
	path = usualFile(a.opts.Env)
	if _, err := os.Stat(path); err != nil {
		return "", nil
	}
	return path, nil
}

func getenv(env []string, name string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

func usualFile(env []string) string {
	dir := getenv(env, "XDG_CONFIG_HOME")
	if dir == "" {
		dir = filepath.Join(getenv(env, "HOME"), ".config")
	}
	return filepath.Join(dir, "patroni", "patronictl.yaml")
}

// configured reports whether the environment alone says which cluster is meant.
func configured(env []string) bool {
	for _, name := range []string{"PATRONI_SCOPE", "MATRIARCH_SCOPE", "PATRONI_CONFIGURATION", "MATRIARCH_CONFIGURATION"} {
		if getenv(env, name) != "" {
			return true
		}
	}
	return false
}

// ownMember is the root of the REST interface of the member that the file
// describes, empty when it describes none.
func ownMember(f *config.File) string {
	if f.RestAPI.ConnectAddress == "" || f.Name == "" && f.Origin("restapi.connect_address") == "default" && f.Origin("restapi.listen") == "default" {
		return "" // a client's file: nobody listens where a member would by default
	}
	if f.RestAPI.CertFile != "" {
		return "https://" + f.RestAPI.ConnectAddress
	}
	return "http://" + f.RestAPI.ConnectAddress
}

// clientOptions say how members are called.
func clientOptions(f *config.File, insecure bool) client.Options {
	if f == nil {
		return client.Options{Insecure: insecure}
	}
	o := client.Options{
		Username: f.Ctl.Username, Password: f.Ctl.Password.Reveal(),
		CAFile: f.Ctl.CACert, CertFile: f.Ctl.CertFile, KeyFile: f.Ctl.KeyFile,
		KeyPassword: f.Ctl.KeyFilePassword.Reveal(),
		Insecure:    insecure || f.Ctl.Insecure,
	}
	if o.Username == "" {
		o.Username, o.Password = f.RestAPI.Username, f.RestAPI.Password.Reveal()
	}
	if o.CAFile == "" {
		o.CAFile = f.RestAPI.CAFile
	}
	return o
}

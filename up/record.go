package up

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// record is what a directory's cluster is, once and for all.
type record struct {
	Scope       string `json:"scope"`
	Members     int    `json:"members"`
	BasePort    int    `json:"base_port"` // 0: the usual ports
	Synchronous bool   `json:"synchronous,omitempty"`
	PgBin       string `json:"pg_bin,omitempty"`
}

const recordName = "cluster.json"

// settle joins what was asked for with what the directory holds. known is false
// for a new cluster.
func settle(o Options) (r record, known bool, err error) {
	path := filepath.Join(o.Dir, recordName)
	err = readJSON(path, &r)
	if errors.Is(err, fs.ErrNotExist) {
		r = record{Scope: firstOf(o.Scope, defaultScope), Members: o.Members, BasePort: o.BasePort, Synchronous: o.Synchronous, PgBin: o.PgBin}
		if r.Members == 0 {
			r.Members = defaultMembers
		}
		return r, false, nil
	}
	if err != nil {
		return r, true, err
	}
	if r.Members < 1 || r.Members > maxMembers || r.Scope == "" {
		return r, true, fmt.Errorf("%s is not what `matriarch up` wrote: restore it, or use another --dir", path)
	}
	other := func(what string, has, asked any) error {
		return fmt.Errorf("%s holds a cluster with %s %v, not %v, and that cannot change: leave the flag out, or name another --dir", o.Dir, what, has, asked)
	}
	switch {
	case o.Scope != "" && o.Scope != r.Scope:
		return r, true, other("--scope", r.Scope, o.Scope)
	case o.Members != 0 && o.Members != r.Members:
		return r, true, other("-n", r.Members, o.Members)
	case o.BasePort != 0 && o.BasePort != r.BasePort:
		return r, true, other("--base-port", baseText(r.BasePort), o.BasePort)
	}
	r.PgBin = firstOf(o.PgBin, r.PgBin)
	return r, true, nil
}

func baseText(base int) string {
	if base == 0 {
		return "not given (the usual ports)"
	}
	return fmt.Sprint(base)
}

// secrets are the passwords, made once per directory.
type secrets struct {
	Superuser   string `json:"superuser"`
	Replication string `json:"replication"`
	REST        string `json:"rest"`
}

// loadSecrets reads the directory's passwords, or makes them.
func loadSecrets(dir string) (secrets, error) {
	var s secrets
	path := filepath.Join(dir, "secrets.json")
	err := readJSON(path, &s)
	if err == nil && (s.Superuser == "" || s.Replication == "" || s.REST == "") {
		err = fmt.Errorf("%s lacks a password: restore it, or use another --dir", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	s = secrets{Superuser: rand.Text(), Replication: rand.Text(), REST: rand.Text()}
	return s, writeJSON(path, s)
}

func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(text, '\n'))
}

// writeFile replaces a file in one step, readable by its owner alone.
func writeFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

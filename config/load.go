package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Load reads the local configuration: the YAML file at path, or all *.yml and
// *.yaml of the directory at path in the order of their names, and over it the
// settings in env (the form of os.Environ). Mappings merge, null deletes,
// everything else replaces. Without a file the text of MATRIARCH_CONFIGURATION
// or PATRONI_CONFIGURATION is taken alone, else the environment alone.
//
// The error, if any, is of type Problems and holds everything that is wrong.
// What a particular program needs beyond a readable configuration is checked
// by File.Check.
func Load(path string, env []string) (*File, []Warning, error) {
	r := &report{}
	root := gather(path, env, r)
	if root == nil {
		return nil, r.warnings, r.err()
	}
	return build(root, r)
}

// build turns a merged tree into the result.
func build(root *node, r *report) (*File, []Warning, error) {
	root = normalize(root, r)
	r.check("", root, append(localFields(), r.ignoredAtTop(root)...), false)
	f := decodeFile(root, r)
	if err := r.err(); err != nil {
		return nil, r.warnings, err
	}
	return f, r.warnings, nil
}

// gather reads and merges all sources.
func gather(path string, env []string, r *report) *node {
	files, err := sources(path)
	name, body := whole(env)
	if err != nil && (!errors.Is(err, fs.ErrNotExist) || body == "" && len(fromEnv(env, &report{}).keys) == 0) {
		r.problems = append(r.problems, Problem{Place: path, Reason: "cannot be read: " + pathless(err),
			Remedy: "give the path of a YAML file or of a directory with such files"})
		return nil
	}
	if err != nil {
		r.warn(WarnFile, "", nil, "%s does not exist; the environment is used instead", path)
	}
	root := newMapping()
	if len(files) == 0 && body != "" {
		return readSource(root, "env "+name, []byte(body), r)
	}
	if body != "" {
		r.warn(WarnIgnored, "", newText("", "env "+name), "ignored, because there is a configuration file")
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			p := Problem{Place: f, Reason: "cannot be read: " + pathless(err)}
			if errors.Is(err, fs.ErrPermission) {
				p.Remedy = "run this command as a user who may read it"
			}
			r.problems = append(r.problems, p)
			continue
		}
		root = readSource(root, f, data, r)
	}
	return merge(root, fromEnv(env, r))
}

// pathless gives an error's cause without repeating the path.
func pathless(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// sources lists the files of path in order.
func sources(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yml" || ext == ".yaml") {
			out = append(out, filepath.Join(path, e.Name()))
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the directory has no *.yml or *.yaml file")
	}
	return out, nil
}

// readSource merges one text over root.
func readSource(root *node, name string, data []byte, r *report) *node {
	n, err := parseYAML(name, data)
	var y *yamlError
	switch {
	case errors.As(err, &y):
		r.problems = append(r.problems, Problem{Place: y.place, Reason: y.reason, Remedy: "correct the YAML there"})
	case n.kind == null:
		r.warn(WarnFile, "", n, "holds no setting")
	case n.kind != mapping:
		r.problem("", n, "the configuration must be a mapping", "write settings as name: value")
	default:
		r.emptySections(n)
		return merge(root, n)
	}
	return root
}

// emptySections warns of a store section without content, which YAML reads as
// null and the merging rule therefore as "absent".
func (r *report) emptySections(n *node) {
	for _, k := range append(storeNames(), "proxy") {
		if v := n.fields[k]; v != nil && v.kind == null {
			r.warn(WarnIgnored, k, v, "is empty and therefore counts as absent; write %s: {} for all defaults", k)
		}
	}
}

// ignoredAtTop warns of dynamic settings at the top level of a local file,
// where nothing reads them, in the reference neither, and returns their fields.
func (r *report) ignoredAtTop(root *node) []field {
	var out []field
	for _, f := range dynamicFields() {
		if f.name == "postgresql" || f.name == "citus" {
			continue
		}
		out = append(out, whatever(f.name))
		if n := root.fields[f.name]; n != nil {
			r.warn(WarnIgnored, f.name, n, "has no effect here: it belongs to the dynamic configuration "+
				"(bootstrap.dcs before the cluster exists, the /config key afterwards)")
		}
	}
	return out
}

// normalize moves old spellings to where they belong now.
func normalize(root *node, r *report) *node {
	move := func(from, to string) {
		parent, key := root, from
		if i := strings.LastIndexByte(from, '.'); i >= 0 {
			parent, key = root.get(from[:i]), from[i+1:]
		}
		if parent == nil || parent.fields[key] == nil {
			return
		}
		v := parent.fields[key]
		patch := newMapping()
		patch.setPath(from, &node{kind: null})
		if root.get(to) == nil {
			patch.setPath(to, v)
		}
		root = merge(root, patch)
		r.warn(WarnLegacy, from, v, "is an old place of %s", to)
	}
	move("postgresql.name", "name")
	move("postgresql.superuser", "postgresql.authentication.superuser")
	move("postgresql.replication", "postgresql.authentication.replication")
	move("postgresql.pg_rewind", "postgresql.authentication.rewind")
	move("postgresql.create_replica_method", "postgresql.create_replica_methods")
	move("zookeeper.exhibitor", "exhibitor")
	for _, s := range []string{"etcd", "etcd3"} {
		move(s+".discovery_srv", s+".srv")
		move(s+".srv_domain", s+".srv")
	}
	return root
}

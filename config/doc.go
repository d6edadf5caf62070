// Package config reads what people configure: YAML files, the environment and
// the dynamic configuration in the store. It knows every setting's type, range
// and default, what has no effect yet, and where each value came from.
//
// How data passes:
//
//	files, environment ─ Load ─────────► File     (one member, local)
//	/config key ──────── ParseDynamic ─► Dynamic  (all members)
//	File + Dynamic + role + major ─ MakeEffective ─► Effective
//
// All sources become one kind of tree (node) that remembers where every value
// was written; a schema (schema.go) is compared with it, and only then is it
// turned into typed values. So everything wrong with a configuration is found
// in one go: wrong values are Problems, which stop the start or reject a
// dynamic document as a whole, and everything else worth knowing is a Warning.
//
// The package reads files and the given environment, and nothing else: it
// resolves no names, opens no ports, keeps no state and logs nothing. Secrets
// are of type Secret or hidden by name, and appear in no message.
//
// Old spellings and sections without effect are accepted, so that a file
// written for the reference works unchanged; see normalize and the notes in the
// schema. Settings that promise a safety we do not provide yet are refused.
package config

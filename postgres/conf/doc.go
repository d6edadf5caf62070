// Package conf renders and reads the texts that PostgreSQL's configuration
// consists of: postgresql.conf, connection strings, password files,
// synchronous_standby_names, slot names, option lists of its programs.
//
// It is pure: text in, text out. It never opens a file and never decides what a
// setting should be; package postgres does both.
package conf

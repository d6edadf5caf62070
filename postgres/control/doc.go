// Package control reads what a server's control file says, from the output of
// pg_controldata, which speaks for every major version.
//
// It is pure: the text comes from the caller.
package control

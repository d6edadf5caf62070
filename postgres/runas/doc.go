// Package runas does things as the owner of a data directory: it runs programs
// with that user's identity when the agent itself is root, because PostgreSQL
// refuses to run as root, and it gives the files it writes to that user.
//
// It never raises privileges: without root everything happens as the caller.
package runas

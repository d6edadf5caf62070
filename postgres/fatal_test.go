package postgres

import "testing"

func TestFatalLineNamesTheCause(t *testing.T) {
	for _, k := range []struct{ name, log, want string }{
		{"alone", "LOG:  starting PostgreSQL 15.1\nFATAL:  lock file exists\nHINT:  Is it running?\nLOG:  shut down\n",
			"FATAL:  lock file exists; HINT:  Is it running?"},
		{"taken port", "x LOG:  starting PostgreSQL 15.1\nx LOG:  could not bind IPv4 address \"10.0.0.1\": Address already in use\nx HINT:  Is another postmaster running?\n" +
			"x WARNING:  could not create listen socket for \"10.0.0.1\"\nx FATAL:  could not create any TCP/IP sockets\n",
			"LOG:  could not bind IPv4 address \"10.0.0.1\": Address already in use; HINT:  Is another postmaster running?; " +
				"WARNING:  could not create listen socket for \"10.0.0.1\"; FATAL:  could not create any TCP/IP sockets"},
		{"access rules", "LOG:  listening on port 5432\nLOG:  invalid authentication method \"perhaps\"\nCONTEXT:  line 4 of configuration file \"pg_hba.conf\"\nFATAL:  could not load pg_hba.conf\n",
			"LOG:  invalid authentication method \"perhaps\"; CONTEXT:  line 4 of configuration file \"pg_hba.conf\"; FATAL:  could not load pg_hba.conf"},
		{"none", "LOG:  all is well\n", ""},
	} {
		if got := fatalLine(k.log); got != k.want {
			t.Errorf("%s: %q, want %q", k.name, got, k.want)
		}
	}
}

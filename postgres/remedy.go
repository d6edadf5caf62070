package postgres

import (
	"regexp"
	"strings"
)

// remedies say what to do about what PostgreSQL and its programs complain of.
// Their own words name the cause; the place that the configuration gives it, and
// what to change there, only we know. The first that fits counts.
var remedies = []struct{ words, remedy string }{
	{"No space left on device", "free space on the file system of {data_dir}, or enlarge it"},
	{"Disk quota exceeded", "free space within the quota of {data_dir}, or raise it"},
	{"Read-only file system", "see why the file system of {data_dir} is mounted read-only (dmesg)"},
	{"TCP/IP sockets", "stop what listens there, or correct postgresql.listen"},
	{"could not create any Unix-domain sockets", "name a directory in unix_socket_directories that exists, is writable and short"},
	{"could not access file", "install the package with that library, or take it out of shared_preload_libraries"},
	{"anonymous shared memory", "lower shared_buffers, provide huge pages (sysctl vm.nr_hugepages) or set huge_pages: try"},
	{"could not load pg_hba.conf", "correct that line under postgresql.pg_hba (or in pg_hba.conf)"},
	{"/pg_hba.conf", "correct that line under postgresql.pg_hba (or in pg_hba.conf)"}, // since 16 the path is told
	{"invalid locale name", "install that locale (Debian: apt-get install locales, dpkg-reconfigure locales; locale -a lists what is there) or name another under bootstrap.initdb"},
	{"has wrong ownership", "chown -R {user} {data_dir}"},
	{"has invalid permissions", "chmod 0700 {data_dir}"},
	{"lock file \"postmaster.pid\" already exists", "another server runs on {data_dir}: stop it"},
	{"has already been removed", "copy this member anew (reinit); a slot (use_slots) or wal_keep_size lets the primary keep its WAL longer"},
	{"no pg_hba.conf entry", "add a line for that role and address under postgresql.pg_hba of the server that is connected to"},
	{"system identifier differs", "this is a copy of another cluster: correct scope or postgresql.data_dir, or copy this member anew (reinit)"},
	{"too many clients already", "raise max_connections (it needs a restart), or end what uses the connections up (pg_stat_activity)"},
	{"remaining connection slots are reserved", "raise max_connections (it needs a restart), or end what uses the connections up (pg_stat_activity)"},
	{"could not restore file", "correct restore_command: it must end with 0 to 125, or with a signal only when it is to stop the recovery"},
	{"insufficient file descriptors", "raise the limit of open files (systemd: LimitNOFILE=)"},
	{"requested starting point", "copy this member anew (reinit)"},
	{"number of requested standby connections exceeds", "raise max_wal_senders, or end what uses them up"},
	{"all replication slots are in use", "raise max_replication_slots (it needs a restart), or drop slots that nobody uses (pg_replication_slots)"},
	{"must set wal_log_hints", "set wal_log_hints: on and restart the servers, or copy this member anew (reinit)"},
	{"target server needs to use either data checksums", "set wal_log_hints: on and restart the servers, or copy this member anew (reinit)"},
	{"permission denied for function", "give the role of authentication.rewind EXECUTE on pg_ls_dir, pg_stat_file and pg_read_binary_file, or let it be a superuser"},
	{"password authentication failed", "make the passwords under postgresql.authentication agree on all members and in the database"},
	{"out of memory", "lower shared_buffers, max_connections or the like, or give the host more memory"},
	{"Too many open files", "raise the limit of open files (systemd: LimitNOFILE=) or lower max_files_per_process"},
}

// advised adds what can be done to what was said.
func (s *Server) advised(said string) string {
	for _, r := range remedies {
		if strings.Contains(said, r.words) {
			return said + "; " + strings.NewReplacer("{data_dir}", s.opt.DataDir, "{user}", s.user.Name).Replace(r.remedy)
		}
	}
	return said
}

// linePrefix is what log_line_prefix puts before the level.
var linePrefix = regexp.MustCompile(`^.*?((?:LOG|FATAL|PANIC|ERROR|WARNING|DETAIL|HINT|CONTEXT|NOTICE|STATEMENT):  )`)

// bare is a line of the server's log without its prefix: the time and process
// make one complaint look like a new one each time, and are told beside it.
func bare(line string) string { return linePrefix.ReplaceAllString(strings.TrimSpace(line), "$1") }

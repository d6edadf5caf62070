#!/bin/sh
# psql: LEADER REPLICA ENTRYPOINT are ports on this host.
set -eu
at() { psql -h 127.0.0.1 -p "$1" -U postgres -d postgres -XAtq -v ON_ERROR_STOP=1 -c "$2"; }
at "$3" "CREATE TABLE by_psql (id int PRIMARY KEY)"
at "$3" "INSERT INTO by_psql VALUES (1)"
[ "$(at "$1" "SELECT count(*) FROM by_psql")" = 1 ]
for _ in $(seq 100); do
	[ "$(at "$2" "SELECT count(*) FROM by_psql" 2>/dev/null)" = 1 ] && break
	sleep 0.1
done
[ "$(at "$2" "SELECT count(*) FROM by_psql")" = 1 ]
if said=$(at "$2" "INSERT INTO by_psql VALUES (2)" 2>&1); then
	echo "the replica took a row"
	exit 1
fi
case "$said" in
*read-only*) echo "psql: the row is on both; the replica says: ${said#*ERROR:  }" ;;
*)
	echo "$said"
	exit 1
	;;
esac

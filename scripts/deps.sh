#!/usr/bin/env bash
# Installs what is missing: `deps.sh run` PostgreSQL, to run a cluster here;
# `deps.sh test` also the servers and tools that the tests use. It does nothing
# when all is there, and says what to install where it cannot.
set -euo pipefail
what=${1:-run}
patroni=/usr/local/lib/matriarch-test/patroni

have_postgres() {
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null 2>&1
}

want=()
have_postgres || want+=(postgresql)
command -v psql >/dev/null || want+=(postgresql-client)
# The distribution starts what it installs, and again at every boot: etcd would
# take port 2379, which is a store's here. Only the programs are wanted.
services=()
if [ "$what" = test ]; then
	[ -x /usr/bin/etcd ] || { want+=(etcd-server); services+=(etcd); }
	command -v etcdctl >/dev/null || want+=(etcd-client)
	command -v nft >/dev/null || want+=(nftables)
	[ -e /usr/share/java/zookeeper.jar ] || want+=(zookeeper)
	[ -x /usr/sbin/haproxy ] || { want+=(haproxy); services+=(haproxy); }
	command -v java >/dev/null || want+=(default-jre-headless)
	command -v gcc >/dev/null || want+=(gcc libc6-dev)
	command -v ip >/dev/null || want+=(iproute2)
	# Clients that the containers lab is tested with; the compiler that comes with a
	# JDK runs the one in Java from its source.
	[ -e /usr/share/java/postgresql.jar ] || want+=(libpostgresql-jdbc-java)
	command -v javac >/dev/null || want+=(default-jdk-headless)
	/usr/bin/python3 -c 'import psycopg2, psycopg' 2>/dev/null || want+=(python3-psycopg2 python3-psycopg)
	# What Debian's patronictl needs: the package itself is only unpacked, below.
	[ -x "$patroni/usr/bin/patronictl" ] || want+=(python3-cdiff python3-click python3-dateutil python3-pkg-resources
		python3-prettytable python3-psutil python3-psycopg2 python3-urllib3 python3-yaml python3-etcd python3-kazoo)
fi
here=$(dirname "$0")
if [ "$what" = test ]; then
	"$here/docker.sh"
fi
[ ${#want[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if command -v sudo >/dev/null; then
		as_root=(sudo)
	else
		echo "These packages are missing: ${want[*]}. Install them as root, then run this again." >&2
		exit 1
	fi
fi
if ! command -v apt-get >/dev/null; then
	echo "These packages (by their Debian names) are missing: ${want[*]}. Install them with this system's package manager, then run this again." >&2
	exit 1
fi

# The distribution would make and start a server of its own on port 5432, and
# start it again behind Matriarch's back: only the programs are wanted.
if ! have_postgres; then
	"${as_root[@]}" mkdir -p /etc/postgresql-common
	[ -e /etc/postgresql-common/createcluster.conf ] ||
		echo "create_main_cluster = false" | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
policy=/usr/sbin/policy-rc.d # is asked before a package starts a service
if [ ${#services[@]} -gt 0 ] && ! [ -e "$policy" ]; then
	trap '"${as_root[@]}" rm -f "$policy"' EXIT
	printf '#!/bin/sh\ncase "$*" in *etcd*|*haproxy*) exit 101 ;; esac\n' | "${as_root[@]}" tee "$policy" >/dev/null
	"${as_root[@]}" chmod 755 "$policy"
fi
echo "Installing: ${want[*]}"
log=$(mktemp)
if ! { "${as_root[@]}" apt-get update &&
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${want[@]}"; } >"$log" 2>&1; then
	tail -20 "$log" >&2
	echo "Installing failed; the whole output is in $log" >&2
	exit 1
fi
rm -f "$log"
if [ ${#services[@]} -gt 0 ] && command -v systemctl >/dev/null; then
	"${as_root[@]}" systemctl disable "${services[@]}" >/dev/null 2>&1 || true
fi

# Installing Debian's patroni would enable its service and put files into /etc
# that a later `patroni` would start from. The tests want its patronictl only, so
# the package is unpacked into a directory of its own.
if [ "$what" = test ] && ! [ -x "$patroni/usr/bin/patronictl" ]; then
	work=$(mktemp -d)
	(cd "$work" && apt-get -q -o APT::Sandbox::User=root download patroni >/dev/null && dpkg-deb -x patroni_*.deb tree)
	"${as_root[@]}" mkdir -p "$(dirname "$patroni")"
	"${as_root[@]}" cp -r "$work/tree" "$patroni"
	rm -rf "$work"
fi
